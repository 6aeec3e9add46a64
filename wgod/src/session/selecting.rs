//! Which files of a torrent are wanted, as operators say it.
//!
//! How much each is wanted changes at once. Which are wanted at all concerns what is on disk: the torrent is
//! interrupted while bytes go from the part file to files that are wanted now (`ops/select.rs`), and only then
//! is the choice committed, together with which files the part file keeps bytes of.
use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::{Choice, FilesParams};
use wgo_api::result::FilesResult;
use wgo_core::TorrentId;
use wgo_core::peer_mgr::Source;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::Fault;
use wgo_proto::metainfo::Info;
use wgo_proto::{FileIndex, PieceIndex};

use super::entry::{on_disk, selection_of};
use super::metadata::not_yet;
use super::ops::Op;
pub(super) use super::patterns::PatternError as Missed;
use super::patterns::{self, PatternError};
use super::tune::order;
use super::{Driver, render};
use crate::store::{Change, Progress};

/// The answer to a call.
type Reply = oneshot::Sender<Result<FilesResult, ApiError>>;

/// What is to be wanted of a torrent, once its turn comes.
#[derive(Debug)]
pub(super) struct Wish {
    /// One for each file.
    pub(super) files: Vec<Priority>,
    pub(super) ends_first: bool,
    /// Who asked. As many as there are calls under way, which the console bounds.
    replies: Vec<Reply>,
}

/// What a change of the wanted files came to on disk.
#[derive(Debug)]
pub(super) struct Selected {
    /// Files of which the part file keeps bytes.
    pub(super) parted: Vec<FileIndex>,
    /// Pieces that must be hashed before they count: somebody deleted unwanted files.
    pub(super) doubtful: Vec<PieceIndex>,
    /// What was written to is durable.
    pub(super) stamps: Vec<Option<crate::store::FileStamp>>,
}

/// One priority for each file after `choice`, given those before.
///
/// # Errors
/// A pattern that can't be read or names no file; nothing is chosen then.
pub(super) fn choose(info: &Info, before: &[Priority], choice: &Choice) -> Result<Vec<Priority>, ApiError> {
    choose_with(info, before, choice, &mut |error| {
        let kind = match error {
            PatternError::NoMatch { .. } => Kind::NoMatch,
            PatternError::Malformed { .. } => Kind::BadRequest,
        };
        Err(ApiError::new(kind, error.to_string()))
    })
}

/// The same where it was chosen before it was known what there is: patterns that name no file are passed over, and
/// come back.
pub(super) fn choose_what_there_is(
    info: &Info,
    before: &[Priority],
    choice: &Choice,
) -> (Vec<Priority>, Vec<Missed>) {
    let mut missed = Vec::new();
    let chosen = choose_with::<std::convert::Infallible>(info, before, choice, &mut |error| {
        missed.push(error);
        Ok(())
    });
    match chosen {
        Ok(chosen) => (chosen, missed),
    }
}

/// Whether patterns can be read, of a torrent whose files are not known.
///
/// # Errors
/// [`Kind::BadRequest`] for one that can't.
pub(super) fn check_patterns(choice: &Choice) -> Result<(), ApiError> {
    let nothing = Info::unknown(String::new());
    choose_with(&nothing, &[], choice, &mut |error| match error {
        PatternError::NoMatch { .. } => Ok(()),
        PatternError::Malformed { .. } => Err(ApiError::new(Kind::BadRequest, error.to_string())),
    })
    .map(drop)
}

/// Gives every pattern that is of no use to `on_miss`, which says whether to go on.
fn choose_with<E>(
    info: &Info,
    before: &[Priority],
    choice: &Choice,
    on_miss: &mut dyn FnMut(PatternError) -> Result<(), E>,
) -> Result<Vec<Priority>, E> {
    let count = info.layout.file_count() as usize;
    let mut chosen = before.to_vec();
    chosen.resize(count, Priority::Normal);
    let mut set = |patterns: &[String], priority: Priority, all: bool| -> Result<(), E> {
        for pattern in patterns {
            match patterns::files(info, pattern) {
                Ok(files) => files.into_iter().for_each(|FileIndex(file)| chosen[file as usize] = priority),
                // A torrent of which nothing is known has no files to skip.
                Err(PatternError::NoMatch { .. }) if all => {}
                Err(error) => on_miss(error)?,
            }
        }
        Ok(())
    };
    let only = if choice.only.is_empty() { &[][..] } else { &["*".to_owned()][..] };
    let all = [
        (&choice.only[..], Priority::Normal),
        (&choice.normal[..], Priority::Normal),
        (&choice.low[..], Priority::Low),
        (&choice.high[..], Priority::High),
        (&choice.skip[..], Priority::Skip),
    ];
    set(only, Priority::Skip, true)?;
    for (patterns, priority) in all {
        set(patterns, priority, false)?;
    }
    Ok(if chosen.iter().all(|priority| *priority == Priority::Normal) { Vec::new() } else { chosen })
}

