//! A gateway's clock, by which it tells that it has forgotten its mappings.
use crate::Time;

/// What a gateway's clock showed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    secs: u32,
    at: Time,
}

impl Epoch {
    pub(super) fn new(secs: u32, at: Time) -> Epoch {
        Epoch { secs, at }
    }

    /// Whether one that shows `later` has run on since this, give or take what clocks differ by: an eighth of the
    /// time and 2 s slow (RFC 6886 section 3.6, which is wider than RFC 6887 section 8.5), or a sixteenth and 2 s
    /// fast (RFC 6887).
    ///
    /// NAT-PMP says nothing of clocks that are fast; one that was set forward has lost nothing then.
    pub(super) fn runs_on(self, later: Epoch, may_jump: bool) -> bool {
        let ours = later.at.since(self.at).as_secs();
        let theirs = u64::from(later.secs).checked_sub(u64::from(self.secs));
        // A second back is an answer that was overtaken.
        let Some(theirs) = theirs else { return later.secs.saturating_add(1) >= self.secs && ours <= 2 };
        let is_slow = theirs + 2 < ours - ours / 8;
        let is_fast = ours + 2 < theirs - theirs / 16;
        !is_slow && (may_jump || !is_fast)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_went_back_or_stood_still_has_begun_anew() {
        let at = |secs: u32, at: u64| Epoch::new(secs, Time::from_start(Duration::from_secs(at)));
        let before = at(10_000, 100);
        for (secs, now, want) in [
            (10_000, 100, true),
            (9_999, 101, true),
            (9_999, 150, false),
            (9_990, 101, false),
            (0, 101, false),
            (10_060, 160, true),
            (10_052, 160, true),
            (10_050, 160, false),
            (10_000, 1100, false),
            (10_875, 1100, true),
            (u32::MAX, 160, false),
        ] {
            assert_eq!(before.runs_on(at(secs, now), false), want, "{secs} at {now}");
        }
        assert!(before.runs_on(at(u32::MAX, 160), true));
        assert!(!before.runs_on(at(3, 160), true));
    }
}
