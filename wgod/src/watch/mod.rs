//! Watched folders: .torrent files that somebody puts there are added by themselves (`[watch]`).
//!
//! Each folder has a task. It looks when the kernel says that something came (inotify), and every few seconds
//! anyway, since file servers don't tell. `folder` reaches the disk, `pending` says when to try which file,
//! `kept` remembers what was dealt with; added is by the same call that the control socket makes, so the same
//! checks hold and a torrent is durable before its file is touched.
mod folder;
mod kept;
mod pending;
mod side;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wgo_api::error::Kind as ErrorKind;
use wgo_api::params::{AddParams, Source};
use wgo_api::result::{AddStatus, Added};

use crate::config::{AfterImport, WatchFolder};
use crate::console::Console;
use folder::{Found, Kind, Stamp, kind};
use pending::{Pending, SETTLED, Verdict};
use side::{Fate, Side, SideThread};

/// A folder is looked at this often, whatever the kernel says.
const LOOK: Duration = Duration::from_secs(10);
/// Files that are added together, which makes few commits of many.
const BATCH: usize = 64;

/// What the folders' tasks share.
#[derive(Clone)]
pub(crate) struct Watch {
    /// Adds torrents.
    pub(crate) console: Console,
    /// What becomes of files that were added.
    pub(crate) after: AfterImport,
    /// Where is remembered what was dealt with.
    pub(crate) state_dir: PathBuf,
    /// The kernel holds the daemon to the folders that it knew at its start.
    pub(crate) confined: bool,
    /// Ends it.
    pub(crate) stopping: CancellationToken,
}

impl Watch {
    /// Watches the folders until the daemon ends.
    pub(crate) async fn run(self, rules: Vec<WatchFolder>) {
        let mut folders = JoinSet::new();
        for rule in rules {
            let folder = rule.path.clone();
            match Watcher::new(self.clone(), rule) {
                Ok(watcher) => _ = folders.spawn(watcher.run()),
                Err(error) => tracing::error!(%error, "{} is not watched", folder.display()),
            }
        }
        while let Some(ended) = folders.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a watched folder is not looked at any more, by a defect");
            }
        }
    }
}

/// The daemon ends, or the folder's thread has by a defect.
struct Ended;

/// A watched folder.
struct Watcher {
    watch: Watch,
    rule: WatchFolder,
    /// What reaches the disk.
    disk: SideThread,
    /// Ready when something came. `None`: the kernel has no more of these.
    notices: Option<Receiver>,
    pending: Pending,
    /// What was said to be wrong, so that it is said once: of the folder, and of adding from it.
    unreadable: Option<String>,
    hindrance: Option<String>,
    odd: BTreeSet<OsString>,
    more: bool,
}

/// What came of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The daemon has this torrent; whether it is new.
    Taken { torrent: String, new: bool },
    /// By what it holds, it can't be added.
    Refused(String),
    /// It can't be added now.
    Hindered(String),
    /// It is not there any more.
    Gone,
}

impl Watcher {
    fn new(watch: Watch, rule: WatchFolder) -> io::Result<Watcher> {
        let (notices, inotify) = match notices() {
            Ok((notices, inotify)) => (Some(notices), Some(inotify)),
            Err(error) => {
                let folder = rule.path.display();
                tracing::info!(%error, "{folder} is only looked at every {} s", LOOK.as_secs());
                (None, None)
            }
        };
        let side = Side::new(rule.path.clone(), watch.state_dir.clone(), inotify, watch.after);
        let disk = SideThread::start(side)?;
        Ok(Watcher {
            watch,
            rule,
            disk,
            notices,
            pending: Pending::default(),
            unreadable: None,
            hindrance: None,
            odd: BTreeSet::new(),
            more: false,
        })
    }

