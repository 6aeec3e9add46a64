//! The daemon confines itself: what a peer that took it over could not do then.
//!
//! `main` calls [`enforce`] while the process has one thread, so that all later ones are bound too: rights
//! that aren't given up before can't be taken from a thread that runs. What must be read or made
//! outside of its own folders comes before that call. What has to run other programs must be a process that
//! was forked before it.
//!
//! - `no_new_privs` always: nothing that it executed would gain rights.
//! - `seccomp` always: system calls that a BitTorrent daemon never needs fail with `EPERM`.
//! - `landlock` where the folders of torrents are bounded (`[storage] allowed_folders`): everything else is out
//!   of reach, but for what the system's libraries read.
//!
//! Each is best effort. What is in force is logged, and shown by `status`.
mod landlock;
mod plan;
mod seccomp;

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use landlock::Folder;
use wgo_api::result::Confinement as Shown;

use crate::config::{Endpoint, Loaded};
use crate::files::{Allowed, AllowedFolder};
use plan::System;

/// A folder whose file system does not answer for so long is left out: it must not keep the daemon from
/// serving the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// The settings that name folders.
const ALLOWED: &str = "storage.allowed_folders";
const WATCHED: &str = "watch.folders";

/// What is in force.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// The folders that torrents may lie in.
    pub allowed: Allowed,
    /// The version of the kernel's interface that holds us to them.
    pub landlock: Option<u32>,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// Whether the process can't gain rights.
    pub no_new_privs: bool,
}

impl Confinement {
    /// As `status` shows it.
    pub fn shown(&self) -> Shown {
        let paths = self.allowed.folders();
        Shown {
            landlock: self.landlock,
            seccomp: self.seccomp,
            no_new_privs: self.no_new_privs,
            allowed_folders: paths.map(|paths| paths.map(|path| path.display().to_string()).collect()),
        }
    }
}

/// Confines this process for good. To be called when it has one thread, and its log.
pub fn enforce(loaded: &Loaded) -> Confinement {
    let no_new_privs = rustix::thread::set_no_new_privs(true);
    if let Err(error) = no_new_privs {
        tracing::warn!(%error, "not confined by no_new_privs");
    }
    let mut confinement = Confinement { no_new_privs: no_new_privs.is_ok(), ..Confinement::default() };
    if let Some(allowed) = &loaded.places.allowed {
        let metrics = loaded.resolved.config.metrics.listen.as_ref().and_then(Endpoint::socket);
        let file = loaded.file.as_deref();
        let grants = plan::plan(&loaded.places, metrics, file, &System::observe(file));
        let folders: Vec<Folder> =
            allowed.iter().map(|path| find(path, &loaded.places.state_dir, ALLOWED)).collect();
        let watched =
            loaded.places.watched.iter().map(|rule| &rule.path).filter(|path| !allowed.contains(path));
        let watched: Vec<Folder> =
            watched.map(|path| find(path, &loaded.places.state_dir, WATCHED)).collect();
        confinement.landlock = match landlock::enforce(&grants, folders.iter().chain(&watched)) {
            Ok(abi) => Some(abi),
            Err(error) => {
                tracing::warn!(
                    "not confined by Landlock, wgod alone keeps to storage.allowed_folders: {error}"
                );
                None
            }
        };
        let known = folders.into_iter().map(|folder| folder.allowed).collect();
        confinement.allowed = Allowed::only(known, confinement.landlock.is_some());
        if !confinement.allowed.names(&loaded.places.folder) {
            tracing::warn!(
                "torrents that are added without a folder are refused: {} is in none of storage.allowed_folders; set storage.folder to one that is",
                loaded.places.folder.display()
            );
        }
    }
    confinement.seccomp = match seccomp::install() {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "not confined by seccomp");
            false
        }
    };
    tracing::info!(
        landlock = confinement.landlock,
        seccomp = confinement.seccomp,
        no_new_privs = confinement.no_new_privs,
        folders = %confinement.allowed,
        "confined"
    );
    confinement
}

/// A folder that the setting `key` names, as it is now. One that isn't there, or does not answer, can't be reached in this run,
/// unless it lies in the state directory.
fn find(path: &Path, state_dir: &Path, key: &str) -> Folder {
    let (sender, answer) = mpsc::sync_channel(1);
    let owned = path.to_owned();
    // A thread that hangs in there wakes to nothing but its end.
    let begun = std::thread::Builder::new().spawn(move || sender.send(landlock::look(&owned)));
    let answer = begun.map(|_| answer.recv_timeout(PATIENCE));
    let (folder, why) = match answer {
        Ok(Ok((folder, None))) => return folder,
        Ok(Ok((folder, Some(error)))) => (folder, error.to_string()),
        Ok(Err(_)) => (unknown(path), format!("it did not answer within {} s", PATIENCE.as_secs())),
        Err(error) => (unknown(path), error.to_string()),
    };
    if !path.starts_with(state_dir) {
        tracing::warn!("{}, of {key}, is out of reach until wgod is restarted: {why}", path.display());
    }
    folder
}

fn unknown(path: &Path) -> Folder {
    let allowed = AllowedFolder { given: path.to_owned(), real: path.to_owned(), identity: None };
    Folder { allowed, open: None }
}
