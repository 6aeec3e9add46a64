//! The daemon as a whole: what starts in which order, and ends in the reverse.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use wgo_api::socket;
use wgo_core::dht::snapshot::Snapshot;
use wgo_proto::proxy::Login;

use crate::chores::StatusLine;
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Surroundings, WatchFolder};
use crate::confine::Confinement;
use crate::console::{Console, Parts};
use crate::control::{Control, dial_limits, tunables};
use crate::dht::{self, Dht};
use crate::dial::{self, Dialer};
use crate::ending::{Ending, Patience, Stop};
use crate::engine::{Engine, Places};
use crate::files::{RealDisk, Storage, StorageLimits};
use crate::given::{self, Given};
use crate::hooks::{self, Helper, Hooks};
use crate::ip_filter::{IpFilters, Lists};
use crate::listen::{Listening, Post};
use crate::logging::Logging;
use crate::lsd::{self, Lsd};
use crate::metrics;
use crate::outlet::{Bounds, Outlet};
use crate::portmap::PortMapping;
use crate::proxy::{Direct, Proxies};
use crate::registry::Registry;
use crate::serving::Sockets;
use crate::session::{Driver, SessionHandle, Start};
use crate::shaper::Shaper;
use crate::store::{self, Loaded as Stored, Store};
use crate::systemd::activation::Inherited;
use crate::timers::Timers;
use crate::tracker::{Settings as TrackerSettings, Trackers};
use crate::watch::Watch;
use crate::{backups, chores, listen, portmap, progress, random, systemd};

/// Opening the state may take this long: after a crash the database may have to be read once.
const OPENING: Duration = Duration::from_secs(600);

/// Why the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// A backup was restored, which the next start takes up.
    Restored,
}

/// Makes the state directory and, unless they are `inherited`, the folders of the sockets.
pub fn make_folders(loaded: &Loaded, inherited: &Inherited) -> Result<()> {
    let places = &loaded.places;
    store::make_state_dir(&places.state_dir)?;
    if let Some(socket) = loaded.resolved.config.metrics.listen.as_ref().and_then(config::Endpoint::socket) {
        socket::make_folder(socket)?;
    }
    if inherited.control.is_none() {
        socket::make_folder(&places.socket)?;
    }
    Ok(())
}

/// Runs the daemon with `loaded` settings, confined as it says, on the `inherited` sockets or its own,
/// until a signal or `quit` ends it. `helper` runs the operator's programs.
pub async fn run(
    loaded: Loaded,
    logging: Logging,
    confinement: Confinement,
    torrents: Vec<Given>,
    inherited: Inherited,
    helper: Option<Helper>,
) -> Result<Ended> {
    let logging = Arc::new(logging);
    let faults = hooks::faults(&loaded.resolved.config, &Surroundings::observe());
    for warning in loaded.warnings.iter().chain(&faults) {
        tracing::warn!("{warning}");
    }
    systemd::starting("opening the state", OPENING);
    let socket = inherited.control_path().unwrap_or_else(|| loaded.places.socket.clone());
    let (store, stored) =
        open_store(&loaded.places.state_dir, &socket, loaded.resolved.config.daemon.backups)?;
    if !stored.recovery.clean {
        // None after a start that failed, say.
        match stored.recovery.suspect.values().map(Vec::len).sum::<usize>() {
            0 => tracing::info!("the last run did not end in order; it left nothing to be hashed"),
            pieces => tracing::warn!(
                pieces,
                "the last run did not end in order; what it stored since its last checkpoint is hashed"
            ),
        }
    }
    if let Some(before) = &stored.restored {
        tracing::info!(
            before = %before.display(),
            "this is the session of the restored backup; the database before it is kept"
        );
    }
    let overrides: Vec<(String, String)> = stored
        .overrides
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let pairs = overrides.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let loaded = loaded.with_stored(pairs, &Surroundings::observe())?;
    let hooks = Hooks::of(helper.as_ref(), &socket);
    let daemon = Daemon::start(store, stored, loaded, logging, confinement, inherited, hooks).await?;
    let signals = Signals::listen()?;
    daemon.greet();
    daemon.engine.announces.spawn(given::add_all(daemon.console.clone(), torrents));
    daemon.run(helper, signals).await
}

