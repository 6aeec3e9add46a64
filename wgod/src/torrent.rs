//! A live torrent in the shell: its Swarm behind the one mutex, its files, its tasks.
//!
//! Nothing else locks a Swarm. A call is short and never awaits; what it produced is delivered after
//! the lock is released: peers are woken, actions go to the driver, the timer learns of an earlier
//! deadline. A panic inside a call ends this torrent only, not the caller: it is reported and stopped.
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wgo_core::swarm::{Action, Swarm};
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::metainfo::Info;
use wgo_proto::{Bitfield, PieceIndex, WireHash};

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
    /// Its name when it was made.
    name: String,
    /// What it consists of, and its files, once its metadata is known.
    content: OnceLock<Content>,
    /// The span of its log lines.
    pub span: tracing::Span,
    /// Its peers' tasks, and every other task that works for it.
    pub tasks: TaskTracker,
    /// Ends those tasks. Set by [`stop`](Self::stop), and before it where nobody may connect any more.
    pub stopping: CancellationToken,
    /// The session was told that the Swarm panicked.
    pub(crate) broken_told: AtomicBool,
    clock: Clock,
    actions: ActionSender,
    timers: Timers,
    state: Mutex<State>,
    /// Whether `unverified` holds anything: nearly always not.
    any_unverified: AtomicBool,
    /// Pieces to be hashed before they are first served. A leaf lock.
    unverified: Mutex<Bitfield>,
}

struct Content {
    info: Arc<Info>,
    files: Arc<TorrentFiles>,
}

struct State {
    swarm: Swarm<BlockBuf>,
    /// How to wake each connection's task. Bounded by the Swarm's connections.
    wakers: HashMap<PeerKey, Arc<Notify>>,
    /// What the timer task knows.
    timer_at: Option<Time>,
    /// A call panicked. The mutex is not poisoned by it, as the panic ends below the lock.
    broken: bool,
    /// Scratch space.
    wakes: Vec<PeerKey>,
    #[cfg(debug_assertions)]
    asserted: Asserted,
}

/// When a Swarm's invariants were last asserted, and how long that took. They get a share of the time and not each call:
/// thousands of addresses take far longer to look at than one of them to add.
#[cfg(debug_assertions)]
struct Asserted {
    at: std::time::Instant,
    took: std::time::Duration,
}

#[cfg(debug_assertions)]
impl Asserted {
    /// So many times as long as it took, nothing is asserted again.
    const REST: u32 = 3;

    fn new() -> Asserted {
        Asserted { at: std::time::Instant::now(), took: std::time::Duration::ZERO }
    }

    fn assert<B>(&mut self, swarm: &Swarm<B>) {
        if self.at.elapsed() < self.took * Self::REST {
            return;
        }
        let begun = std::time::Instant::now();
        swarm.check_invariants();
        *self = Asserted { at: std::time::Instant::now(), took: begun.elapsed() };
    }
}

/// What a new [`Torrent`] is made of.
pub struct Parts {
    /// Its engine.
    pub swarm: Swarm<BlockBuf>,
    /// The hash that our own connections and announces use.
    pub hash: WireHash,
    /// What it consists of.
    pub info: Arc<Info>,
    /// Its files, open; none while its metadata has to come.
    pub files: Option<Arc<TorrentFiles>>,
    /// Pieces that a quick check believed: each is hashed before it is first served.
    pub unverified: Bitfield,
}

impl Torrent {
    /// Puts a Swarm behind its lock. It has no clock until [`arm`](Self::arm).
    pub fn new(parts: Parts, clock: Clock, actions: ActionSender, timers: Timers) -> Arc<Torrent> {
        let id = parts.swarm.id();
        let content = OnceLock::new();
        if let Some(files) = parts.files {
            // It is empty, so it takes this.
            let _set = content.set(Content { info: parts.info.clone(), files });
        }
        Arc::new(Torrent {
            id,
            hash: parts.hash,
            span: crate::logging::torrent_span(&parts.hash, &parts.info.name),
            name: parts.info.name.clone(),
            content,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            broken_told: AtomicBool::new(false),
            clock,
            actions,
            timers,
            any_unverified: AtomicBool::new(!parts.unverified.is_empty()),
            unverified: Mutex::new(parts.unverified),
            state: Mutex::new(State {
                swarm: parts.swarm,
                wakers: HashMap::new(),
                timer_at: None,
                broken: false,
                wakes: Vec::new(),
                #[cfg(debug_assertions)]
                asserted: Asserted::new(),
            }),
        })
    }

