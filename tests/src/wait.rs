//! Waiting for a condition, always with an end. The only place that sleeps.
use std::time::{Duration, Instant};

/// Time for what takes a moment, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(30);

/// Time for a transfer of a few megabytes, with a peer's own reconnect intervals in it.
pub const TRANSFER: Duration = Duration::from_secs(120);

/// Between two looks at the condition.
const POLL: Duration = Duration::from_millis(25);

/// Waits for `span`.
#[expect(clippy::disallowed_methods, reason = "a test has no shutdown to obey, and bounds its waits")]
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Calls `probe` until it gives something, for `limit` at most.
pub fn try_until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        pause(POLL);
    }
}

/// Calls `probe` until it gives something.
///
/// # Panics
/// When that takes longer than `limit`; says `what` was awaited.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    match try_until(limit, probe) {
        Some(found) => found,
        None => panic!("waited {limit:?} for: {what}"),
    }
}

/// Checks for `span` that `holds` does.
///
/// # Panics
/// As soon as it does not.
#[track_caller]
pub fn throughout(what: &str, span: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(holds(), "did not hold for {span:?}: {what}");
        pause(POLL);
    }
}

/// Whether the long forms of the tests were asked for, with `WGOD_LONG=1`.
pub fn long() -> bool {
    std::env::var("WGOD_LONG").is_ok_and(|value| value == "1")
}
