//! Payload memory shared out among the torrents that download.
use crate::swarm::MIN_MEMORY_BLOCKS;

/// Blocks that each torrent may hold, given those it holds now: what is free is split evenly, so a
/// busy torrent grows into what idle ones leave. Every torrent has [`MIN_MEMORY_BLOCKS`].
pub fn share_memory(total: usize, held: &[usize]) -> Vec<usize> {
    let used: usize = held.iter().sum();
    let each = total.saturating_sub(used) / held.len().max(1);
    held.iter().map(|held| (held + each).max(MIN_MEMORY_BLOCKS)).collect()
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
}
