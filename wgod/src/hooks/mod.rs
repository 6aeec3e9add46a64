//! Hooks: programs that the operator has run when something happens to a torrent (`[hooks]`).
//!
//! The daemon can't run programs: it gave that up (`confine/`). So `main` starts a helper before
//! (`launch`), which is the same binary in another mode (`helper`) and knows the configured programs. Through a
//! socket the daemon tells it which of them to run and the torrent's fields (`wire`); it can't name programs, nor
//! variables other than ours. A daemon that was taken over could run the operator's hooks, and nothing else.
//!
//! Within the daemon, [`Hooks`] takes what happened, `queue` says what may run when, and `runner` talks to the
//! helper and logs. The session's side is `session/happened.rs`.
mod helper;
mod launch;
mod program;
mod queue;
mod runner;
mod wire;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use wgo_api::result::Hooks as Shown;
use wgo_core::TorrentId;
use wgo_proto::WireHash;

use crate::config::{self, HookCommand};

pub use helper::run as run_helper;
pub use launch::{Helper, faults, launch};
pub(crate) use runner::run;

use queue::Queue;

/// What happens to a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// It was added.
    Added,
    /// The metadata of a magnet link has come.
    Metadata,
    /// It was downloaded, and is safe on the disk.
    Completed,
    /// It was removed.
    Removed,
    /// It came into the state `error`.
    Error,
}

impl Event {
    /// Every one.
    pub const ALL: [Event; 5] =
        [Event::Added, Event::Metadata, Event::Completed, Event::Removed, Event::Error];

    /// As programs are told it, in WGOD_EVENT.
    pub fn name(self) -> &'static str {
        match self {
            Event::Added => "added",
            Event::Metadata => "metadata",
            Event::Completed => "completed",
            Event::Removed => "removed",
            Event::Error => "error",
        }
    }

    /// The setting that says which program runs.
    pub fn key(self) -> &'static str {
        match self {
            Event::Added => "hooks.on_added",
            Event::Metadata => "hooks.on_metadata",
            Event::Completed => "hooks.on_completed",
            Event::Removed => "hooks.on_removed",
            Event::Error => "hooks.on_error",
        }
    }

    /// The one of this name.
    fn named(name: &[u8]) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.name().as_bytes() == name)
    }

    /// What is configured for it.
    fn command(self, hooks: &config::Hooks) -> &HookCommand {
        match self {
            Event::Added => &hooks.on_added,
            Event::Metadata => &hooks.on_metadata,
            Event::Completed => &hooks.on_completed,
            Event::Removed => &hooks.on_removed,
            Event::Error => &hooks.on_error,
        }
    }
}

/// Something happened to a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// What.
    pub event: Event,
    /// To which.
    pub torrent: TorrentId,
    /// Its canonical hash, for the log.
    pub hash: WireHash,
    /// Its name, likewise.
    pub name: String,
    /// What the program is told of it: names and values of variables.
    pub fields: Vec<(&'static str, OsString)>,
}

/// The way to the hooks. One for the daemon; off unless the operator named a program.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// The program of each event that has one.
    programs: Vec<(Event, String)>,
    /// What every program is told.
    common: Vec<(&'static str, OsString)>,
    queue: Mutex<Queue>,
    /// Something came into the queue.
    woken: Notify,
    /// The helper runs.
    alive: AtomicBool,
}

impl Hooks {
    /// The hooks that this helper runs, which reach the daemon by `socket`; off without a helper.
    pub fn of(helper: Option<&Helper>, socket: &Path) -> Hooks {
        let Some(helper) = helper else { return Hooks::default() };
        let (queue, woken, alive) = (Mutex::default(), Notify::new(), AtomicBool::new(true));
        let common = vec![("WGOD_SOCKET", socket.into())];
        Hooks(Some(Arc::new(Shared { programs: helper.programs.clone(), common, queue, woken, alive })))
    }

    /// Whether a program is configured for the event.
    pub fn wants(&self, event: Event) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.program(event).is_some())
    }

    /// Has the program run that is configured for what happened. Never waits; when too many wait already, or the
    /// helper has ended, it is not run, and the log says so.
    pub fn tell(&self, mut happening: Happening) {
        let Some(shared) = &self.0 else { return };
        happening.fields.extend(shared.common.iter().cloned());
        for (_, value) in &mut happening.fields {
            if value.len() > MAX_VALUE {
                let mut bytes = std::mem::take(value).into_vec();
                bytes.truncate(MAX_VALUE);
                *value = OsString::from_vec(bytes);
            }
        }
        if !shared.alive.load(Ordering::Acquire) {
            tracing::warn!(torrent = happening.name, "{} is not run: {HELPER_ENDED}", happening.event.key());
            return;
        }
        let refused = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).push(happening);
        match refused {
            None => shared.woken.notify_one(),
            Some(Happening { event, name, .. }) => {
                let again = if event == Event::Completed { "; it is run after the next start" } else { "" };
                tracing::warn!(torrent = name, "{} is not run: too many hooks wait{again}", event.key());
            }
        }
    }

    /// As `status` shows it.
    pub fn shown(&self) -> Shown {
        match &self.0 {
            None => Shown::Off,
            Some(shared) if shared.alive.load(Ordering::Acquire) => Shown::On,
            Some(_) => Shown::Ended,
        }
    }
}

impl Shared {
    fn program(&self, event: Event) -> Option<&str> {
        let program = self.programs.iter().find(|(configured, _)| *configured == event);
        program.map(|(_, program)| program.as_str())
    }
}

/// Bytes of a variable; longer ones, such as thousands of labels, are cut. With all variables the helper's frames
/// hold them, and so does the kernel (MAX_ARG_STRLEN of execve(2)).
const MAX_VALUE: usize = 16 * 1024;

/// Why nothing runs any more.
const HELPER_ENDED: &str = "the process that runs hooks has ended; restart wgod";
