//! The daemon as a whole: what starts in which order, and ends in the reverse.
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wgo_api::server::{Limits, serve};
use wgo_api::socket;

use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Surroundings};
use crate::confine::Confinement;
use crate::console::{Console, Parts};
use crate::control::{Control, tunables};
use crate::engine::{Engine, Places};
use crate::files::{RealDisk, Storage, StorageLimits};
use crate::given::{self, Given};
use crate::logging::Logging;
use crate::registry::Registry;
use crate::session::{Driver, SessionHandle, Start};
use crate::shaper::Shaper;
use crate::store::{self, Loaded as Stored, Store};
use crate::timers::Timers;
use crate::tracker::{Settings as TrackerSettings, Trackers};
use crate::transport::{Listener, LocalAddrs};
use crate::{chores, listen, progress, systemd};

/// Time that storage threads have to finish when the daemon ends.
const STORAGE_PATIENCE: Duration = Duration::from_secs(1);

/// Makes the state directory and the socket's folder, unless they are there.
pub fn make_folders(places: &config::Places) -> Result<()> {
    store::make_state_dir(&places.state_dir)?;
    Ok(socket::make_folder(&places.socket)?)
}

/// Runs the daemon with `loaded` settings, confined as it says, until a signal or `quit` ends it.
pub async fn run(
    loaded: Loaded,
    logging: Logging,
    confinement: Confinement,
    torrents: Vec<Given>,
) -> Result<()> {
    let logging = Arc::new(logging);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let (store, stored) = open_store(&loaded)?;
    if !stored.recovery.clean {
        let suspects: usize = stored.recovery.suspect.values().map(Vec::len).sum();
        tracing::warn!(
            pieces = suspects,
            "the last run did not end in order; what it stored since its last checkpoint is hashed"
        );
    }
    let overrides: Vec<(String, String)> = stored
        .overrides
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let pairs = overrides.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let loaded = loaded.with_stored(pairs, &Surroundings::observe())?;
    let daemon = Daemon::start(store, stored, loaded, logging, confinement).await?;
    daemon.greet();
    daemon.engine.announces.spawn(given::add_all(daemon.console.clone(), torrents));
    daemon.run().await
}

fn open_store(loaded: &Loaded) -> Result<(Store, Stored)> {
    Ok(Store::open(Arc::new(RealDisk), &loaded.places.state_dir, &loaded.places.socket)?)
}

/// A started daemon.
struct Daemon {
    engine: Arc<Engine>,
    session: SessionHandle,
    control: Arc<Control>,
    console: Console,
    logging: Arc<Logging>,
    socket: PathBuf,
    /// Keeps the socket's file; removes it when dropped.
    socket_file: socket::SocketFile,
    control_listener: UnixListener,
    listeners: Vec<Listener>,
    driver: Driver,
    folder: PathBuf,
    stop: Stop,
}

/// What ends the daemon's parts, in this order.
#[derive(Clone, Default)]
struct Stop {
    /// Someone wants the daemon to end.
    quit: CancellationToken,
    /// …and not to wait for trackers.
    quit_now: CancellationToken,
    /// Ends the session's driver, which ends every torrent.
    session: CancellationToken,
    /// Ends timers, limits and listeners.
    rest: CancellationToken,
}

impl Daemon {
    async fn start(
        store: Store,
        stored: Stored,
        loaded: Loaded,
        logging: Arc<Logging>,
        confinement: Confinement,
    ) -> Result<Daemon> {
        let config = loaded.resolved.config.clone();
        let clock = Clock::start();
        let listeners = if config.network.tcp {
            let flexible = config.network.port == Config::default().network.port;
            listen::bind(&config.network.ip, config.network.port, flexible)?
        } else {
            Vec::new()
        };
        let port = listeners.iter().find_map(|l| l.local_addr().ok()).map_or(0, |addr| addr.port());
        let (actions, actions_rx) = mpsc::unbounded_channel();
        let (events, events_rx) = mpsc::unbounded_channel();
        let (broken, broken_rx) = mpsc::unbounded_channel();
        let stop = Stop::default();
        let storage = storage(&config, &confinement);
        let engine = Arc::new(Engine {
            clock,
            peer_id: wgo_proto::wire::peer_id::generate(random()?),
            pool: storage.pool().clone(),
            storage,
            store,
            shaper: Shaper::new(clock),
            registry: Registry::new(broken),
            timers: Timers::default(),
            trackers: Trackers::start(TrackerSettings {
                local: config.network.ip.clone(),
                ..TrackerSettings::default()
            })?,
            local: LocalAddrs::new(&config.network.ip),
            port,
            actions,
            events,
            announces: TaskTracker::new(),
            connections: Places::new(config.network.max_peers as usize),
            confinement,
        });
        let start = Start {
            engine: engine.clone(),
            tunables: tunables(&config),
            next_id: stored.next_id,
            totals: stored.totals,
            suspects: stored.recovery.suspect,
            events: events_rx,
            actions: actions_rx,
            broken: broken_rx,
            stopping: stop.session.clone(),
            seed: u64::from_le_bytes(random()?),
        };
        let (driver, session, changed) = Driver::load(start).await?;
        let socket = loaded.places.socket.clone();
        let folder = loaded.places.folder.clone();
        let (listener, socket_file) = socket::bind(&socket, socket::MODE)?;
        let control_listener = UnixListener::from_std(listener)?;
        let control = Control::new(engine.clone(), session.clone(), logging.clone(), loaded).await;
        let console = console(&engine, &session, &control, changed, &stop, &folder, &listeners);
        Ok(Daemon {
            engine,
            session,
            control,
            console,
            logging,
            socket,
            socket_file,
            control_listener,
            listeners,
            driver,
            folder,
            stop,
        })
    }

