//! The Limiter in the shell: one leaf lock around it, and the task that hands out grants by the clock.
//!
//! A connection holds a [`Flow`] for each direction. While no limit applies to it, whatever holds for others, a
//! flow costs one load a batch and takes the lock only once after each change of limits.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wgo_core::limiter::{ClassId, Direction, FlowId, Grant, Limiter};
use wgo_core::{ByteRate, Time, TorrentId};

use crate::clock::Clock;

/// All limits of the daemon. Cheap to clone.
#[derive(Clone)]
pub struct Shaper(Arc<Inner>);

struct Inner {
    clock: Clock,
    /// The number of the last change of limits; 0 while there are none, anywhere. What a flow has learnt holds as
    /// long as it is the same.
    epoch: AtomicU64,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    limiter: Limiter,
    /// Flows that wait for a grant. Bounded by the connections.
    waiting: HashMap<FlowId, Arc<Waiter>>,
    /// The limits that there are. Bounded by the torrents and the labels of the configuration.
    limited: HashMap<(Scope, Direction), ByteRate>,
    /// How often limits, or who they are about, have changed.
    changes: u64,
}

/// Whom a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope {
    All,
    Class(ClassId),
    Torrent(TorrentId),
}

impl From<Option<TorrentId>> for Scope {
    fn from(torrent: Option<TorrentId>) -> Scope {
        torrent.map_or(Scope::All, Scope::Torrent)
    }
}

/// Where a queued flow's grant arrives.
struct Waiter {
    granted: AtomicU32,
    notify: Arc<Notify>,
}

/// One direction of one connection. Closes itself when dropped.
pub struct Flow {
    shaper: Shaper,
    torrent: TorrentId,
    direction: Direction,
    id: Option<FlowId>,
    waiter: Arc<Waiter>,
    queued: bool,
    /// Bytes that may move; negative after more moved than was granted.
    credit: i64,
    /// No limit applied to it in this epoch; 0 if that was in none.
    free_in: u64,
}

