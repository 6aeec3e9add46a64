//! What the operator does next, chosen by seed.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::known::{Known, World};
use super::stock::Stock;

/// Something that is asked of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    Add {
        at: usize,
        folder: PathBuf,
        paused: bool,
        labels: Vec<String>,
        magnet: bool,
    },
    Remove {
        at: usize,
        data: bool,
    },
    Start(usize),
    Stop(usize),
    Verify(usize),
    Move {
        at: usize,
        folder: PathBuf,
    },
    /// One file or the torrent's own folder from one path to another; the names of all files then.
    Rename {
        at: usize,
        from: PathBuf,
        to: PathBuf,
        names: Vec<PathBuf>,
    },
    Label {
        at: usize,
        labels: Vec<String>,
    },
    Limits {
        at: usize,
        up: u64,
        down: u64,
    },
    Ratio {
        at: usize,
        ratio: Option<u32>,
    },
    Sequential {
        at: usize,
        on: bool,
    },
    Select {
        at: usize,
        skip: BTreeSet<usize>,
    },
    DaemonDown(u64),
}

impl Act {
    /// The torrent that it is about.
    pub(super) fn torrent(&self) -> Option<usize> {
        match self {
            Act::Add { at, .. }
            | Act::Remove { at, .. }
            | Act::Start(at)
            | Act::Stop(at)
            | Act::Verify(at)
            | Act::Move { at, .. }
            | Act::Rename { at, .. }
            | Act::Label { at, .. }
            | Act::Limits { at, .. }
            | Act::Ratio { at, .. }
            | Act::Sequential { at, .. }
            | Act::Select { at, .. } => Some(*at),
            Act::DaemonDown(_) => None,
        }
    }
}

/// Labels that are given.
const LABELS: [&str; 4] = ["films", "linux", "größe", "x"];
/// Added to a name that is changed, and taken away again.
const RENAMED: &str = ".renamed";
/// Download limits of the daemon, bytes/s: downloads last through some lives.
const RATES: [u64; 4] = [400_000, 1_000_000, 3_000_000, 8_000_000];
/// The same where lives are long.
const PATIENT_RATES: [u64; 4] = [10_000, 30_000, 60_000, 200_000];

/// Some acts to be done at once, each about another torrent.
pub(super) fn burst(
    world: &World,
    stock: &Stock,
    folders: &[PathBuf],
    patient: bool,
    dice: &mut fastrand::Rng,
) -> Vec<Act> {
    let count = [1, 1, 1, 2, 2, 3, 4][dice.usize(..7)];
    let mut torrents: Vec<usize> = (0..stock.items.len()).collect();
    dice.shuffle(&mut torrents);
    let mut acts: Vec<Act> = torrents
        .into_iter()
        .take(count)
        .map(|at| one(at, &world.torrents[at], stock, folders, dice))
        .collect();
    if dice.u8(..12) == 0 {
        let rates = if patient { PATIENT_RATES } else { RATES };
        acts.push(Act::DaemonDown(rates[dice.usize(..rates.len())]));
    }
    acts
}

fn labels(dice: &mut fastrand::Rng) -> Vec<String> {
    let mut labels: Vec<String> =
        LABELS.iter().filter(|_| dice.u8(..3) == 0).map(|label| (*label).to_owned()).collect();
    labels.sort();
    labels
}

fn one(at: usize, known: &Known, stock: &Stock, folders: &[PathBuf], dice: &mut fastrand::Rng) -> Act {
    let folder = folders[dice.usize(..folders.len())].clone();
    if !known.present.sure() {
        let folder = match &known.left {
            Some(left) => left.folders[0].clone(),
            None => folder,
        };
        let magnet = dice.u8(..5) == 0 && known.left.is_none();
        return Act::Add { at, folder, paused: dice.u8(..5) == 0, labels: labels(dice), magnet };
    }
    if known.leaving {
        return Act::Remove { at, data: true };
    }
    let files = stock.items[at].payload.files.len();
    match dice.u8(..100) {
        0..=11 => Act::Remove { at, data: true },
        // What lies in two places, or under names of a rename, isn't found by who adds it again.
        12..=17
            if *known.names.sure() == stock.items[at].paths()
                && known.names.is_certain()
                && known.folder.is_certain() =>
        {
            Act::Remove { at, data: false }
        }
        12..=29 => Act::Move { at, folder },
        30..=37 => Act::Stop(at),
        38..=45 => Act::Start(at),
        46..=52 => Act::Verify(at),
        // Of names in doubt nobody knows what they become.
        53..=62 if !known.unknown && known.names.is_certain() => rename(at, known, dice),
        63..=70 => Act::Label { at, labels: labels(dice) },
        71..=77 => Act::Limits { at, up: 0, down: [0, 0, 200_000, 900_000][dice.usize(..4)] },
        78..=83 => Act::Ratio { at, ratio: [None, Some(70), Some(90)][dice.usize(..3)] },
        84..=88 => Act::Sequential { at, on: dice.bool() },
        89.. if files > 1 && !known.unknown => {
            let all = (0..files.min(8)).filter(|_| dice.u8(..3) == 0);
            Act::Select { at, skip: all.collect() }
        }
        _ => Act::Start(at),
    }
}

fn rename(at: usize, known: &Known, dice: &mut fastrand::Rng) -> Act {
    let names = known.names.sure();
    let file = &names[dice.usize(..names.len())];
    let depth = file.components().count();
    // The torrent's own folder, or the file.
    let from: PathBuf =
        if depth > 1 && dice.u8(..3) == 0 { file.components().take(1).collect() } else { file.clone() };
    let to = toggled(&from);
    let renamed = |name: &PathBuf| match name.strip_prefix(&from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.clone(),
        Ok(rest) => to.join(rest),
        Err(_) => name.clone(),
    };
    let names = names.iter().map(renamed).collect();
    Act::Rename { at, from, to, names }
}

fn toggled(path: &Path) -> PathBuf {
    let text = path.to_str().expect("names of the stock are text");
    match text.strip_suffix(RENAMED) {
        Some(before) => before.into(),
        None => format!("{text}{RENAMED}").into(),
    }
}