    async fn run(mut self) {
        let stopping = self.watch.stopping.clone();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = came(self.notices.as_ref()) => {
                    // More may be on its way.
                    next = next.min(Instant::now() + SETTLED);
                    continue;
                }
                () = sleep_until(next) => {}
            }
            if let Err(Ended) = self.look().await {
                if !stopping.is_cancelled() {
                    tracing::error!("{} is not watched any more, by a defect", self.rule.path.display());
                }
                return;
            }
            let regular = Instant::now() + LOOK;
            next = self.pending.next().map_or(regular, |due| due.min(regular));
        }
    }

    /// Looks at the folder, and deals with what is due.
    async fn look(&mut self) -> Result<(), Ended> {
        match self.on_disk(Side::look).await? {
            Err(error) => {
                self.cannot_read(&error);
                return Ok(());
            }
            Ok(found) => self.see(found),
        }
        loop {
            let due = self.pending.due(Instant::now(), BATCH);
            if due.is_empty() {
                return Ok(());
            }
            self.deal_with(due).await?;
        }
    }

    fn see(&mut self, found: Found) {
        if self.unreadable.take().is_some() {
            tracing::info!("{} can be read again", self.rule.path.display());
        }
        let odd: BTreeSet<OsString> = found.odd.into_iter().collect();
        for name in odd.difference(&self.odd) {
            tracing::warn!("{} is left alone: it is not a plain file", self.shown(name));
        }
        self.odd = odd;
        if found.more && !self.more {
            let folder = self.rule.path.display();
            tracing::warn!("{folder} holds too many .torrent files; the rest waits until some are gone");
        }
        self.more = found.more;
        self.pending.see(found.files, Instant::now());
    }

    /// Reads some files, adds their torrents, and does with the files what is to be done.
    async fn deal_with(&mut self, due: Vec<(OsString, Stamp)>) -> Result<(), Ended> {
        // Of large files, fewer are read at once.
        let read = self.on_disk(move |side| side.read(due)).await?;
        let params = AddParams {
            folder: self.rule.folder.clone(),
            paused: self.rule.paused,
            labels: self.rule.labels.clone(),
            ..AddParams::default()
        };
        let (mut files, mut sources) = (Vec::new(), Vec::new());
        for (name, stamp, bytes) in read {
            let source = bytes.map_err(|error| unread(&error)).and_then(|bytes| source(&name, &bytes));
            match source {
                Ok(source) => {
                    sources.push(source);
                    files.push((name, stamp, None));
                }
                Err(outcome) => files.push((name, stamp, Some(outcome))),
            }
        }
        let mut added = self.watch.console.add_all(&sources, &params).await.into_iter();
        drop(sources);
        let mut fates = Vec::new();
        for (name, stamp, failed) in files {
            let Some(outcome) = failed.or_else(|| added.next().map(outcome)) else { continue };
            fates.extend(self.fate(&name, outcome).map(|fate| (name, stamp, fate)));
        }
        for (name, fate, done) in self.on_disk(move |side| side.settle(fates)).await? {
            self.settled(&name, fate, done);
        }
        Ok(())
    }

    /// What is to become of the file; `None`: it waits.
    fn fate(&mut self, name: &OsString, outcome: Outcome) -> Option<Fate> {
        let (file, now) = (self.shown(name), Instant::now());
        match outcome {
            Outcome::Taken { torrent, new } => {
                self.hindrance = None;
                let what = if new {
                    "added from a watched folder"
                } else {
                    "a watched folder has what is here already"
                };
                tracing::info!(torrent, file, "{what}");
                Some(Fate::Added)
            }
            Outcome::Refused(why) => match self.pending.refused(name, now) {
                Verdict::GiveUp => Some(Fate::Refused(why)),
                Verdict::Wait => {
                    tracing::debug!(file, why, "not added yet");
                    None
                }
            },
            Outcome::Hindered(why) => {
                let said = self.hindrance.as_ref() == Some(&why) || self.watch.stopping.is_cancelled();
                if !said {
                    tracing::warn!("{file} is not added yet, and tried again: {why}");
                }
                self.hindrance = Some(why);
                self.pending.hindered(name, now);
                None
            }
            Outcome::Gone => {
                self.pending.done(name);
                None
            }
        }
    }

    /// A file was dealt with.
    fn settled(&mut self, name: &OsString, fate: Fate, done: io::Result<Option<OsString>>) {
        let file = self.shown(name);
        let renamed = match &done {
            Ok(Some(new)) => format!("it is now {}", Path::new(new).display()),
            Ok(None) => "it stays as it is".to_owned(),
            Err(error) => format!("it stays as it is, and is not tried again: it can't be renamed: {error}"),
        };
        match fate {
            Fate::Refused(why) => tracing::warn!("{file} is not added: {why}; {renamed}"),
            Fate::Added => {
                if let Err(error) = done {
                    let what = if self.watch.after == AfterImport::Delete { "deleted" } else { "renamed" };
                    tracing::warn!("{file} was added, is remembered, and can't be {what}: {error}");
                }
            }
        }
        self.pending.done(name);
    }

    fn cannot_read(&mut self, error: &io::Error) {
        let (folder, mut why) = (self.rule.path.display(), error.to_string());
        if error.kind() == io::ErrorKind::PermissionDenied {
            why += "; wgod's user needs to read and write there";
            if self.watch.confined {
                why += ", and a folder that was not there when wgod started, or was mounted since, is out of reach until it is restarted";
            }
        }
        if self.unreadable.as_ref() != Some(&why) {
            tracing::warn!("the watched folder {folder} can't be read, and is tried again: {why}");
        }
        self.unreadable = Some(why);
    }

    fn shown(&self, name: &OsStr) -> String {
        self.rule.path.join(name).display().to_string()
    }

    /// Does something that may wait for the disk, on the thread that may hang there.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Side) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        tokio::select! {
            // What hangs is left behind.
            () = self.watch.stopping.cancelled() => Err(Ended),
            done = self.disk.run(work) => done.ok_or(Ended),
        }
    }
}

