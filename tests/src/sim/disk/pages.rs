//! The bytes of one simulated file: what reads show, and what of it a power cut leaves.
//!
//! As a system with a page cache has it: a write changes what reads show at once and the platter at any time, page
//! by page, sector by sector, in any order, until a sync returns. After a sync that failed, pages count as written
//! that are not, and no later sync writes them.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Bytes that the cache holds, and a disk gives, at a time.
pub(super) const PAGE: usize = 4096;
/// Bytes that the platter has whole or not at all.
const SECTOR: usize = 512;
/// Versions of a sector that a power cut chooses among: more make no new case.
const VERSIONS: usize = 4;

type Sector = [u8; SECTOR];

/// A page's place on the disk.
#[derive(Clone, Debug, Default)]
enum Slot {
    /// It has none.
    #[default]
    Hole,
    /// It has one, without anything in it.
    Reserved,
    Full(Box<[u8; PAGE]>),
}

/// Lengths of a file that are remembered until it is synced, the newest.
const LENGTHS: usize = 16;

/// How thorough a power cut is.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// Of a hundred unsynced pages, how many were written meanwhile.
    pub kept: u32,
    /// Of a hundred unsynced pages, how many were being written: sector by sector, in any order.
    pub torn: u32,
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    slots: Vec<Slot>,
    /// Slots that aren't holes.
    used: u64,
    len: u64,
    synced_len: u64,
    /// Lengths that it was given since, each in one step.
    given: Vec<u64>,
    mtime: Duration,
    synced_mtime: Duration,
    /// What sectors were that are not synced, the platter's version first.
    before: BTreeMap<u64, Vec<Sector>>,
    /// What the platter has instead of what a failed sync lost.
    lost: BTreeMap<u64, Sector>,
    /// A sync of its whole file system lost some of it, which its own next sync tells, as Linux has it.
    untold: bool,
}

impl Pages {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn mtime(&self) -> Duration {
        self.mtime
    }

    /// Pages that it takes on the disk.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Pages that a write of these bytes takes anew.
    pub(super) fn needs(&self, offset: u64, len: usize) -> u64 {
        let pages = offset / PAGE as u64..(offset + len as u64).div_ceil(PAGE as u64);
        pages.filter(|page| matches!(self.slots.get(*page as usize), None | Some(Slot::Hole))).count() as u64
    }