fn open_store(state_dir: &Path, socket: &Path, keep: u32) -> Result<(Store, Stored)> {
    Ok(Store::open(Arc::new(RealDisk), state_dir, socket, keep)?)
}

/// A started daemon.
struct Daemon {
    engine: Arc<Engine>,
    session: SessionHandle,
    control: Arc<Control>,
    console: Console,
    logging: Arc<Logging>,
    sockets: Sockets,
    metrics: Option<metrics::Server>,
    posts: Vec<Post>,
    driver: Driver,
    /// What the DHT knew in the last run.
    known: Option<Snapshot>,
    folder: PathBuf,
    watch: Watch,
    /// The folders that are watched.
    rules: Vec<WatchFolder>,
    stop: Stop,
}

impl Daemon {
    async fn start(
        store: Store,
        stored: Stored,
        loaded: Loaded,
        logging: Arc<Logging>,
        confinement: Confinement,
        inherited: Inherited,
        hooks: Hooks,
    ) -> Result<Daemon> {
        let config = loaded.resolved.config.clone();
        let (outlet, proxies) = way_out(&config, loaded.proxy_login.clone());
        let posts = if config.network.tcp && !config.network.proxy_only {
            let flexible = config.network.port == Config::default().network.port;
            listen::bind(&outlet, config.network.port, flexible)?
        } else {
            Vec::new()
        };
        let stop = Stop::default();
        let known = stored.dht.clone();
        let start = engine(
            store,
            stored,
            &config,
            &loaded.places.ip_filter,
            ((outlet, proxies), &posts),
            (confinement, hooks),
            &stop,
        )?;
        let engine = start.engine.clone();
        let store = engine.store.clone();
        let (driver, session, changed) = match Driver::load(start).await {
            Ok(loaded) => loaded,
            Err(error) => return Err(store.explain(error).await.into()),
        };
        let folder = loaded.places.folder.clone();
        let sockets = Sockets::open(&loaded.places, &config, inherited)?;
        let state_dir = loaded.places.state_dir.clone();
        let metrics = match &config.metrics.listen {
            Some(endpoint) => Some(metrics::Server::bind(endpoint).await?),
            None => None,
        };
        let watched = (loaded.places.watched.clone(), config.watch.after);
        let control = Control::new(engine.clone(), session.clone(), logging.clone(), loaded).await;
        let console = Console::new(Parts {
            engine: engine.clone(),
            session: session.clone(),
            control: control.clone(),
            changed,
            quit: stop.quit.clone(),
            quit_now: stop.quit_now.clone(),
            restored: stop.restored.clone(),
            default_folder: folder.clone(),
            state_dir: state_dir.clone(),
            socket_stays: sockets.stays(),
        });
        let (rules, after) = watched;
        let watch = Watch {
            console: console.clone(),
            after,
            state_dir,
            confined: engine.confinement.landlock.is_some(),
            stopping: stop.session.clone(),
        };
        Ok(Daemon {
            engine,
            session,
            control,
            console,
            logging,
            sockets,
            metrics,
            posts,
            driver,
            known,
            folder,
            watch,
            rules,
            stop,
        })
    }