/// What the kernel tells of folders, and the way to name folders to it.
fn notices() -> io::Result<(Receiver, OwnedFd)> {
    let inotify = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    // It isn't a pipe, and is waited for and read like one.
    let notices = Receiver::from_owned_fd_unchecked(inotify.try_clone()?)?;
    Ok((notices, inotify))
}

/// Something came into the folder.
async fn came(notices: Option<&Receiver>) {
    let Some(notices) = notices else { return std::future::pending().await };
    if notices.readable().await.is_err() {
        return std::future::pending().await;
    }
    // What came is found by looking.
    let mut bytes = [0; 4096];
    while notices.try_read(&mut bytes).is_ok_and(|n| n > 0) {}
}

/// What the session is to add.
fn source(name: &OsStr, bytes: &[u8]) -> Result<Source, Outcome> {
    if kind(name) != Some(Kind::Magnet) {
        return Ok(Source::of_file(bytes));
    }
    let link = std::str::from_utf8(bytes).ok().map(str::trim).filter(|text| text.starts_with("magnet:"));
    let none = || Outcome::Refused("it is no text of one magnet link".to_owned());
    link.filter(|link| !link.contains('\n')).map(|link| Source::Uri(link.to_owned())).ok_or_else(none)
}

/// A file that can't be read.
fn unread(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::NotFound => Outcome::Gone,
        _ => Outcome::Refused(format!("it can't be read: {error}")),
    }
}

/// What the session's answer means for the file.
fn outcome(added: Added) -> Outcome {
    let Added { name, status, error, kind, .. } = added;
    let why = error.unwrap_or_default();
    match (status, kind) {
        (AddStatus::Added, _) => Outcome::Taken { torrent: name.unwrap_or_default(), new: true },
        (AddStatus::Present, _) => Outcome::Taken { torrent: name.unwrap_or_default(), new: false },
        // What the file asks for is at fault.
        (
            AddStatus::Failed,
            Some(
                ErrorKind::BadTorrent | ErrorKind::BadRequest | ErrorKind::Unsupported | ErrorKind::Conflict,
            ),
        ) => Outcome::Refused(why),
        (AddStatus::Failed, _) => Outcome::Hindered(why),
    }
}

#[cfg(test)]
mod tests {
    use wgo_api::error::ApiError;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told_from_what_is_wrong_elsewhere() {
        let failed = |kind| outcome(Added::failed(None, None, ApiError::new(kind, "x")));
        let (refused, hindered) = (Outcome::Refused("x".into()), Outcome::Hindered("x".into()));
        for (kind, want) in [
            (ErrorKind::BadTorrent, &refused),
            (ErrorKind::Unsupported, &refused),
            (ErrorKind::Conflict, &refused),
            (ErrorKind::Disk, &hindered),
            (ErrorKind::DiskFull, &hindered),
            (ErrorKind::Permission, &hindered),
            (ErrorKind::Stopping, &hindered),
            (ErrorKind::Internal, &hindered),
        ] {
            assert_eq!(failed(kind), *want, "{kind:?}");
        }
        let error = |kind| unread(&io::Error::from(kind));
        assert_eq!(error(io::ErrorKind::NotFound), Outcome::Gone);
        assert!(matches!(error(io::ErrorKind::PermissionDenied), Outcome::Refused(_)));
    }

    #[test]
    fn a_magnet_file_holds_one_link() {
        let name = OsStr::new("a.magnet");
        assert_eq!(source(name, b" magnet:?xt=x\n"), Ok(Source::Uri("magnet:?xt=x".into())));
        for text in [&b""[..], b"http://x", b"magnet:?a\nmagnet:?b", b"magnet:\xff"] {
            assert!(matches!(source(name, text), Err(Outcome::Refused(_))), "{text:?}");
        }
        assert_eq!(source(OsStr::new("a.torrent"), b"magnet:"), Ok(Source::of_file(b"magnet:")));
    }
}
