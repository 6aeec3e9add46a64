//! What is left out where hundreds of nodes are simulated: not what the engines do, but how often it is looked at.

/// How much of a world is looked at, and what in it is only played.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Invariants are checked after one step in so many.
    pub check_every: u64,
    /// Disks keep nothing: what a node has stored is what it should be (`played`).
    pub played_disks: bool,
    /// Connections share a node's line by turns, as packets do (`line`), in place of first come, first served.
    pub fair_lines: bool,
}

impl Default for Scale {
    fn default() -> Scale {
        Scale { check_every: 1, played_disks: false, fair_lines: false }
    }
}

impl Scale {
    /// For crowds: checks cost as much as all else when they are made after one step in a thousand.
    pub fn crowd() -> Scale {
        Scale { check_every: 4096, played_disks: true, fair_lines: true }
    }
}
