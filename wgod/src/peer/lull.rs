//! When to read: not with every packet.
//!
//! A peer far away sends a packet at a time, and at 20 MB/s each of 15,000 a second would wake its
//! connection to read 1.4 KiB: that costs three times what everything else does with the bytes. So while
//! blocks flow, the socket wakes the connection only once a good part of what was asked for has come; and
//! lest a message wait behind a silence, the connection looks by itself every [`LULL`].
use std::time::Duration;

use wgo_core::Time;
use wgo_proto::BLOCK_LEN;

/// A message waits at most this long. Small against the seconds of requests that are outstanding, the
/// 200 ms in which HAVEs are gathered, and a far peer's distance.
const LULL: Duration = Duration::from_millis(25);
/// Reads that came within three lulls of the one before, after which blocks flow.
const FLOWING: u8 = 8;
/// Most bytes that are waited for: with more a read is no cheaper, and their memory grows cold.
const MOST: u32 = 128 * 1024;

/// What a connection knows of the rhythm of its socket.
#[derive(Debug, Default)]
pub(super) struct Lull {
    /// Reads in a row that came soon after the one before, up to [`FLOWING`].
    soon: u8,
    last: Time,
    /// Bytes that must have come before the socket wakes its connection; 0 when any byte does.
    mark: u32,
    /// When to look anyway.
    due: Time,
}

impl Lull {
    /// The socket is empty after `came` bytes, as far as it told or was `looked` at; `more` are asked for.
    /// Returns the new mark if it changes.
    pub(super) fn empty(
        &mut self,
        now: Time,
        came: usize,
        looked: bool,
        more: impl FnOnce() -> u64,
    ) -> Option<u32> {
        if came == 0 && !looked {
            // Something else woke the connection.
            return None;
        }
        let soon = came > 0 && now.since(self.last) <= 3 * LULL;
        self.soon = if soon { (self.soon + 1).min(FLOWING) } else { 0 };
        if came > 0 {
            self.last = now;
        }
        // On a common grid, so that one wake-up of the thread serves many connections.
        self.due = grid(now);
        let mark = if self.soon < FLOWING { 0 } else { mark_for(more()) };
        self.change(mark)
    }

    /// Every byte wakes the connection again: what limits it is something else. As `empty`.
    pub(super) fn end(&mut self) -> Option<u32> {
        self.soon = 0;
        self.change(0)
    }

    /// When the connection must look by itself.
    pub(super) fn due(&self) -> Option<Time> {
        (self.mark > 0).then_some(self.due)
    }

    fn change(&mut self, mark: u32) -> Option<u32> {
        let changed = self.mark != mark;
        self.mark = mark;
        changed.then_some(mark)
    }
}

/// A quarter of what is to come, in few steps; 0 when that is less than a block.
fn mark_for(more: u64) -> u32 {
    let quarter = u32::try_from(more / 4).unwrap_or(u32::MAX).min(MOST);
    if quarter < BLOCK_LEN { 0 } else { 1 << quarter.ilog2() }
}

/// The end of the lull that `now` is in, at least half a one away.
fn grid(now: Time) -> Time {
    let lull = LULL.as_micros() as u64;
    let half_later = now.since_start().as_micros() as u64 + lull / 2;
    Time::from_start(Duration::from_micros(half_later.div_ceil(lull) * lull))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    /// A connection that has read `FLOWING` times in quick succession by 1,010 ms.
    fn flowing(more: u64) -> Lull {
        let mut lull = Lull::default();
        for n in 0..=u64::from(FLOWING) {
            lull.empty(ms(1002 + n), 1448, false, || more);
        }
        lull
    }

    #[test]
    fn while_blocks_flow_a_part_of_what_is_asked_for_is_waited_for() {
        for (more, mark) in
            [(3 << 20, 128 << 10), (512 << 10, 128 << 10), (300 << 10, 64 << 10), (64 << 10, 16 << 10)]
        {
            let lull = flowing(more);
            assert_eq!((lull.mark, lull.due()), (mark, Some(ms(1025))), "{more}");
        }
        for more in [0, 16 << 10, (64 << 10) - 1] {
            assert_eq!(flowing(more).due(), None, "{more}: the next bytes may be the last");
        }
    }

    #[test]
    fn a_silence_ends_it() {
        let mut lull = flowing(1 << 20);
        assert_eq!(lull.empty(ms(1024), 0, false, || 1 << 20), None, "woken for another reason");
        assert_eq!(lull.empty(ms(1025), 500, true, || 1 << 20), None, "fewer bytes, but some");
        assert_eq!(lull.due(), Some(ms(1050)));
        assert_eq!(lull.empty(ms(1050), 0, true, || 1 << 20), Some(0));
        assert_eq!(lull.due(), None);
        assert_eq!(flowing(1 << 20).end(), Some(0));
    }

    #[test]
    fn what_comes_now_and_then_is_read_at_once() {
        let mut lull = Lull::default();
        for n in 1..100 {
            assert_eq!(lull.empty(ms(100 * n), 1448, false, || 1 << 20), None);
        }
        assert_eq!(lull.due(), None);
    }

    #[test]
    fn a_look_is_half_a_lull_to_one_and_a_half_away() {
        for at in 0..100 {
            let wait = grid(ms(at)).since(ms(at));
            assert!(wait >= LULL / 2 && wait <= LULL * 3 / 2, "{at}: {wait:?}");
        }
    }
}