    /// Reads as much of `out` as there is.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let n = (self.len.saturating_sub(offset)).min(out.len() as u64) as usize;
        let mut at = 0;
        while at < n {
            let from = offset as usize + at;
            let step = (PAGE - from % PAGE).min(n - at);
            match self.slots.get(from / PAGE) {
                Some(Slot::Full(page)) => {
                    out[at..at + step].copy_from_slice(&page[from % PAGE..from % PAGE + step]);
                }
                _ => out[at..at + step].fill(0),
            }
            at += step;
        }
        n
    }

    /// Writes bytes, which are not synced then.
    pub(super) fn write(&mut self, now: Duration, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        (offset / SECTOR as u64..end.div_ceil(SECTOR as u64)).for_each(|sector| self.remember(sector));
        self.put(offset, bytes);
        if end > self.len {
            self.grown(end);
        }
        self.mtime = now;
    }

    /// The length of a file that grows by writes is made durable with its pages.
    fn grown(&mut self, end: u64) {
        let pages = self.len.next_multiple_of(PAGE as u64)..end;
        self.given.extend(pages.step_by(PAGE));
        self.len = end;
        self.given.push(end);
        self.given.drain(..self.given.len().saturating_sub(LENGTHS));
    }

    /// Changes what reads show, and nothing else.
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let from = offset as usize + at;
            let step = (PAGE - from % PAGE).min(bytes.len() - at);
            let page = self.page(from / PAGE);
            page[from % PAGE..from % PAGE + step].copy_from_slice(&bytes[at..at + step]);
            at += step;
        }
    }

    fn page(&mut self, number: usize) -> &mut [u8; PAGE] {
        if self.slots.len() <= number {
            self.slots.resize_with(number + 1, Slot::default);
        }
        let slot = &mut self.slots[number];
        if matches!(slot, Slot::Hole) {
            self.used += 1;
        }
        if !matches!(slot, Slot::Full(_)) {
            *slot = Slot::Full(Box::new([0; PAGE]));
        }
        match slot {
            Slot::Full(page) => page,
            _ => unreachable!("it was filled"),
        }
    }

    /// Keeps what a sector is before it changes.
    fn remember(&mut self, sector: u64) {
        let now = self.sector(sector);
        let before = self.before.entry(sector).or_default();
        match (self.lost.remove(&sector), before.is_empty()) {
            // What was lost was never under way to the platter.
            (Some(platter), _) => before.push(platter),
            (None, _) => before.push(now),
        }
        if before.len() > VERSIONS {
            before.remove(1);
        }
    }

    fn sector(&self, number: u64) -> Sector {
        let (at, mut out) = (number as usize * SECTOR, [0; SECTOR]);
        if let Some(Slot::Full(page)) = self.slots.get(at / PAGE) {
            out.copy_from_slice(&page[at % PAGE..at % PAGE + SECTOR]);
        }
        out
    }

    /// Makes it exactly so long.
    pub(super) fn set_len(&mut self, now: Duration, len: u64) {
        if len < self.len {
            for sector in len / SECTOR as u64..self.len.div_ceil(SECTOR as u64) {
                let at = (sector * SECTOR as u64).max(len);
                let zeros = [0; SECTOR];
                let end = ((sector + 1) * SECTOR as u64).min(self.len);
                if self.sector(sector) != zeros && at < end {
                    self.remember(sector);
                    self.put(at, &zeros[..(end - at) as usize]);
                }
            }
            self.truncate_slots(len);
        }
        self.len = len;
        self.given.push(len);
        self.given.drain(..self.given.len().saturating_sub(LENGTHS));
        self.mtime = now;
    }

    fn truncate_slots(&mut self, len: u64) {
        let keep = len.div_ceil(PAGE as u64) as usize;
        if keep < self.slots.len() {
            self.used -= self.slots[keep..].iter().filter(|slot| !matches!(slot, Slot::Hole)).count() as u64;
            self.slots.truncate(keep);
        }
    }

    /// Gives the first so many bytes a place, and makes it as long.
    pub(super) fn allocate(&mut self, now: Duration, len: u64) {
        let pages = len.div_ceil(PAGE as u64) as usize;
        if self.slots.len() < pages {
            self.slots.resize_with(pages, Slot::default);
        }
        for slot in self.slots[..pages].iter_mut().filter(|slot| matches!(slot, Slot::Hole)) {
            *slot = Slot::Reserved;
            self.used += 1;
        }
        self.len = self.len.max(len);
        self.mtime = now;
    }

    /// The first byte at or after `offset` that was written.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        let first = (offset / PAGE as u64) as usize;
        let page = (first..self.slots.len()).find(|page| matches!(self.slots[*page], Slot::Full(_)))?;
        Some(((page * PAGE) as u64).max(offset)).filter(|at| *at < self.len)
    }

    /// Everything so far is on the platter, except for what was lost before.
    pub(super) fn sync(&mut self) {
        self.before.clear();
        self.given.clear();
        (self.synced_len, self.synced_mtime) = (self.len, self.mtime);
    }

    /// A sync of its whole file system fails; see [`fail_sync`](Self::fail_sync).
    pub(super) fn fail_sync_of_all(&mut self, rng: &mut fastrand::Rng, reverts: bool) {
        self.untold |= !self.before.is_empty();
        self.fail_sync(rng, reverts);
    }

    /// Whether its own sync has still to tell of one that failed.
    pub(super) fn take_untold(&mut self) -> bool {
        std::mem::take(&mut self.untold)
    }

    /// A sync that fails: some pages were written, the others count as written. `reverts`: what reads show is what
    /// the platter has, as file systems do that read a page again.
    pub(super) fn fail_sync(&mut self, rng: &mut fastrand::Rng, reverts: bool) {
        for (_, sectors) in by_page(std::mem::take(&mut self.before)) {
            if rng.bool() {
                continue;
            }
            for (sector, versions) in sectors {
                let platter = versions[0];
                if reverts {
                    self.put_within(sector, &platter);
                } else {
                    self.lost.insert(sector, platter);
                }
            }
        }
    }

    /// Memory forgets what it need not write: reads show what the platter has.
    pub(super) fn forget(&mut self) {
        for (sector, platter) in std::mem::take(&mut self.lost) {
            self.put_within(sector, &platter);
        }
    }

    /// Changes a sector as far as the file has it.
    fn put_within(&mut self, sector: u64, bytes: &Sector) {
        let at = sector * SECTOR as u64;
        let n = self.len.saturating_sub(at).min(SECTOR as u64) as usize;
        self.put(at, &bytes[..n]);
    }

    /// The power goes: what reads show is what is on the platter.
    pub(super) fn cut(&mut self, rng: &mut fastrand::Rng, ending: Ending) {
        let new = self.len;
        let kept = match rng.u32(..100) < ending.kept {
            true => new,
            false if rng.u32(..4) == 0 && !self.given.is_empty() => self.given[rng.usize(..self.given.len())],
            false => self.synced_len,
        };
        self.len = new.max(self.synced_len);
        self.untold = false;
        self.forget();
        for (_, sectors) in by_page(std::mem::take(&mut self.before)) {
            let choice = rng.u32(..100);
            if choice < ending.kept {
                continue;
            }
            let torn = choice < ending.kept + ending.torn;
            for (sector, versions) in sectors {
                let version = if torn { rng.usize(..=versions.len()) } else { 0 };
                // The last is what reads show.
                if let Some(bytes) = versions.get(version) {
                    self.put_within(sector, bytes);
                }
            }
        }
        self.len = kept.min(self.len);
        self.truncate_slots(self.len);
        self.zero_tail();
        if self.mtime != self.synced_mtime && rng.u32(..100) >= ending.kept {
            self.mtime = self.synced_mtime;
        }
        self.given.clear();
        (self.synced_len, self.synced_mtime) = (self.len, self.mtime);
    }

    /// What is behind the end is nothing.
    fn zero_tail(&mut self) {
        let at = self.len as usize % PAGE;
        if let Some(Slot::Full(page)) = self.slots.get_mut(self.len as usize / PAGE).filter(|_| at > 0) {
            page[at..].fill(0);
        }
    }

    /// Changes bytes where they lie, without anybody's knowledge.
    pub(super) fn rot(&mut self, offset: u64, mask: u8) {
        let mut byte = [0];
        if self.read(offset, &mut byte) == 1 {
            self.put(offset, &[byte[0] ^ mask]);
        }
    }
}