impl Shaper {
    /// No limits.
    pub fn new(clock: Clock) -> Shaper {
        let (limiter, waiting, limited) = (Limiter::new(), HashMap::new(), HashMap::new());
        let state = State { limiter, waiting, limited, changes: 0 };
        Shaper(Arc::new(Inner {
            clock,
            epoch: AtomicU64::new(0),
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes limits, or who they are about, at once.
    fn change(&self, change: impl FnOnce(&mut State, Time)) {
        let now = self.0.clock.now();
        let mut state = self.state();
        change(&mut state, now);
        state.changes += 1;
        let epoch = if state.limited.is_empty() { 0 } else { state.changes };
        self.0.epoch.store(epoch, Ordering::Release);
        drop(state);
        // Who waited may go on, or has to be woken at another time.
        self.0.changed.notify_one();
    }

    /// Sets a limit of the daemon (`torrent` is `None`) or of one torrent; `None` lifts it. At once.
    pub fn set(&self, torrent: Option<TorrentId>, direction: Direction, limit: Option<ByteRate>) {
        self.change(|state, now| {
            match torrent {
                None => state.limiter.set_global(now, direction, limit),
                Some(id) => state.limiter.set_torrent(now, id, direction, limit),
            }
            state.note((torrent.into(), direction), limit);
        });
    }

    /// Sets a limit that the torrents of a class share; `None` lifts it. At once.
    pub fn set_class(&self, class: ClassId, direction: Direction, limit: Option<ByteRate>) {
        self.change(|state, now| {
            state.limiter.set_class(now, class, direction, limit);
            state.note((Scope::Class(class), direction), limit);
        });
    }

    /// Says which classes a torrent is in; of those that no limit is set for it need not be said.
    pub fn set_classes(&self, torrent: TorrentId, classes: &[ClassId]) {
        self.change(|state, now| state.limiter.set_classes(now, torrent, classes));
    }

    /// Forgets a torrent's limits and classes.
    pub fn remove_torrent(&self, id: TorrentId) {
        // Flows that are about to end may still wait for a grant.
        self.change(|state, now| {
            state.limiter.remove_torrent(now, id);
            for direction in [Direction::Up, Direction::Down] {
                state.note((Scope::Torrent(id), direction), None);
            }
        });
    }

    /// The limit in force for the daemon or one torrent.
    pub fn limit(&self, torrent: Option<TorrentId>, direction: Direction) -> Option<ByteRate> {
        self.state().limited.get(&(torrent.into(), direction)).copied()
    }

    /// Whether a limit holds for this torrent in this direction.
    pub fn is_limited(&self, torrent: TorrentId, direction: Direction) -> bool {
        self.0.epoch.load(Ordering::Acquire) != 0 && !self.state().limiter.is_unlimited(torrent, direction)
    }

    /// A flow of a connection; `notify` is called when a queued request is granted.
    pub fn flow(&self, torrent: TorrentId, direction: Direction, notify: Arc<Notify>) -> Flow {
        let waiter = Arc::new(Waiter { granted: AtomicU32::new(0), notify });
        Flow {
            shaper: self.clone(),
            torrent,
            direction,
            id: None,
            waiter,
            queued: false,
            credit: 0,
            free_in: 0,
        }
    }

    /// Hands out grants by the clock until `stopping`.
    pub async fn run(self, stopping: CancellationToken) {
        let mut grants = Vec::new();
        loop {
            let next = self.state().limiter.next_timeout();
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.0.clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.0.changed.notified() => {}
                () = sleep => {}
            }
            self.hand_out(self.0.clock.now(), &mut grants);
        }
    }

    fn hand_out(&self, now: Time, grants: &mut Vec<(FlowId, u32)>) {
        let mut state = self.state();
        state.limiter.poll(now, grants);
        for (flow, bytes) in grants.drain(..) {
            if let Some(waiter) = state.waiting.remove(&flow) {
                waiter.granted.fetch_add(bytes, Ordering::AcqRel);
                waiter.notify.notify_one();
            }
        }
    }
}

impl State {
    fn note(&mut self, which: (Scope, Direction), limit: Option<ByteRate>) {
        match limit {
            Some(rate) => self.limited.insert(which, rate),
            None => self.limited.remove(&which),
        };
    }
}

impl Flow {
    /// Bytes that may move now, at most `want`. 0 means that a request is queued: the connection's
    /// `Notify` is called when it is granted.
    pub fn allowance(&mut self, want: u32) -> u32 {
        if self.is_free() && !self.queued {
            self.credit = 0;
            return want;
        }
        self.collect();
        if self.credit <= 0 && !self.queued && self.ask(want) {
            self.credit = 0;
            return want;
        }
        u32::try_from(self.credit.clamp(0, i64::from(want))).unwrap_or(0)
    }

    /// `bytes` of payload moved.
    pub fn charge(&mut self, bytes: usize) {
        if !self.is_free() || self.queued {
            self.credit -= bytes as i64;
        }
    }

    /// `bytes` that were charged were no payload.
    pub fn refund(&mut self, bytes: usize) {
        if !self.is_free() {
            self.credit += bytes as i64;
        }
    }

    /// Nothing can move at present, for reasons of its own: what was granted goes to others, so that
    /// idle connections hoard nothing and none moves a hoard at once later. Whether there was any, under
    /// a limit.
    pub fn rest(&mut self) -> bool {
        if self.credit <= 0 {
            return false;
        }
        if let Some(id) = self.id {
            let unused = u32::try_from(self.credit).unwrap_or(u32::MAX);
            self.shaper.state().limiter.give_back(id, unused);
        }
        self.credit = 0;
        true
    }

    /// Whether a limit may apply to it.
    pub fn is_limited(&self) -> bool {
        !self.is_free() && self.shaper.is_limited(self.torrent, self.direction)
    }

    /// It is known that no limit applies to it, now.
    fn is_free(&self) -> bool {
        let epoch = self.shaper.0.epoch.load(Ordering::Acquire);
        epoch == 0 || epoch == self.free_in
    }

    fn collect(&mut self) {
        let granted = self.waiter.granted.swap(0, Ordering::AcqRel);
        if granted > 0 {
            self.queued = false;
            self.credit += i64::from(granted);
        }
    }

    /// Asks for bytes, unless no limit applies to it: then it may move what it wants, which is remembered.
    fn ask(&mut self, want: u32) -> bool {
        let now = self.shaper.0.clock.now();
        let owed = u32::try_from(-self.credit.min(0)).unwrap_or(u32::MAX);
        let mut state = self.shaper.state();
        if state.limiter.is_unlimited(self.torrent, self.direction) {
            // Under the lock it is the epoch of this state.
            self.free_in = self.shaper.0.epoch.load(Ordering::Acquire);
            return true;
        }
        let id = *self.id.get_or_insert_with(|| state.limiter.open(self.torrent, self.direction));
        // Until the debt is paid nothing moves, so ask for it and what is wanted beyond.
        match state.limiter.request(now, id, owed.saturating_add(want)) {
            Grant::Granted(n) => self.credit += i64::from(n),
            Grant::Queued => {
                self.queued = true;
                state.waiting.insert(id, self.waiter.clone());
                drop(state);
                self.shaper.0.changed.notify_one();
            }
        }
        false
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let shaper = self.shaper.clone();
        // Under the lock, or a grant could come between.
        let mut state = shaper.state();
        self.collect();
        if let Ok(unused) = u32::try_from(self.credit) {
            state.limiter.give_back(id, unused);
        }
        state.waiting.remove(&id);
        state.limiter.close(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ID: TorrentId = TorrentId(1);

    struct Rig {
        shaper: Shaper,
        stopping: CancellationToken,
        task: tokio::task::JoinSet<()>,
    }

    impl Rig {
        fn new(limit: Option<u64>) -> Rig {
            let shaper = Shaper::new(Clock::start());
            shaper.set(None, Direction::Up, limit.map(ByteRate));
            let stopping = CancellationToken::new();
            let mut task = tokio::task::JoinSet::new();
            task.spawn(shaper.clone().run(stopping.clone()));
            Rig { shaper, stopping, task }
        }

        fn flow(&self) -> (Flow, Arc<Notify>) {
            let notify = Arc::new(Notify::new());
            (self.shaper.flow(ID, Direction::Up, notify.clone()), notify)
        }

        async fn end(mut self) {
            self.stopping.cancel();
            assert!(self.task.join_next().await.is_some_and(|ended| ended.is_ok()));
        }
    }

    /// Moves as much as is allowed for `time`, `most` bytes at a time; returns how much that was.
    async fn moved(flow: &mut Flow, notify: &Notify, time: Duration, most: u32) -> u64 {
        let end = tokio::time::Instant::now() + time;
        let mut moved = 0;
        while tokio::time::Instant::now() < end {
            match flow.allowance(most) {
                0 => _ = tokio::time::timeout_at(end, notify.notified()).await,
                allowed => {
                    flow.charge(allowed as usize);
                    moved += u64::from(allowed);
                }
            }
        }
        moved
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_everything_may_move() {
        let rig = Rig::new(None);
        let (mut flow, _) = rig.flow();
        for _ in 0..100 {
            assert_eq!(flow.allowance(1 << 20), 1 << 20);
            flow.charge(1 << 20);
        }
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_to_two_in_a_thousand() {
        for rate in [1_000u64, 123_456, 10_000_000, 1_000_000_000] {
            let rig = Rig::new(Some(rate));
            let (mut flow, notify) = rig.flow();
            moved(&mut flow, &notify, Duration::from_secs(2), 256 * 1024).await;
            let ten = moved(&mut flow, &notify, Duration::from_secs(10), 256 * 1024).await;
            let off = (ten as f64 / (rate as f64 * 10.0) - 1.0).abs();
            assert!(off < 0.02, "{rate} B/s: {ten} bytes in 10 s");
            let hundred = moved(&mut flow, &notify, Duration::from_secs(100), 256 * 1024).await;
            let off = (hundred as f64 / (rate as f64 * 100.0) - 1.0).abs();
            assert!(off < 0.002, "{rate} B/s: {hundred} bytes in 100 s");
            drop(flow);
            rig.end().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_flows_hoard_nothing() {
        let rig = Rig::new(Some(100_000));
        let (mut busy, notify) = rig.flow();
        let mut idle: Vec<_> = (0..50).map(|_| rig.flow()).collect();
        for _ in 0..20 {
            for (flow, _) in &mut idle {
                let _ = flow.allowance(128 * 1024);
                flow.rest();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        for (flow, _) in &mut idle {
            flow.collect();
            flow.rest();
        }
        moved(&mut busy, &notify, Duration::from_secs(5), 128 * 1024).await;
        let now = moved(&mut busy, &notify, Duration::from_secs(10), 128 * 1024).await;
        assert!((900_000..1_100_000).contains(&now), "{now}");
        let at_once: u64 = idle.iter().map(|(flow, _)| flow.credit.max(0) as u64).sum();
        assert_eq!(at_once, 0, "none moves a hoard later");
        drop((busy, idle));
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn debt_is_paid_before_anything_moves() {
        let rig = Rig::new(Some(10_000));
        let (mut flow, notify) = rig.flow();
        moved(&mut flow, &notify, Duration::from_secs(3), 1000).await;
        flow.charge(20_000);
        assert_eq!(flow.allowance(1000), 0);
        let during = moved(&mut flow, &notify, Duration::from_millis(1900), 1000).await;
        assert_eq!(during, 0);
        assert!(moved(&mut flow, &notify, Duration::from_secs(2), 1000).await > 0);
        flow.charge(500);
        flow.refund(500);
        drop(flow);
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_lifted_lets_the_waiting_go() {
        for remove in [false, true] {
            let rig = Rig::new(None);
            rig.shaper.set(Some(ID), Direction::Up, Some(ByteRate(1)));
            assert!(rig.shaper.is_limited(ID, Direction::Up));
            assert!(!rig.shaper.is_limited(ID, Direction::Down));
            let (mut flow, notify) = rig.flow();
            while flow.allowance(1000) > 0 {
                flow.charge(1000);
            }
            match remove {
                true => rig.shaper.remove_torrent(ID),
                false => rig.shaper.set(Some(ID), Direction::Up, None),
            }
            tokio::time::timeout(Duration::from_secs(1), notify.notified()).await.expect("it is granted");
            // What it owes is paid from grants that cost nothing now.
            assert!((0..5).any(|_| flow.allowance(1000) > 0));
            drop(flow);
            assert!(rig.shaper.state().waiting.is_empty());
            rig.end().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_others_is_asked_about_once() {
        let rig = Rig::new(None);
        let other = TorrentId(2);
        rig.shaper.set_class(ClassId(1), Direction::Up, Some(ByteRate(1000)));
        rig.shaper.set_classes(other, &[ClassId(1)]);
        let (mut flow, notify) = rig.flow();
        assert!(!flow.is_free(), "nobody has asked");
        assert_eq!(flow.allowance(1 << 20), 1 << 20);
        flow.charge(1 << 20);
        assert!(flow.is_free() && flow.id.is_none() && flow.credit <= 0, "from here on it takes no lock");
        assert_eq!(flow.allowance(1 << 20), 1 << 20);
        // Until something changes, which it notices at once.
        rig.shaper.set_classes(ID, &[ClassId(1)]);
        assert!(!flow.is_free() && flow.is_limited());
        let ten = moved(&mut flow, &notify, Duration::from_secs(10), 1 << 20).await;
        assert!((9_000..=11_500).contains(&ten), "{ten}");
        rig.shaper.set_classes(ID, &[]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What was granted before is used first.
        for _ in 0..3 {
            let allowed = flow.allowance(1 << 20);
            flow.charge(allowed as usize);
        }
        assert!(flow.is_free());
        rig.shaper.remove_torrent(other);
        drop(flow);
        rig.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_that_ends_while_it_waits_leaves_nothing() {
        let rig = Rig::new(Some(0));
        let (mut flow, _) = rig.flow();
        assert_eq!(flow.allowance(1000), 0);
        assert_eq!(rig.shaper.state().waiting.len(), 1);
        drop(flow);
        assert!(rig.shaper.state().waiting.is_empty());
        rig.shaper.state().limiter.check_invariants();
        rig.end().await;
    }
}