    /// Says where things are, for whoever started the daemon by hand.
    fn greet(&self) {
        let addrs: Vec<String> =
            self.listeners.iter().filter_map(|l| l.local_addr().ok()).map(|addr| addr.to_string()).collect();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            socket = %self.socket.display(),
            folder = %self.folder.display(),
            listen = addrs.join(", "),
            "wgod is running"
        );
        tracing::info!("to drive it: wgoctl --socket {} status", self.socket.display());
        use std::io::IsTerminal;
        if io::stdout().is_terminal() {
            let told = format!(
                "wgod {} listens for peers on {}\nTorrents go to {}\nIn another terminal: wgoctl --socket {} status\nCtrl-C stops it.\n",
                env!("CARGO_PKG_VERSION"),
                addrs.join(", "),
                self.folder.display(),
                self.socket.display()
            );
            // Only for the eye.
            let _ = io::Write::write_all(&mut io::stdout(), told.as_bytes());
        }
    }

    async fn run(self) -> Result<()> {
        let Daemon {
            engine,
            session,
            control,
            console,
            logging,
            socket_file,
            control_listener,
            listeners,
            driver,
            stop,
            ..
        } = self;
        let mut parts = JoinSet::new();
        let rest = stop.rest.clone();
        parts.spawn(engine.timers.clone().run(engine.clock, engine.registry.clone(), rest.clone()));
        parts.spawn(engine.shaper.clone().run(rest.clone()));
        for listener in listeners {
            parts.spawn(listen::run(engine.clone(), listener, rest.clone()));
        }
        parts.spawn(progress::run(session.clone(), rest.clone()));
        parts.spawn(chores::run(session.clone(), logging.clone(), rest.clone()));
        let quit = stop.quit.clone();
        let served = async move {
            serve(control_listener, console, Limits::default(), async move { quit.cancelled().await }).await;
            drop(socket_file);
        };
        let mut server = JoinSet::new();
        server.spawn(served);
        let mut session_task = JoinSet::new();
        session_task.spawn(driver.run());
        systemd::ready("running");
        wait_for_end(&stop, &control, &mut session_task).await?;
        systemd::stopping("saving torrents, telling trackers");
        tracing::info!("stopping");
        stop.quit.cancel();
        stop.session.cancel();
        if stop.quit_now.is_cancelled() {
            engine.trackers.stop().await;
        }
        drop(session);
        while let Some(ended) = session_task.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the session ended by a defect");
            }
        }
        stop.rest.cancel();
        engine.trackers.stop().await;
        for hung in engine.storage.stop(STORAGE_PATIENCE).await {
            tracing::warn!(device = hung.device, waiting = hung.waiting, "a disk did not answer in time");
        }
        engine
            .store
            .close()
            .await
            .context("the state could not be closed in order; the next start checks it")?;
        while parts.join_next().await.is_some() {}
        while server.join_next().await.is_some() {}
        tracing::info!("stopped");
        logging.finish();
        Ok(())
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

fn console(
    engine: &Arc<Engine>,
    session: &SessionHandle,
    control: &Arc<Control>,
    changed: watch::Receiver<u64>,
    stop: &Stop,
    folder: &std::path::Path,
    listeners: &[Listener],
) -> Console {
    Console::new(Parts {
        engine: engine.clone(),
        session: session.clone(),
        control: control.clone(),
        changed,
        quit: stop.quit.clone(),
        quit_now: stop.quit_now.clone(),
        default_folder: folder.to_owned(),
        listen: listeners.iter().filter_map(|l| l.local_addr().ok()).map(|addr| addr.to_string()).collect(),
    })
}

/// Waits for a signal, `quit`, or the end of the session; SIGHUP reads the configuration again.
async fn wait_for_end(stop: &Stop, control: &Arc<Control>, session: &mut JoinSet<()>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            () = stop.quit.cancelled() => return Ok(()),
            _ = session.join_next() => {
                tracing::error!("the session ended by a defect; stopping");
                return Ok(());
            }
            _ = hangup.recv() => {
                systemd::reloading();
                if let Err(error) = control.reload().await {
                    tracing::error!(%error, "configuration not read again; the old one stays in force");
                }
                systemd::ready("running");
            }
        }
    }
}

/// Random bytes of the system.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .context("the system has no random numbers")?;
    anyhow::ensure!(filled == N, "the system has too few random numbers");
    Ok(bytes)
}