    /// The metadata has come: this is what it consists of. Before the Swarm learns of it, or blocks would come for
    /// files that nobody knows.
    pub fn set_content(&self, info: Arc<Info>, files: Arc<TorrentFiles>) {
        // It is told once in its life.
        let _set = self.content.set(Content { info, files });
    }

    /// Its files; none while its metadata has to come, when nothing is read or written.
    pub fn files(&self) -> Option<&Arc<TorrentFiles>> {
        self.content.get().map(|content| &content.files)
    }

    /// Whether it is private (BEP 27), as far as is known.
    pub fn is_private(&self) -> bool {
        self.content.get().is_some_and(|content| content.info.private)
    }

    /// How many pieces it has, once that is known.
    pub fn piece_count(&self) -> Option<u32> {
        self.content.get().map(|content| content.info.layout.piece_count())
    }

    /// Tells the timers about the first deadline: once the registry names the torrent, or the timer task
    /// might look for it too early, and never again.
    pub fn arm(self: &Arc<Self>) {
        // A new Swarm can't be broken.
        let _ = self.call(|_, _| ());
    }

    /// Calls the Swarm, then delivers what the call produced.
    pub fn call<R>(self: &Arc<Self>, f: impl FnOnce(&mut Swarm<BlockBuf>, Time) -> R) -> Result<R, Broken> {
        let now = self.clock.now();
        let mut state = self.lock()?;
        let result = self.guarded(&mut state, |swarm| f(swarm, now))?;
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
        let mut state = self.lock()?;
        self.guarded(&mut state, |swarm| swarm.handle_timeout(now))?;
        self.deliver(&mut state);
        state.timer_at = state.swarm.poll_timeout();
        Ok(state.timer_at)
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, Broken> {
        self.state.lock().ok().filter(|state| !state.broken).ok_or(Broken)
    }

    /// Calls the Swarm. One that panics is never called again, and the timer task is sent to report it.
    fn guarded<R>(&self, state: &mut State, f: impl FnOnce(&mut Swarm<BlockBuf>) -> R) -> Result<R, Broken> {
        let called = catch_unwind(AssertUnwindSafe(|| {
            let result = f(&mut state.swarm);
            #[cfg(debug_assertions)]
            state.asserted.assert(&state.swarm);
            result
        }));
        called.map_err(|_| {
            state.broken = true;
            self.timers.set(self.id, self.clock.now());
            Broken
        })
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

    /// Ends its tasks. Connections, which are many, do not wait for that beside all else: they are woken.
    pub fn stop(&self) {
        self.stopping.cancel();
        if let Ok(state) = self.state.lock() {
            state.wakers.values().for_each(|waker| waker.notify_one());
        }
    }

    /// Whether its tasks are to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Whether the piece must be hashed before it is served.
    pub fn is_unverified(&self, piece: PieceIndex) -> bool {
        self.any_unverified.load(Ordering::Acquire) && self.unverified_pieces().get(piece.0)
    }

    /// The piece was hashed and is right.
    pub fn verified(&self, piece: PieceIndex) {
        let mut pieces = self.unverified_pieces();
        pieces.clear(piece.0);
        self.any_unverified.store(!pieces.is_empty(), Ordering::Release);
    }

    /// The pieces that were not hashed yet.
    pub fn unverified(&self) -> Bitfield {
        self.unverified_pieces().clone()
    }

    fn unverified_pieces(&self) -> MutexGuard<'_, Bitfield> {
        // A panic can't leave a bit half-cleared.
        self.unverified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

impl std::fmt::Debug for Torrent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Torrent({}, {:?})", self.id.0, self.name)
    }
}
