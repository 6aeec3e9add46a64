//! Dial: connects to the peers that Swarms ask for, in the turns that core's pacer gives.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wgo_core::Time;
use wgo_core::dial_pacer::{DialPacer, Lane, Limits, Turn};
use wgo_core::peer_mgr::Greeting;
use wgo_core::swarm::turnover;
use wgo_proto::proxy::Target;

use crate::config::Encryption as Mode;
use crate::engine::{Engine, Place};
use crate::peer;
use crate::proxy::Proxy;
use crate::session::Event;
use crate::torrent::Torrent;
use crate::transport::{Transport, dial};

/// Time that a peer has to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Time that a proxy has to connect to a peer, which may be far from it, too.
const PROXY_LIMIT: Duration = Duration::from_secs(20);

/// All dials that wait for their turn, or are under way.
#[derive(Debug)]
pub struct Dialer {
    /// A leaf lock.
    pacer: Mutex<DialPacer<Wanted>>,
    /// Told when somebody waits, a dial ended, or a place fell free.
    changed: Notify,
}

/// A dial that waits. Its torrent may end before it is its turn.
#[derive(Debug)]
struct Wanted {
    torrent: Weak<Torrent>,
    addr: SocketAddr,
    greeting: Option<Greeting>,
}

/// A dial that is under way until this is dropped.
struct UnderWay(Arc<Engine>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dialer.lock().done();
        self.0.dialer.look();
    }
}

impl Dialer {
    /// Nobody waits.
    pub fn new(limits: Limits) -> Dialer {
        Dialer { pacer: Mutex::new(DialPacer::new(limits)), changed: Notify::new() }
    }

