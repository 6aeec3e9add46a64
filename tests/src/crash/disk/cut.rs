//! The power cut: what of the unsynced arrives all the same.
use super::tree::{Change, Content, Inode, Node, ROOT, Tree};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// How much of the unsynced survives a cut; each kind is tried, since each finds other faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Everything.
    All,
    /// Operations on folders up to some moment, as of a journal; of files any sectors.
    Journal,
    /// Any operations on folders, any sectors of files.
    Any,
}

impl Survival {
    pub(super) fn choose(dice: &mut fastrand::Rng) -> Survival {
        match dice.u8(..10) {
            0 | 1 => Survival::Nothing,
            2 => Survival::All,
            3..=5 => Survival::Journal,
            _ => Survival::Any,
        }
    }
}

impl Tree {
    /// Drops what isn't on the platter, but for what survives.
    pub(super) fn cut(&mut self, survival: Survival, dice: &mut fastrand::Rng) {
        let renamings = std::mem::take(&mut self.renamings);
        let journal = dice.usize(..=renamings.len());
        for (at, renaming) in renamings.iter().enumerate() {
            let survives = match survival {
                Survival::Nothing => false,
                Survival::All => true,
                Survival::Journal => at < journal,
                Survival::Any => dice.bool(),
            };
            if survives {
                self.keep(renaming);
            }
        }
        for Inode { node, .. } in self.inodes.values_mut() {
            match node {
                Node::File { seen, kept, pending } => {
                    tear(kept, &std::mem::take(pending), survival, dice);
                    *seen = kept.clone();
                }
                Node::Dir { seen, kept, .. } => *seen = kept.clone(),
                Node::Link { .. } => {}
            }
        }
        self.forget_unreachable();
    }

    /// Frees what no name leads to.
    fn forget_unreachable(&mut self) {
        let mut reached = std::collections::BTreeSet::new();
        let mut next = vec![ROOT];
        while let Some(ino) = next.pop() {
            if reached.insert(ino)
                && let Some(Inode { node: Node::Dir { seen, .. }, .. }) = self.inodes.get(&ino)
            {
                next.extend(seen.values());
            }
        }
        self.inodes.retain(|ino, _| reached.contains(ino));
    }
}

/// Brings over some of `changes`: of each write any sectors, of lengths and times those up to some moment.
fn tear(kept: &mut Content, changes: &[Change], survival: Survival, dice: &mut fastrand::Rng) {
    if changes.is_empty() || survival == Survival::Nothing {
        return;
    }
    if survival == Survival::All {
        return changes.iter().for_each(|change| kept.apply(change));
    }
    let moment = dice.usize(..=changes.len());
    let share = [0.1, 0.5, 0.9, 1.0][dice.usize(..4)];
    // What arrives beyond the length that arrives can't be read.
    let (mut len, mut mtime) = (kept.bytes.len(), kept.mtime);
    for (at, change) in changes.iter().enumerate() {
        match change {
            Change::Write { offset, bytes, mtime: time } => {
                let end = *offset as usize + bytes.len();
                if at < moment {
                    (len, mtime) = (len.max(end), *time);
                }
                let mut from = 0;
                while from < bytes.len() {
                    let position = *offset as usize + from;
                    let to = bytes.len().min(from + SECTOR - position % SECTOR);
                    if dice.f64() < share {
                        kept.write(position as u64, &bytes[from..to]);
                    }
                    from = to;
                }
            }
            Change::SetLen { len: new, mtime: time } => {
                if at < moment {
                    (len, mtime) = (*new as usize, *time);
                    // What was cut off is not there when the file grows again.
                    kept.set_len((*new).min(kept.bytes.len() as u64));
                }
            }
            Change::Touch { mtime: time } => {
                if at < moment {
                    mtime = *time;
                }
            }
        }
    }
    kept.set_len(len as u64);
    kept.mtime = mtime;
}
