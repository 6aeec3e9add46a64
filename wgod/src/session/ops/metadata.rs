//! Metadata that came from peers (BEP 9): whether it is the torrent's, making it durable, and getting the files
//! ready for the Swarm to go on with.
use std::sync::Arc;

use tokio::sync::oneshot;
use wgo_api::result::Added;
use wgo_core::Selection;
use wgo_core::metadata::Candidate;
use wgo_core::session::Fault;
use wgo_core::swarm::Learnt;
use wgo_proto::metainfo::{Info, Metainfo};
use wgo_proto::{Bitfield, InfoHashes};

use super::checkpoint::store_fault;
use super::{Cx, Outcome, add, live, open_files};
use crate::files::{BlockBuf, Presence, TorrentFiles, Whereabouts};
use crate::session::add::V2_ONLY;
use crate::session::entry::About;
use crate::session::metadata::Arranged;
use crate::session::tune::order;
use crate::store::{Change, OwedCheck, Progress};

/// What metadata that came whole is.
#[derive(Debug)]
pub(in crate::session) enum Verdict {
    /// It has another hash.
    Wrong,
    /// It has the torrent's hash, and no torrent can be made of it.
    Unusable(String),
    /// It is the torrent's: what it says, and as a torrent file.
    Right(Box<Metainfo>, Vec<u8>),
}

/// A torrent that is about to be known.
#[derive(Debug)]
pub(in crate::session) struct Learning {
    /// What becomes of its settings.
    pub(in crate::session) arranged: Arranged,
    /// What it consists of, as it will lie on a disk that has nothing of it.
    pub(in crate::session) info: Arc<Info>,
    pub(in crate::session) selection: Option<Arc<Selection>>,
    pub(in crate::session) about: Option<Box<About>>,
    pub(in crate::session) tiers: wgo_core::tracker::Tiers,
    /// Its torrent file.
    pub(in crate::session) raw: Vec<u8>,
    /// Which of the peers' variants it was; `None`: it came from an operator.
    pub(in crate::session) size: Option<u32>,
    /// The operator who waits.
    pub(in crate::session) reply: Option<oneshot::Sender<Added>>,
}

/// What became of it.
#[derive(Debug)]
pub(in crate::session) struct Taught {
    pub(in crate::session) learning: Box<Learning>,
    /// It begins in its final folder.
    pub(in crate::session) in_place: bool,
    /// There may be files of it on the disk, which have to be checked.
    pub(in crate::session) there: bool,
    /// It is durable, and its Swarm may go on; or why it isn't.
    pub(in crate::session) result: Result<Option<Ready>, Fault>,
}

/// All that a Swarm needs to go on.
pub(in crate::session) struct Ready {
    pub(in crate::session) files: Arc<TorrentFiles>,
    pub(in crate::session) place: Whereabouts,
    pub(in crate::session) learnt: Box<Learnt<BlockBuf>>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Looks at metadata from peers, of which there may be 64 MiB.
pub(super) async fn examine(cx: Cx, candidate: Candidate) -> Outcome {
    let size = candidate.size;
    let (hashes, tiers) = (cx.hashes, cx.tiers.clone());
    let judged = cx.engine.compute(move || {
        let tiers: Vec<Vec<String>> =
            tiers.iter().map(|tier| tier.iter().map(|url| url.to_string()).collect()).collect();
        judge(&candidate.pieces.concat(), &hashes, &tiers)
    });
    // That says nothing about it.
    let Some(verdict) = judged.await else { return Outcome::Done };
    Outcome::Examined { size, verdict }
}

/// Compares with each hash that is known of the torrent.
fn judge(info: &[u8], hashes: &InfoHashes, tiers: &[Vec<String>]) -> Verdict {
    let found = Metainfo::hashes_of(info);
    let (v1, v2) =
        (hashes.v1.map(|hash| Some(hash) == found.v1), hashes.v2.map(|hash| Some(hash) == found.v2));
    match (v1, v2) {
        (Some(true), Some(false)) | (Some(false), Some(true)) => {
            let why = "its two info-hashes are those of different torrents; the magnet link is wrong";
            return Verdict::Unusable(why.to_owned());
        }
        (None | Some(true), None | Some(true)) => {}
        _ => return Verdict::Wrong,
    }
    let raw = Metainfo::file_of(info, tiers);
    match Metainfo::parse(&raw) {
        Ok(metainfo) if metainfo.hashes.v1.is_none() => Verdict::Unusable(V2_ONLY.into()),
        Ok(metainfo) => Verdict::Right(Box::new(metainfo), raw),
        Err(error) => Verdict::Unusable(format!("no torrent can be made of it: {error}")),
    }
}

/// Makes what is known now durable. Where nothing of the torrent is on the disk, its Swarm can go on with the
/// connections that it has; else it is checked like a new one.
pub(super) async fn learn(mut cx: Cx, mut learning: Box<Learning>) -> Outcome {
    let pieces = learning.info.layout.piece_count();
    let none = Bitfield::new(pieces);
    cx.info = learning.info.clone();
    cx.selection = learning.selection.clone();
    (cx.have, cx.durable, cx.unverified) = (none.clone(), none.clone(), none);
    (cx.stamps, cx.partials, cx.suspects) = (Vec::new(), Vec::new(), Vec::new());
    cx.writes = true;
    let mut in_place = false;
    if let Some((begins, home)) = learning.arranged.begins.clone() {
        in_place = add::find(&cx, home.path.clone()).await != Ok(Presence::Nothing);
        cx.folder = if in_place { home.path } else { begins };
    }
    let there = add::find(&cx, cx.folder.clone()).await != Ok(Presence::Nothing);
    let check = there.then(|| Box::new(OwedCheck::anew(learning.arranged.check)));
    let progress = Progress { check, ..Progress::default() };
    let changes =
        vec![Change::Metainfo(cx.id, std::mem::take(&mut learning.raw)), Change::Progress(cx.id, progress)];
    let stored = cx.engine.store.put(changes).await;
    let result = match stored {
        Err(error) => Err(store_fault(&error)),
        Ok(()) if there || cx.live.is_none() || learning.arranged.trouble.is_some() => Ok(None),
        // A Swarm of a v2 hash dials and announces by that one. Of a hybrid most peers know the other.
        Ok(()) if learning.arranged.hashes.canonical() != cx.hashes.canonical() => Ok(None),
        Ok(()) => Ok(ready(cx, &learning).await),
    };
    Outcome::Taught(Box::new(Taught { learning, in_place, there, result }))
}

/// The files, open to be written to. What stands in the way of that is told when the torrent is made live anew.
async fn ready(mut cx: Cx, learning: &Learning) -> Option<Ready> {
    // It was made before there was anything to write.
    cx.live = None;
    let files = open_files(&cx).await.ok()?;
    let place = live::prepare(&cx, &files).await.ok()?;
    let (info, selection, seed) = (learning.info.clone(), learning.selection.clone(), cx.seed);
    let order = order(cx.sequential);
    let layout = info.layout.clone();
    let learnt = cx.engine.compute(move || {
        Box::new(Learnt::new(layout, selection.as_deref(), order, seed, info.private, metadata_len(&info)))
    });
    Some(Ready { files, place, learnt: learnt.await? })
}

/// Bytes of metadata that peers may fetch. Of private torrents they may fetch none (BEP 27): whoever takes part has
/// it from the tracker.
pub(super) fn metadata_len(info: &Info) -> u32 {
    if info.private { 0 } else { info.dict_len }
}
