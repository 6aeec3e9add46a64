//! The disk's side of a watched folder: everything that may wait for a file system, done on threads of its own.
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc;

use rustix::fs::inotify::{self, WatchFlags};
use tokio::sync::oneshot;

use super::folder::{Folder, Found, Stamp};
use super::kept::Kept;
use crate::config::AfterImport;

/// Bytes of files that are in memory at once, unless one alone has more.
const BYTES: usize = 8 << 20;

/// What tells that a file came, or that the folder is another.
const NOTICES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::ONLYDIR);

/// What is to become of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its torrent is in the session.
    Added,
    /// It can't be added, because of this.
    Refused(String),
}

/// A file that was read.
pub(super) type Read = (OsString, Stamp, io::Result<Vec<u8>>);
/// A file that was dealt with: its new name, if it has one.
pub(super) type Settled = (OsString, Fate, io::Result<Option<OsString>>);

/// A watched folder on its disk.
pub(super) struct Side {
    path: PathBuf,
    state_dir: PathBuf,
    inotify: Option<OwnedFd>,
    after: AfterImport,
    /// The folder as it was last looked at.
    folder: Option<Folder>,
    /// Loaded with the first look.
    kept: Option<Kept>,
}

impl Side {
    pub(super) fn new(
        path: PathBuf,
        state_dir: PathBuf,
        inotify: Option<OwnedFd>,
        after: AfterImport,
    ) -> Side {
        Side { path, state_dir, inotify, after, folder: None, kept: None }
    }

    /// Opens the folder anew, as it may be another by now, and looks what is in it.
    pub(super) fn look(&mut self) -> io::Result<Found> {
        let folder = Folder::open(&self.path).inspect_err(|_| self.folder = None)?;
        let known = self.folder.as_ref().is_some_and(|before| before.identity == folder.identity);
        if let Some(inotify) = self.inotify.as_ref().filter(|_| !known)
            && let Err(error) = inotify::add_watch(inotify, &self.path, NOTICES)
        {
            tracing::debug!(folder = %self.path.display(), %error, "the kernel does not tell of new files");
        }
        let found = folder.look(self.kept().stamps());
        self.folder = Some(folder);
        found
    }

    /// Reads the files, or the first of them.
    pub(super) fn read(&mut self, files: Vec<(OsString, Stamp)>) -> Vec<Read> {
        let (mut read, mut bytes) = (Vec::new(), 0);
        for (name, stamp) in files {
            let content = match &self.folder {
                Some(folder) => folder.read(&name),
                None => Err(io::ErrorKind::NotFound.into()),
            };
            bytes += content.as_ref().map_or(0, Vec::len);
            read.push((name, stamp, content));
            if bytes >= BYTES {
                break;
            }
        }
        read
    }

    /// Does with files what is to be done with them. What stays where it is, by wish or because it can't be
    /// changed, is remembered.
    pub(super) fn settle(&mut self, files: Vec<(OsString, Stamp, Fate)>) -> Vec<Settled> {
        let settle = |(name, stamp, fate): (OsString, Stamp, Fate)| {
            let done = self.change(&name, &stamp, &fate);
            let stays = done.is_err() || (fate == Fate::Added && self.after == AfterImport::Keep);
            if stays {
                self.kept().keep(stamp);
            }
            (name, fate, done)
        };
        files.into_iter().map(settle).collect()
    }

    fn change(&self, name: &OsString, stamp: &Stamp, fate: &Fate) -> io::Result<Option<OsString>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        match (fate, self.after) {
            (Fate::Refused(_), _) => folder.rename(name, stamp, ".error"),
            (Fate::Added, AfterImport::Keep) => Ok(None),
            (Fate::Added, AfterImport::Rename) => folder.rename(name, stamp, ".added"),
            (Fate::Added, AfterImport::Delete) => folder.delete(name, stamp).map(|()| None),
        }
    }

    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_with(|| Kept::load(&self.state_dir, &self.path))
    }
}

type Work = Box<dyn FnOnce(&mut Side) + Send>;

/// The thread that a folder's disk is reached on: one that hangs keeps nobody else waiting. It ends when this is
/// dropped, or when its disk answers then.
pub(super) struct SideThread(mpsc::Sender<Work>);

impl SideThread {
    pub(super) fn start(mut side: Side) -> io::Result<SideThread> {
        let (sender, work) = mpsc::channel::<Work>();
        let serve = move || work.into_iter().for_each(|work| work(&mut side));
        std::thread::Builder::new().name("wgod-watch".to_owned()).spawn(serve)?;
        Ok(SideThread(sender))
    }

    /// Has it done, and waits. `None`: the thread is gone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Side) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, done) = oneshot::channel();
        // Whoever asked may have been told to end.
        let work = move |side: &mut Side| drop(reply.send(work(side)));
        self.0.send(Box::new(work)).ok()?;
        done.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn side(dir: &Path, after: AfterImport) -> Side {
        let folder = dir.join("watched");
        fs::create_dir_all(&folder).unwrap();
        Side::new(folder, dir.join("state"), None, after)
    }

    fn all_added(side: &mut Side) -> usize {
        let files = side.look().unwrap().files;
        let added = files.into_iter().map(|(name, stamp)| (name, stamp, Fate::Added)).collect();
        let settled = side.settle(added);
        assert!(settled.iter().all(|(_, _, done)| done.is_ok()), "{settled:?}");
        settled.len()
    }

    #[test]
    fn what_was_kept_is_not_found_again_by_the_next_run_unless_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("watched/a.torrent");
        let mut run = side(dir.path(), AfterImport::Keep);
        fs::write(&file, "one").unwrap();
        assert_eq!((all_added(&mut run), all_added(&mut run)), (1, 0));
        let mut run = side(dir.path(), AfterImport::Keep);
        assert_eq!(all_added(&mut run), 0);
        fs::write(&file, "another").unwrap();
        assert_eq!(all_added(&mut run), 1);
        assert!(file.exists());
    }

    #[test]
    fn files_leave_their_names_by_the_rule() {
        for (after, left) in [(AfterImport::Rename, true), (AfterImport::Delete, false)] {
            let dir = tempfile::tempdir().unwrap();
            let mut run = side(dir.path(), after);
            let file = dir.path().join("watched/a.torrent");
            fs::write(&file, "one").unwrap();
            assert_eq!(all_added(&mut run), 1);
            assert_eq!((file.exists(), file.with_extension("torrent.added").exists()), (false, left));
            fs::write(&file, "two").unwrap();
            let (name, stamp) = run.look().unwrap().files.remove(0);
            let refused = Fate::Refused("why".into());
            let settled = run.settle(vec![(name.clone(), stamp, refused.clone())]);
            assert!(matches!(&settled[0], (_, fate, Ok(Some(_))) if *fate == refused));
            assert!(file.with_extension("torrent.error").exists() && !file.exists());
        }
    }

    #[test]
    fn memory_bounds_what_is_read_at_once_and_a_folder_that_is_gone_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = side(dir.path(), AfterImport::Keep);
        for name in ["a.torrent", "b.torrent", "c.torrent"] {
            let file = fs::File::create(dir.path().join("watched").join(name)).unwrap();
            file.set_len(BYTES as u64 / 2).unwrap();
        }
        let files = run.look().unwrap().files;
        assert_eq!((files.len(), run.read(files.clone()).len()), (3, 2));
        fs::remove_dir_all(dir.path().join("watched")).unwrap();
        assert_eq!(run.look().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(run.read(files).iter().all(|(_, _, content)| content.is_err()));
    }
}