    /// Other limits from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.lock().set_limits(limits);
        self.look();
    }

    /// Dials under way, each of which has a place for the connection that may come of it.
    pub fn under_way(&self) -> usize {
        self.lock().counts().1
    }

    /// Whoever waits may have a turn.
    pub fn look(&self) {
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, DialPacer<Wanted>> {
        self.pacer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a torrent's dial wait for its turn.
pub fn submit(engine: &Arc<Engine>, torrent: &Arc<Torrent>, addr: SocketAddr, greeting: Option<Greeting>) {
    let lane = engine.call(torrent, |swarm, _| swarm.dial_lane(addr)).unwrap_or(Lane::Rest);
    let wanted = Wanted { torrent: Arc::downgrade(torrent), addr, greeting };
    engine.dialer.lock().push(engine.clock.now(), lane, torrent.id, wanted);
    engine.dialer.look();
}

/// Gives turns until `stopping`.
pub async fn run(engine: Arc<Engine>, stopping: CancellationToken) {
    let mut turned_over = engine.clock.now();
    loop {
        let now = engine.clock.now();
        let room = engine.connections.has_room_to_dial();
        let (turn, next, waited_for) = {
            let mut pacer = engine.dialer.lock();
            (pacer.poll(now, room), pacer.poll_timeout(room), pacer.is_waited_for())
        };
        match turn {
            Some(Turn::Dial(wanted)) => {
                begin(&engine, wanted);
                continue;
            }
            Some(Turn::Late(Wanted { torrent, addr, .. })) => {
                if let Some(torrent) = torrent.upgrade() {
                    engine.call(&torrent, |swarm, now| swarm.on_dial_postponed(now, addr));
                }
                continue;
            }
            None => {}
        }
        if !room && waited_for && now.since(turned_over) >= turnover::EVERY {
            turned_over = now;
            engine.tell(Event::Crowded(engine.dialer.lock().counts().0));
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = engine.dialer.changed.notified() => {}
            () = until(&engine, next) => {}
        }
    }
}

async fn until(engine: &Engine, time: Option<Time>) {
    match time {
        Some(time) => tokio::time::sleep_until(engine.clock.instant(time)).await,
        None => std::future::pending().await,
    }
}

/// Connects in a task of the torrent, and greets the peer as it is known to like it.
fn begin(engine: &Arc<Engine>, Wanted { torrent, addr, greeting }: Wanted) {
    let under_way = UnderWay(engine.clone());
    let Some(torrent) = torrent.upgrade().filter(|torrent| !torrent.is_stopping()) else { return };
    let (engine, owner) = (engine.clone(), torrent.clone());
    let span = peer::span(&torrent, addr);
    let dialling = async move {
        let stopping = owner.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = connect(engine, owner, addr, greeting) => {}
        }
        drop(under_way);
    };
    torrent.tasks.spawn(dialling.instrument(span));
}

async fn connect(engine: Arc<Engine>, torrent: Arc<Torrent>, addr: SocketAddr, greeting: Option<Greeting>) {
    let failed = |why: String| {
        tracing::debug!(why, "not connected");
        engine.call(&torrent, |swarm, now| swarm.on_dial_failed(now, addr));
    };
    // The Swarm asked, too, but maybe an older one.
    if !engine.ip_filter.allows(addr.ip()) {
        return failed("the IP filter has its address".into());
    }
    let reached = match engine.proxies.for_peers() {
        Some(proxy) => reach_by(proxy, &engine, addr).await,
        None => reach(&engine, addr).await,
    };
    let (place, transport) = match reached {
        Ok(reached) => reached,
        Err(Missed::Crowded) => {
            tracing::debug!("not connected: `max_peers` reached");
            engine.call(&torrent, |swarm, now| swarm.on_dial_postponed(now, addr));
            return;
        }
        Err(Missed::Failed(why)) => return failed(why),
    };
    let mode = engine.encryption.mode();
    let greeting = chosen(mode, greeting);
    match peer::greet(&engine, &torrent, transport, addr, greeting).await {
        // In a task of its own: this one has held what dialling needs.
        Ok((link, info)) => {
            engine.counters.handshakes.done(&info);
            torrent.tasks.spawn(peer::run(engine.clone(), torrent.clone(), link, info, place));
        }
        Err(reason) => {
            engine.counters.handshakes.failed(&reason);
            let other = matches!(mode, Mode::Allow | Mode::Prefer) && reason.is_about(greeting);
            if !other {
                return failed(reason.to_string());
            }
            tracing::debug!(%reason, ?greeting, "not connected this way");
            engine.call(&torrent, |swarm, now| swarm.on_greeting_refused(now, addr, greeting));
        }
    }
}

/// Why a dial came to nothing.
enum Missed {
    /// Others have come since there was room.
    Crowded,
    /// In words.
    Failed(String),
}

fn take_place(engine: &Arc<Engine>) -> Result<Place, Missed> {
    engine.take_place_to_dial().ok_or(Missed::Crowded)
}

async fn reach(engine: &Arc<Engine>, addr: SocketAddr) -> Result<(Place, Transport), Missed> {
    let place = take_place(engine)?;
    if !engine.outlet.reaches(addr.ip()) {
        return Err(Missed::Failed("no address of that family in `ip`".into()));
    }
    let dialled = dial(&engine.outlet, addr, CONNECT_LIMIT).await;
    dialled.map(|transport| (place, transport)).map_err(|error| Missed::Failed(error.to_string()))
}

/// While the proxy is down, this waits, without a place: no peer is to blame, and each is dialled when it is up again.
async fn reach_by(
    proxy: &Proxy,
    engine: &Arc<Engine>,
    addr: SocketAddr,
) -> Result<(Place, Transport), Missed> {
    loop {
        proxy.usable().await;
        let place = take_place(engine)?;
        match proxy.connect(&Target::Addr(addr), PROXY_LIMIT).await {
            Ok(transport) => return Ok((place, transport)),
            Err(error) if error.why.is_the_proxys() => tracing::debug!(%error, "waiting for the proxy"),
            Err(error) => return Err(Missed::Failed(error.to_string())),
        }
    }
}

/// As the peer is known to like it, where the setting leaves the choice.
fn chosen(mode: Mode, known: Option<Greeting>) -> Greeting {
    match mode {
        Mode::Off => Greeting::Plain,
        Mode::Allow => known.unwrap_or(Greeting::Plain),
        Mode::Prefer => known.unwrap_or(Greeting::Encrypted),
        Mode::Require => Greeting::Encrypted,
    }
}