/// Whether the same files are skipped.
fn skips_same(info: &Info, a: &[Priority], b: &[Priority]) -> bool {
    let skipped = |files: &[Priority], at: usize| files.get(at) == Some(&Priority::Skip);
    (0..info.layout.file_count() as usize).all(|at| skipped(a, at) == skipped(b, at))
}

impl Driver {
    /// Shows what is wanted of a torrent, after a change if one is asked for.
    pub(super) fn files(&mut self, params: &FilesParams, reply: Reply) {
        if let Err((error, reply)) = self.try_files(params, reply) {
            drop(reply.send(Err(error)));
        }
    }

    fn try_files(&mut self, params: &FilesParams, reply: Reply) -> Result<(), (ApiError, Reply)> {
        let id = match self.resolve(&params.id) {
            Ok(id) => id,
            Err(error) => return Err((error, reply)),
        };
        let Some(entry) = self.entries.get(&id).filter(|entry| !entry.removing) else {
            return Err((ApiError::new(Kind::NoMatch, "it is being removed"), reply));
        };
        if !entry.is_known() {
            return Err((not_yet("which files it has is not known either"), reply));
        }
        if params.choose.is_empty() && params.first_last.is_none() {
            drop(reply.send(Ok(render::files_result(entry))));
            return Ok(());
        }
        if let Some(moving) = &entry.settings.moving {
            return Err((super::moving::busy(moving, &entry.settings.folder), reply));
        }
        let pending = entry.wish.as_ref();
        let before = pending.map_or(&entry.settings.file_priorities, |wish| &wish.files);
        let ends_first =
            params.first_last.or(pending.map(|wish| wish.ends_first)).unwrap_or(entry.settings.ends_first);
        let files = match choose(&entry.info, before, &params.choose) {
            Ok(files) => files,
            Err(error) => return Err((error, reply)),
        };
        if pending.is_none() && skips_same(&entry.info, &files, &entry.settings.file_priorities) {
            self.rank(id, files, ends_first, reply);
            return Ok(());
        }
        let now = self.engine.clock.now();
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        let mut replies = entry.wish.take().map(|wish| wish.replies).unwrap_or_default();
        replies.push(reply);
        entry.wish = Some(Box::new(Wish { files, ends_first, replies }));
        self.session.select(now, id);
        Ok(())
    }

