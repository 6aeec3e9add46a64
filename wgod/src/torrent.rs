//! A live torrent in the shell: its Swarm behind the one mutex, its files, its tasks.
//!
//! Nothing else locks a Swarm. A call is short and never awaits; what it produced is delivered after
//! the lock is released: peers are woken, actions go to the driver, the timer learns of an earlier
//! deadline. A panic inside a call poisons this torrent only: it is reported and stopped.
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wgo_core::swarm::{Action, Swarm};
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::WireHash;
use wgo_proto::metainfo::Info;

use crate::clock::Clock;
use crate::files::{BlockBuf, TorrentFiles};
use crate::timers::Timers;

/// The Swarm panicked: its state can't be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine of this torrent failed; it is stopped, see the log, and please report this")]
pub struct Broken;

/// Where a live torrent's actions go.
///
/// Unbounded, because a Swarm bounds what it has under way: dials by its half-open limit, announces by
/// its trackers, one spill a tick, and one each of the rest.
pub type ActionSender = mpsc::UnboundedSender<(Arc<Torrent>, Action<BlockBuf>)>;

/// A live torrent.
pub struct Torrent {
    /// Its number.
    pub id: TorrentId,
    /// The hash that our own connections and announces use.
    pub hash: WireHash,
    /// What it consists of.
    pub info: Arc<Info>,
    /// Its files.
    pub files: Arc<TorrentFiles>,
    /// The span of its log lines.
    pub span: tracing::Span,
    /// Its peers' tasks, and every other task that works for it.
    pub tasks: TaskTracker,
    /// Ends those tasks.
    pub stopping: CancellationToken,
    clock: Clock,
    actions: ActionSender,
    timers: Timers,
    state: Mutex<State>,
}

struct State {
    swarm: Swarm<BlockBuf>,
    /// How to wake each connection's task. Bounded by the Swarm's connections.
    wakers: HashMap<PeerKey, Arc<Notify>>,
    /// What the timer task knows.
    timer_at: Option<Time>,
    /// Scratch space.
    wakes: Vec<PeerKey>,
}

/// What a new [`Torrent`] is made of.
pub struct Parts {
    /// Its engine.
    pub swarm: Swarm<BlockBuf>,
    /// The hash that our own connections and announces use.
    pub hash: WireHash,
    /// What it consists of.
    pub info: Arc<Info>,
    /// Its files, open.
    pub files: Arc<TorrentFiles>,
}

impl Torrent {
    /// Puts a Swarm behind its lock. Its first deadline is told to `timers` at once.
    pub fn new(parts: Parts, clock: Clock, actions: ActionSender, timers: Timers) -> Arc<Torrent> {
        let id = parts.swarm.id();
        let torrent = Arc::new(Torrent {
            id,
            hash: parts.hash,
            span: crate::logging::torrent_span(id, &parts.info.name),
            info: parts.info,
            files: parts.files,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            clock,
            actions,
            timers,
            state: Mutex::new(State {
                swarm: parts.swarm,
                wakers: HashMap::new(),
                timer_at: None,
                wakes: Vec::new(),
            }),
        });
        // The first call tells the timers about the first deadline; a new Swarm can't be broken.
        let _ = torrent.call(|_, _| ());
        torrent
    }

    /// Calls the Swarm, then delivers what the call produced.
    pub fn call<R>(self: &Arc<Self>, f: impl FnOnce(&mut Swarm<BlockBuf>, Time) -> R) -> Result<R, Broken> {
        let now = self.clock.now();
        let mut state = self.state.lock().map_err(|_| Broken)?;
        let result = f(&mut state.swarm, now);
        #[cfg(debug_assertions)]
        state.swarm.check_invariants();
        if state.swarm.has_effects() {
            self.deliver(&mut state);
        }
        let due = state.swarm.poll_timeout();
        let earlier = due.filter(|at| state.timer_at.is_none_or(|known| *at < known));
        if let Some(at) = earlier {
            state.timer_at = Some(at);
        }
        drop(state);
        if let Some(at) = earlier {
            self.timers.set(self.id, at);
        }
        Ok(result)
    }

    /// The timer task's call: does what is due and says when to come again.
    pub fn on_timer(self: &Arc<Self>) -> Result<Option<Time>, Broken> {
        let now = self.clock.now();
        let mut state = self.state.lock().map_err(|_| Broken)?;
        state.swarm.handle_timeout(now);
        self.deliver(&mut state);
        state.timer_at = state.swarm.poll_timeout();
        Ok(state.timer_at)
    }

    fn deliver(self: &Arc<Self>, state: &mut State) {
        let mut wakes = std::mem::take(&mut state.wakes);
        state.swarm.take_wakes(&mut wakes);
        for key in wakes.drain(..) {
            if let Some(waker) = state.wakers.get(&key) {
                waker.notify_one();
            }
        }
        state.wakes = wakes;
        while let Some(action) = state.swarm.poll_action() {
            // The driver only goes away at the end of the process, when actions no longer matter.
            let _ = self.actions.send((self.clone(), action));
        }
    }

    /// Remembers how to wake the connection's task.
    pub fn set_waker(&self, key: PeerKey, waker: Arc<Notify>) {
        if let Ok(mut state) = self.state.lock() {
            state.wakers.insert(key, waker);
        }
    }

    /// Forgets it.
    pub fn remove_waker(&self, key: PeerKey) {
        if let Ok(mut state) = self.state.lock() {
            state.wakers.remove(&key);
        }
    }

    /// The engine's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

impl std::fmt::Debug for Torrent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Torrent({}, {:?})", self.id.0, self.info.name)
    }
}