type Group = Vec<(u64, Vec<Sector>)>;

/// Sectors by the page that they are in, in order.
fn by_page(sectors: BTreeMap<u64, Vec<Sector>>) -> Vec<(u64, Group)> {
    let page_of = |sector: &u64| sector / (PAGE / SECTOR) as u64;
    let pages: BTreeSet<u64> = sectors.keys().map(page_of).collect();
    let mut groups: BTreeMap<u64, Group> = pages.into_iter().map(|page| (page, Vec::new())).collect();
    for (sector, versions) in sectors {
        groups.entry(page_of(&sector)).or_default().push((sector, versions));
    }
    groups.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const NOTHING: Ending = Ending { kept: 0, torn: 0 };
    const ALL: Ending = Ending { kept: 100, torn: 0 };

    fn rng() -> fastrand::Rng {
        fastrand::Rng::with_seed(7)
    }

    fn all(pages: &Pages) -> Vec<u8> {
        let mut out = vec![9; pages.len() as usize];
        assert_eq!(pages.read(0, &mut out), out.len());
        out
    }

    #[test]
    fn a_cut_takes_what_was_not_synced_and_nothing_else() {
        let mut file = Pages::default();
        file.write(NOW, 0, &[1; 6000]);
        file.sync();
        file.write(NOW, 1000, &[2; 9000]);
        let mut kept = file.clone();
        kept.cut(&mut rng(), ALL);
        assert_eq!(all(&kept), all(&file));
        file.cut(&mut rng(), NOTHING);
        assert_eq!(all(&file), [1; 6000]);
    }

    #[test]
    fn a_torn_page_has_sectors_of_all_times() {
        let mut file = Pages::default();
        file.write(NOW, 0, &[1; PAGE]);
        file.sync();
        file.write(NOW, 0, &[2; PAGE]);
        file.write(NOW, 0, &[3; PAGE]);
        let mut seen = BTreeSet::new();
        let mut rng = rng();
        for _ in 0..20 {
            let mut cut = file.clone();
            cut.cut(&mut rng, Ending { kept: 0, torn: 100 });
            for sector in all(&cut).chunks(SECTOR) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
                seen.insert(sector[0]);
            }
        }
        assert_eq!(seen, BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn what_a_failed_sync_lost_no_later_sync_writes() {
        let mut file = Pages::default();
        file.write(NOW, 0, &[1; 64 * PAGE]);
        file.sync();
        file.write(NOW, 0, &[2; 64 * PAGE]);
        file.fail_sync(&mut rng(), false);
        assert_eq!(all(&file), [2; 64 * PAGE], "reads show it still");
        file.sync();
        let mut forgotten = file.clone();
        forgotten.forget();
        let mut cut = file.clone();
        cut.cut(&mut rng(), ALL);
        assert_eq!(all(&cut), all(&forgotten), "what memory forgets reads as after a cut");
        let lost = all(&cut).iter().filter(|byte| **byte == 1).count();
        assert!(lost > 0 && lost < 64 * PAGE, "{lost} bytes");
        file.write(NOW, 0, &[3; 64 * PAGE]);
        file.sync();
        file.cut(&mut rng(), NOTHING);
        assert_eq!(all(&file), [3; 64 * PAGE], "written anew it is there");
    }

    #[test]
    fn a_length_is_cut_back_and_what_is_behind_reads_as_zeros() {
        let mut file = Pages::default();
        file.write(NOW, 0, &[1; 5000]);
        file.sync();
        file.set_len(NOW, 100);
        file.write(NOW, 4000, &[2; 10]);
        assert_eq!(all(&file)[100..4000], [0; 3900]);
        file.cut(&mut rng(), NOTHING);
        assert_eq!(all(&file), [1; 5000]);
        file.allocate(NOW, 9000);
        assert_eq!((file.used(), file.next_data(5000)), (3, Some(5000)));
        assert_eq!(file.next_data(8192), None);
    }
}