    /// Changes how much files are wanted that are wanted before and after.
    fn rank(&mut self, id: TorrentId, files: Vec<Priority>, ends_first: bool, reply: Reply) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.settings.file_priorities = files;
        entry.settings.ends_first = ends_first;
        entry.forget_early_choice();
        entry.selection = selection_of(&entry.info, &entry.settings);
        entry.ranked_anew = true;
        self.tune(id);
        self.touch();
        self.answer_choice(id, vec![reply]);
    }

    /// Has the torrent's Swarm, if there is one, do as the settings say now: it may have been made after what
    /// they said before.
    pub(super) fn tune(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(live) = entry.live.clone() else { return };
        let order = order(entry.settings.sequential);
        let selection = std::mem::take(&mut entry.ranked_anew).then(|| entry.selection.clone());
        let named = std::mem::take(&mut entry.named_anew).then(|| entry.settings.user_peers.clone());
        self.engine.call(&live, |swarm, now| {
            swarm.set_order(order);
            swarm.add_candidates(now, named.into_iter().flatten(), Source::User);
            if let Some(selection) = selection {
                swarm.select(now, selection.as_deref());
            }
        });
    }

    /// A new torrent of which not all is wanted: before anything else is done with its files, those are set
    /// apart that aren't there.
    pub(super) fn begin_selection(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.settings.file_priorities.contains(&Priority::Skip) {
            let (files, ends_first) = (entry.settings.file_priorities.clone(), entry.settings.ends_first);
            entry.wish = Some(Box::new(Wish { files, ends_first, replies: Vec::new() }));
            self.push_op(id, Op::Select);
        }
    }

    /// The files on disk are ready for what is wanted now.
    pub(super) fn on_selected(&mut self, id: TorrentId, selected: Selected) {
        let Selected { parted, doubtful, stamps } = selected;
        let now = self.engine.clock.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(wish) = entry.wish.take() else { return };
        let Wish { files, ends_first, replies } = *wish;
        let had_parts = entry.settings.parted.is_some();
        let drops = had_parts && parted.is_empty();
        entry.settings.file_priorities = files;
        entry.settings.ends_first = ends_first;
        entry.forget_early_choice();
        entry.settings.parted = (had_parts || !parted.is_empty()).then_some(parted);
        let plain = entry.info.without_parts();
        entry.info = std::sync::Arc::new(on_disk(plain, &entry.settings));
        entry.selection = selection_of(&entry.info, &entry.settings);
        entry.files = None;
        entry.stamps = stamps;
        entry.stamps.resize(entry.info.files.len(), None);
        let doubt = !doubtful.is_empty();
        for piece in &doubtful {
            for pieces in [&mut entry.have, &mut entry.durable, &mut entry.unverified] {
                pieces.clear(piece.0);
            }
        }
        entry.suspects.extend(doubtful);
        let finished = entry.is_finished();
        if !finished {
            entry.completed_at = None;
        } else if !doubt && !entry.owes_check() {
            entry.completed_at.get_or_insert(crate::clock::unix_now().max(0) as u64);
        }
        if !entry.owes_check() {
            let progress = entry.progress();
            entry.unsaved.push(Change::Progress(id, progress));
        }
        entry.span().in_scope(|| tracing::info!("other files are wanted"));
        if drops {
            let saved = self.saved(id);
            if let Some(entry) = self.entries.get_mut(&id) {
                // Before whatever opens the files.
                entry.lane.push_front(Op::DropParts { saved });
            }
        }
        self.session.on_selected(now, id, finished, doubt);
        self.touch();
        self.answer_choice(id, replies);
    }

    /// The change could not be made; nothing has changed.
    pub(super) fn on_not_selected(&mut self, id: TorrentId, fault: &Fault) {
        let Some(wish) = self.entries.get_mut(&id).and_then(|entry| entry.wish.take()) else { return };
        for reply in wish.replies {
            let message = format!("the wanted files stay as they were: {}", fault.message);
            drop(reply.send(Err(ApiError::new(Kind::Disk, message))));
        }
    }

    /// The part file is gone.
    pub(super) fn on_parts_dropped(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.settings.parted.as_ref().is_some_and(Vec::is_empty) {
            entry.settings.parted = None;
            entry.info = std::sync::Arc::new(entry.info.without_parts());
            entry.stamps.truncate(entry.info.files.len());
            entry.files = None;
            self.save(id);
        }
    }

    /// Answers when the choice would survive a crash.
    fn answer_choice(&mut self, id: TorrentId, replies: Vec<Reply>) {
        let saved = self.saved(id);
        let Some(entry) = self.entries.get(&id) else { return };
        let result = render::files_result(entry);
        self.replies.spawn(async move {
            let answer = match saved.await {
                Ok(Ok(())) => Ok(result),
                Ok(Err(why)) => Err(ApiError::new(Kind::Disk, format!("the choice is in force, but {why}"))),
                Err(_) => Err(ApiError::new(Kind::NoMatch, "it is being removed")),
            };
            for reply in replies {
                // Whoever asked may have hung up.
                drop(reply.send(answer.clone()));
            }
        });
    }
}

/// What a torrent's entry would have committed: everything in it is durable.
impl super::Entry {
    fn progress(&self) -> Progress {
        let mut hashed = self.durable.clone();
        hashed.subtract(&self.unverified);
        let partials = self
            .partials
            .iter()
            .map(|(piece, mask)| crate::store::Partial { piece: *piece, blocks: mask.to_wire() });
        Progress {
            have: super::entry::to_stored(&hashed),
            partials: partials.collect(),
            writing: self.writing,
            completed_at: self.completed_at,
            files: self.stamps.clone(),
            mount: self.mount.clone(),
            ..Progress::default()
        }
    }
}