    /// Says where things are, for whoever started the daemon by hand.
    fn greet(&self) {
        let (addrs, socket) = (self.engine.listening.shown(), self.sockets.shown());
        let addrs = if addrs.is_empty() { "no address".to_owned() } else { addrs.join(", ") };
        let folder = self.folder.display();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            socket,
            %folder,
            listen = addrs,
            "wgod is running"
        );
        if let Some(proxy) = self.engine.proxies.shown() {
            let by = &proxy;
            tracing::info!(
                proxy = by.url,
                peers = by.peers,
                trackers = by.trackers,
                only = by.only,
                "by proxy"
            );
        }
        tracing::info!("to drive it: wgoctl --socket {socket} status");
        if let Some(socket) = self.sockets.looking_shown() {
            tracing::info!("to look and not to touch: wgoctl --socket {socket} status");
        }
        use std::io::IsTerminal;
        if io::stdout().is_terminal() {
            let told = format!(
                "wgod {} listens for peers on {addrs}\nTorrents go to {folder}\nIn another terminal: wgoctl --socket {socket} status\nCtrl-C stops it.\n",
                env!("CARGO_PKG_VERSION"),
            );
            // Only for the eye.
            let _ = io::Write::write_all(&mut io::stdout(), told.as_bytes());
        }
    }

    async fn run(self, helper: Option<Helper>, mut signals: Signals) -> Result<Ended> {
        let Daemon {
            engine,
            session,
            control,
            console,
            logging,
            sockets,
            metrics,
            posts,
            driver,
            known,
            watch,
            rules,
            stop,
            ..
        } = self;
        let mut parts = JoinSet::new();
        let rest = stop.rest.clone();
        parts.spawn(engine.timers.clone().run(engine.clock, engine.registry.clone(), rest.clone()));
        parts.spawn(engine.shaper.clone().run(rest.clone()));
        parts.spawn(engine.outlet.clone().watch(rest.clone()));
        parts.spawn(dht::run(engine.clone(), known, stop.session.clone()));
        parts.spawn(dial::run(engine.clone(), rest.clone()));
        for post in posts {
            parts.spawn(listen::run(engine.clone(), post, rest.clone()));
        }
        parts.spawn(lsd::run(engine.clone(), rest.clone()));
        parts.spawn(portmap::run(engine.clone(), stop.session.clone()));
        parts.spawn(progress::run(session.clone(), rest.clone()));
        if let Some(metrics) = metrics {
            parts.spawn(metrics.run(engine.clone(), session.clone(), rest.clone()));
        }
        let status = StatusLine::new(session, control.clone());
        parts.spawn(chores::run(status.clone(), logging.clone(), rest.clone()));
        parts.spawn(control.clone().follow_schedule(rest.clone()));
        parts.spawn(backups::run(engine.store.clone(), rest.clone()));
        if let Some(helper) = helper {
            let told = engine.clone();
            let told = move |event| told.tell(event);
            parts.spawn(hooks::run(engine.hooks.clone(), helper, told, stop.session.clone()));
        }
        parts.spawn(watch.run(rules));
        let mut server = JoinSet::new();
        server.spawn(sockets.serve(console, stop.quit.clone()));
        let mut session_task = JoinSet::new();
        session_task.spawn(driver.run());
        systemd::ready(None);
        let why = wait_for_end(&mut signals, &stop, &control, &status, &mut session_task).await;
        drop((status, control));
        let restored = stop.restored.clone();
        let ended = Ending::begin(engine, stop).run(session_task, parts, server).await;
        let ended = match restored.is_cancelled() {
            false => why.and(ended).map(|()| Ended::Stopped),
            // How the state was closed that it replaces is no matter.
            true => {
                if let Err(error) = ended {
                    tracing::warn!(%error, "the session that is replaced did not end in order");
                }
                tracing::info!("the next start takes up the restored backup");
                Ok(Ended::Restored)
            }
        };
        logging.finish();
        ended
    }
}

