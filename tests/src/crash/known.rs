//! What the operator knows: of each torrent and of the daemon, what was acknowledged and what is in doubt.
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::fact::Fact;
use super::plan::Act;
use super::stock::Stock;

/// Files of the torrent that stay without it.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) folders: Vec<PathBuf>,
    pub(super) names: Vec<PathBuf>,
    /// Those of which bytes may lie elsewhere.
    pub(super) aside: BTreeSet<usize>,
    /// They must stay. Not of one whose removal was refused or done by half: they may not have been synced.
    pub(super) promised: bool,
    /// Pieces that were seen in them. `None`: not looked at yet.
    pub(super) pieces: Option<Vec<bool>>,
}

/// One torrent.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) present: Fact<bool>,
    pub(super) folder: Fact<PathBuf>,
    /// The folder of the last move that was acknowledged, which is done some time later.
    pub(super) target: Option<PathBuf>,
    pub(super) started: Fact<bool>,
    pub(super) labels: Fact<Vec<String>>,
    pub(super) limits: Fact<(u64, u64)>,
    pub(super) ratio: Fact<Option<u32>>,
    pub(super) sequential: Fact<bool>,
    pub(super) skipped: Fact<BTreeSet<usize>>,
    pub(super) names: Fact<Vec<PathBuf>>,
    /// It was added by its hash alone, and nobody has seen its metadata yet.
    pub(super) unknown: bool,
    /// Files that have been skipped at some time: bytes of them may lie elsewhere.
    pub(super) aside: BTreeSet<usize>,
    /// Its `completed_at` was seen, and nothing has been asked since that could undo it.
    pub(super) completed: bool,
    /// It was asked to go, files and all, and nobody answered: `true` once it is found to be there all the same.
    pub(super) leaving: bool,
    /// Its check may have been asked for.
    pub(super) checks: bool,
    /// Other files of it were asked for, since when it was not seen to be at rest. Its files may have been made ready for
    /// that before the check that it owed had ended, which alone notes how they are.
    pub(super) selected_anew: bool,
    pub(super) left: Option<Left>,
    /// It was removed without its files, which were partly kept aside; whoever adds it again knows nothing of that.
    pub(super) parts_left: bool,
    /// It was removed, and the daemon said that it comes back should it end before that is stored.
    pub(super) may_return: bool,
    /// Something was refused: what is shown may be gone with the process.
    pub(super) volatile: bool,
    /// Where it was removed from with its files, until it is added again.
    pub(super) gone: Vec<PathBuf>,
}

/// The whole daemon.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) torrents: Vec<Known>,
    pub(super) down: Fact<u64>,
    /// As of a torrent.
    pub(super) volatile: bool,
}

impl World {
    pub(super) fn new(stock: &Stock, down: u64) -> World {
        let known = |item: &super::stock::Item| Known {
            present: Fact::new(false),
            folder: Fact::new(PathBuf::new()),
            target: None,
            started: Fact::new(true),
            labels: Fact::new(Vec::new()),
            limits: Fact::new((0, 0)),
            ratio: Fact::new(None),
            sequential: Fact::new(false),
            skipped: Fact::new(BTreeSet::new()),
            names: Fact::new(item.paths()),
            unknown: false,
            aside: BTreeSet::new(),
            completed: false,
            leaving: false,
            checks: false,
            selected_anew: false,
            left: None,
            parts_left: false,
            may_return: false,
            volatile: false,
            gone: Vec::new(),
        };
        World { torrents: stock.items.iter().map(known).collect(), down: Fact::new(down), volatile: false }
    }

    /// Something is asked for. Until it is answered it is in doubt.
    pub(super) fn ask(&mut self, act: &Act, stock: &Stock) {
        let Some(at) = act.torrent() else {
            if let Act::DaemonDown(down) = act {
                self.down.ask(*down);
            }
            return;
        };
        let names = stock.items[at].paths();
        let known = &mut self.torrents[at];
        match act {
            Act::Add { folder, paused, labels, magnet, .. } => {
                known.begin(folder, !paused, labels, *magnet, names)
            }
            Act::Remove { data, .. } => {
                known.present.ask(false);
                known.leaving |= data;
                known.completed &= !data;
                known.may_return = false;
                if !data {
                    known.leave(true);
                }
            }
            Act::Start(_) => known.started.ask(true),
            Act::Stop(_) => known.started.ask(false),
            Act::Verify(_) => known.checks = true,
            Act::Move { folder, .. } => {
                known.folder.ask(folder.clone());
                known.target = None;
            }
            Act::Rename { names, .. } => known.names.ask(names.clone()),
            Act::Label { labels, .. } => known.labels.ask(labels.clone()),
            Act::Limits { up, down, .. } => known.limits.ask((*up, *down)),
            Act::Ratio { ratio, .. } => known.ratio.ask(*ratio),
            Act::Sequential { on, .. } => known.sequential.ask(*on),
            Act::Select { skip, .. } => {
                known.skipped.ask(skip.clone());
                known.aside.extend(skip);
                known.completed = false;
                known.selected_anew = true;
            }
            Act::DaemonDown(_) => {}
        }
    }

