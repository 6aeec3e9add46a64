//! What torrents share: payload memory among those that download, and the room on a file system.
use crate::swarm::MIN_MEMORY_BLOCKS;

/// Blocks that each torrent may hold, given those it holds now: what is free is split evenly, so a
/// busy torrent grows into what idle ones leave. Every torrent has [`MIN_MEMORY_BLOCKS`].
pub fn share_memory(total: usize, held: &[usize]) -> Vec<usize> {
    let used: usize = held.iter().sum();
    let each = total.saturating_sub(used) / held.len().max(1);
    held.iter().map(|held| (held + each).max(MIN_MEMORY_BLOCKS)).collect()
}

/// Downloads go on when this share of the least room is free above it: else they would stop and go with
/// each file that somebody deletes and writes.
const HYSTERESIS: u64 = 10;
/// The same for a file system that was full, as a share of its size; and at most so many bytes.
const GROWTH: u64 = 100;
const MAX_GROWTH: u64 = 16 << 20;

/// Whether a file system has room for downloads: too little stops all of them, and they go on when there
/// is clearly more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Free bytes at which downloads go on, while they wait.
    resume_at: Option<u64>,
    /// The same where a write was refused, whatever the least room.
    refused_to: Option<u64>,
}

impl Room {
    /// So much of the file system is free; `min` is what is to stay free. `refused`: it had no space for a
    /// write. One with ample space that refused it (for a large file, a quota) stops nobody else.
    pub fn update(&mut self, free: u64, total: u64, min: u64, refused: bool) {
        let growth = (total / GROWTH).clamp(1, MAX_GROWTH);
        if refused && free < growth {
            self.refused_to = Some(free.saturating_add(growth));
        }
        self.refused_to = self.refused_to.filter(|at| free < *at);
        // Somebody may have changed the least room meanwhile.
        let enough = min.saturating_add(if self.resume_at.is_some() { min / HYSTERESIS } else { 0 });
        self.resume_at = (free < enough).then(|| min.saturating_add(min / HYSTERESIS));
    }

    /// Whether downloads wait.
    pub fn is_low(&self) -> bool {
        self.resumes_at().is_some()
    }

    /// Free bytes at which downloads go on, if they wait.
    pub fn resumes_at(&self) -> Option<u64> {
        self.resume_at.max(self.refused_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_torrent_grows_into_what_idle_ones_leave() {
        assert_eq!(share_memory(100, &[]), [] as [usize; 0]);
        assert_eq!(share_memory(100, &[0]), [100]);
        assert_eq!(share_memory(100, &[40, 0]), [70, 30]);
        assert_eq!(share_memory(100, &[90, 20]), [90, 20], "over-committed: nobody grows");
        assert_eq!(share_memory(8, &[0; 4]), [4; 4], "the minimum holds even past the total");
    }

    #[test]
    fn downloads_stop_below_the_least_room_and_go_on_clearly_above_it() {
        let mut room = Room::default();
        for (free, min, refused, resumes_at) in [
            (1000, 1000, false, None),
            (999, 1000, false, Some(1100)),
            (1099, 1000, false, Some(1100)),
            (1100, 1000, false, None),
            (1099, 1000, false, None),
            (999, 1000, false, Some(1100)),
            (999, 900, false, None),
            (0, 0, false, None),
            // Of 10,000 bytes 100 must be free again after a write was refused.
            (7, 0, true, Some(107)),
            (50, 0, false, Some(107)),
            (50, 1000, false, Some(1100)),
            (1050, 1000, false, Some(1100)),
            (106, 0, false, None),
            (5000, 0, true, None),
        ] {
            room.update(free, 10_000, min, refused);
            assert_eq!(room.resumes_at(), resumes_at, "{free} free, {min} at least, {refused}");
            assert_eq!(room.is_low(), resumes_at.is_some());
        }
    }

    #[test]
    fn no_size_makes_a_disk_full_for_ever() {
        for total in [0, 1, 99, 1 << 40, u64::MAX] {
            let mut room = Room::default();
            room.update(0, total, 0, true);
            assert!(room.is_low(), "{total}");
            room.update(total.clamp(1, 2 * MAX_GROWTH), total, 0, false);
            assert!(!room.is_low(), "{total}");
        }
    }
}