/// What all tasks share, and what the session begins with.
fn engine(
    store: Store,
    stored: Stored,
    config: &Config,
    ip_lists: &[PathBuf],
    ((outlet, proxies), posts): ((Outlet, Proxies), &[Post]),
    (confinement, hooks): (Confinement, Hooks),
    stop: &Stop,
) -> Result<Start> {
    let clock = Clock::start();
    let port = posts.first().map_or(0, Post::port);
    let (actions, actions_rx) = mpsc::unbounded_channel();
    let (events, events_rx) = mpsc::unbounded_channel();
    let (broken, broken_rx) = mpsc::unbounded_channel();
    let storage = storage(config, &confinement);
    let outside = Arc::default();
    // Without a filter that was asked for there is to be no connection.
    let lists = Lists::read(ip_lists)?;
    let engine = Arc::new(Engine {
        clock,
        peer_id: wgo_proto::wire::peer_id::generate(random::bytes().context("no peer id")?),
        pool: storage.pool().clone(),
        digest_key: Default::default(),
        storage,
        store,
        shaper: Shaper::new(clock),
        registry: Registry::new(broken),
        timers: Timers::default(),
        trackers: Trackers::start(TrackerSettings {
            outlet: outlet.clone(),
            dns: config.network.dns.iter().map(|server| server.0).collect(),
            proxies: proxies.clone(),
            outside: Arc::clone(&outside),
            ..TrackerSettings::default()
        })?,
        dht: Dht::new(clock, u64::from_le_bytes(random::bytes().context("no seed")?)),
        outside,
        outlet,
        lsd: Lsd::new(seed()?),
        ip_filter: IpFilters::new(lists),
        proxies: proxies.clone(),
        port,
        listening: Listening::of(posts),
        mapping: PortMapping::new(
            config.network.port_mapping && port != 0 && !proxies.forbids(Direct::PortMapping),
            config.discovery.dht,
        ),
        encryption: Default::default(),
        actions,
        events,
        announces: TaskTracker::new(),
        connections: Places::new(config.network.max_peers as usize),
        dialer: Dialer::new(dial_limits(config)),
        confinement,
        hooks,
        dictionaries: Default::default(),
        counters: Default::default(),
    });
    Ok(Start {
        engine,
        tunables: tunables(config),
        next_id: stored.next_id,
        totals: stored.totals,
        suspects: stored.recovery.suspect,
        events: events_rx,
        actions: actions_rx,
        broken: broken_rx,
        stopping: stop.session.clone(),
        patience: Patience::default(),
        seed: seed()?,
    })
}

fn seed() -> Result<u64> {
    Ok(u64::from_le_bytes(random::bytes().context("no seed")?))
}

/// What leads to strangers, and by which proxy. With `proxy_only`, nobody but the proxy's part has sockets.
fn way_out(config: &Config, login: Option<Login>) -> (Outlet, Proxies) {
    let outlet =
        Outlet::new(Bounds { interface: config.network.interface.clone(), ips: config.network.ip.clone() });
    let proxies = Proxies::new(&config.network, login, &outlet);
    match config.network.proxy_only {
        true => (outlet.shut("`proxy_only` lets nothing go round the proxy"), proxies),
        false => (outlet, proxies),
    }
}

fn storage(config: &Config, confinement: &Confinement) -> Arc<Storage> {
    let defaults = StorageLimits::default();
    let threads = match config.storage.procs {
        0 => defaults.threads,
        procs => procs as usize,
    };
    let cached_blocks = (crate::control::cache_memory(config) / u64::from(wgo_proto::BLOCK_LEN)) as usize;
    let limits = StorageLimits { threads, cached_blocks, ..defaults };
    Arc::new(Storage::within(Arc::new(RealDisk), limits, confinement.allowed.clone()))
}

/// The signals that are obeyed. They are listened to before anybody hears that the daemon is running: one that comes
/// too early would kill it.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Waits for a signal, `quit`, or the end of the session; SIGHUP reads the configuration again.
///
/// # Errors
/// The session ended by itself: the service manager is to start the daemon again.
async fn wait_for_end(
    signals: &mut Signals,
    stop: &Stop,
    control: &Arc<Control>,
    status: &StatusLine,
    session: &mut JoinSet<()>,
) -> Result<()> {
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.terminate.recv() => return Ok(()),
            () = stop.quit.cancelled() => return Ok(()),
            _ = session.join_next() => anyhow::bail!("the session ended by a defect; the log has the details"),
            _ = signals.hangup.recv() => {
                systemd::reloading();
                if let Err(error) = control.reload().await {
                    tracing::error!("configuration not read again, the old one stays in force: {error}");
                }
                systemd::ready(status.read_soon().await.as_deref());
            }
        }
    }
}