    /// It was refused.
    pub(super) fn refuse(&mut self, act: &Act) {
        if let Act::Remove { at, .. } = act {
            let known = &mut self.torrents[*at];
            known.may_return = true;
            known.leave(false);
        }
        match act.torrent() {
            Some(at) => self.torrents[at].volatile = true,
            None => self.volatile = true,
        }
    }

    /// The process has ended: what is shown now is what is stored.
    pub(super) fn restarted(&mut self) {
        self.volatile = false;
        self.torrents.iter_mut().for_each(|known| known.volatile = false);
    }

    /// It was acknowledged.
    pub(super) fn acknowledge(&mut self, act: &Act) {
        let Some(at) = act.torrent() else {
            if let Act::DaemonDown(down) = act {
                self.down.settle(*down);
            }
            return;
        };
        let known = &mut self.torrents[at];
        match act {
            Act::Add { .. } => known.present.settle(true),
            Act::Remove { data, .. } => known.end(*data),
            Act::Start(_) => known.started.settle(true),
            Act::Stop(_) => known.started.settle(false),
            Act::Label { labels, .. } => known.labels.settle(labels.clone()),
            Act::Limits { up, down, .. } => known.limits.settle((*up, *down)),
            Act::Ratio { ratio, .. } => known.ratio.settle(*ratio),
            Act::Sequential { on, .. } => known.sequential.settle(*on),
            Act::Select { skip, .. } => known.skipped.settle(skip.clone()),
            Act::Rename { names, .. } => known.names.settle(names.clone()),
            Act::Move { folder, .. } => known.target = Some(folder.clone()),
            Act::Verify(_) | Act::DaemonDown(_) => {}
        }
    }
}

impl Known {
    fn begin(
        &mut self,
        folder: &std::path::Path,
        started: bool,
        labels: &[String],
        magnet: bool,
        names: Vec<PathBuf>,
    ) {
        self.present.ask(true);
        if self.volatile {
            // An earlier one that was refused may be there all the same.
            self.folder.ask(folder.to_owned());
            self.started.ask(started);
            self.labels.ask(labels.to_owned());
            self.limits.ask((0, 0));
            self.ratio.ask(None);
            self.sequential.ask(false);
            self.skipped.ask(BTreeSet::new());
            self.names.ask(names);
            self.unknown |= magnet;
            return;
        }
        self.folder = Fact::new(folder.to_owned());
        self.target = None;
        self.started = Fact::new(started);
        self.labels = Fact::new(labels.to_owned());
        self.limits = Fact::new((0, 0));
        self.ratio = Fact::new(None);
        self.sequential = Fact::new(false);
        self.skipped = Fact::new(BTreeSet::new());
        self.names = Fact::new(names);
        self.unknown = magnet;
        self.aside = BTreeSet::new();
        self.completed = false;
        self.leaving = false;
        self.checks = true;
        self.may_return = false;
        self.gone = Vec::new();
    }

    /// Its files stay, or some of them may.
    fn leave(&mut self, promised: bool) {
        self.parts_left |= !self.aside.is_empty();
        self.left = Some(Left {
            folders: self.folders(),
            names: self.names.sure().clone(),
            aside: self.aside.clone(),
            promised,
            pieces: None,
        });
    }

    /// It is gone: its files too if `data`.
    pub(super) fn end(&mut self, data: bool) {
        self.present.settle(false);
        if data {
            let folders = self.folders();
            let names: BTreeSet<&PathBuf> = self.names.values().flatten().collect();
            self.gone =
                folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name))).collect();
            self.left = None;
        }
        self.leaving = false;
        self.completed = false;
    }

    /// Whether its files were deleted and that could not be stored, as whoever asked was told: when it comes back it may
    /// show what is gone.
    pub(super) fn is_emptied(&self) -> bool {
        self.leaving && self.may_return
    }

    /// Every folder that it may have files in.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.folder.values().cloned().collect();
        folders.dedup();
        folders
    }
}
