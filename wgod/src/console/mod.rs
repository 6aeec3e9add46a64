//! Console: the control API's server side. Each method asks the session's driver or the settings and
//! answers; what changes something is done by them, whether or not the caller waits.
mod adding;
mod backup;
mod dht;
mod disks;
mod doctor;
mod limits;
mod metainfo;
mod moving;
mod paths;
mod stats;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::{
    AddParams, AltParams, BackupParams, ConfigParams, DiscoverParams, DoctorParams, FilesParams, Goal,
    LabelParams, LimitParams, ListParams, LogParams, MetainfoParams, MoveParams, QueueParams, QuitParams,
    ReadBackupParams, ReloadParams, RemoveParams, RenameParams, ResetParams, RestoreParams, SelectParams,
    SetParams, ShowParams, Source, StartParams, StatsParams, StatusParams, TrackersParams, VerifyParams,
    WaitParams, WriteBackupParams,
};
use wgo_api::result::{
    ActResult, AddResult, Added, AltResult, BackupResult, ConfigResult, Daemon, DoctorResult, FilesResult,
    LimitResult, ListResult, LogResult, MetainfoResult, OpenRpc, PortState, QuitResult, ReadBackupResult,
    ReloadResult, RenameResult, ResetResult, RestoreResult, ScrapeResult, ShowResult, StatsResult,
    StatusResult, Tracker, TrackersResult, WaitResult, WriteBackupResult,
};
use wgo_api::rpc::ApiServer;
use wgo_api::server::{Access, Caller};
use wgo_api::torrent::{State, Torrent};
use wgo_api::{Extensions, PendingSubscriptionSink, SubscriptionMessage, SubscriptionResult, async_trait};

use crate::control::{Control, Defaults};
use crate::engine::Engine;
use crate::session::{Command, SessionHandle, Verb};
use adding::request;

/// Changes are sent to subscribers this often at most.
const SUBSCRIPTION_TICK: Duration = Duration::from_secs(1);

/// What the API's methods need.
#[derive(Clone)]
pub struct Console {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<Engine>,
    session: SessionHandle,
    control: Arc<Control>,
    changed: watch::Receiver<u64>,
    quit: CancellationToken,
    quit_now: CancellationToken,
    restored: CancellationToken,
    started: Instant,
    default_folder: PathBuf,
    state_dir: PathBuf,
    socket_stays: bool,
}

/// What a [`Console`] is made of.
pub struct Parts {
    /// Shared by all.
    pub engine: Arc<Engine>,
    /// The way to the session's driver.
    pub session: SessionHandle,
    /// The settings.
    pub control: Arc<Control>,
    /// Changes with what the session shows.
    pub changed: watch::Receiver<u64>,
    /// Ends the daemon in order.
    pub quit: CancellationToken,
    /// Ends it without telling the trackers.
    pub quit_now: CancellationToken,
    /// Says that it ends because a backup was restored.
    pub restored: CancellationToken,
    /// Where torrents go that are added without a folder, unless the settings say.
    pub default_folder: PathBuf,
    /// Where the database is.
    pub state_dir: PathBuf,
    /// The control socket is the service manager's, which goes on listening when we have ended.
    pub socket_stays: bool,
}

impl Console {
    /// A console of a daemon that starts now.
    pub fn new(parts: Parts) -> Console {
        let Parts {
            engine,
            session,
            control,
            changed,
            quit,
            quit_now,
            restored,
            default_folder,
            state_dir,
            socket_stays,
        } = parts;
        let started = Instant::now();
        let inner = Inner {
            engine,
            session,
            control,
            changed,
            quit,
            quit_now,
            restored,
            started,
            default_folder,
            state_dir,
            socket_stays,
        };
        Console { inner: Arc::new(inner) }
    }

    /// Adds torrents as `params` say, in the order of the sources. All are under way at the same time, so
    /// that the store commits them together.
    pub async fn add_all(&self, sources: &[Source], params: &AddParams) -> Vec<Added> {
        let mut defaults = self.inner.control.defaults_for(&params.labels).await;
        let folder = self.folder_for(params.folder.as_deref().or(defaults.folder.as_deref())).await;
        if params.known.is_some() {
            // It runs already, elsewhere: that it goes on so is the point.
            defaults = Defaults::default();
        }
        let mut begun = Vec::with_capacity(sources.len());
        for source in sources {
            begun.push(match request(source, params, &folder, &defaults) {
                Ok(request) => Ok(self.inner.session.begin(|reply| Command::Add(request, reply)).await),
                Err(refused) => Err(*refused),
            });
        }
        let mut added = Vec::with_capacity(begun.len());
        for begun in begun {
            added.push(match begun {
                Err(refused) => refused,
                Ok(Some(answer)) => answer.await.unwrap_or_else(|_| Added::failed(None, None, stopping())),
                Ok(None) => Added::failed(None, None, stopping()),
            });
        }
        added
    }

    async fn act(&self, verb: Verb, params: SelectParams) -> Result<ActResult, ApiError> {
        self.inner.session.ask(|reply| Command::Act(verb, params, reply)).await.ok_or_else(stopping)?
    }
}

/// Who may only look has no business with the owner's passkeys.
fn hide_passkeys<'a>(caller: &Extensions, trackers: impl IntoIterator<Item = &'a mut Tracker>) {
    if !caller.get::<Caller>().is_some_and(|caller| caller.access == Access::Full) {
        for tracker in trackers {
            tracker.url = crate::tracker::shown(&tracker.url);
        }
    }
}

/// Complete, and its final folder can't be had at present.
fn is_stranded(torrent: &Torrent, goal: Goal) -> bool {
    let late = torrent.completed_at.is_some() && torrent.final_folder.is_some();
    goal == Goal::Done && late && torrent.error.is_some() && torrent.state != State::Moving
}

fn stopping() -> ApiError {
    ApiError::new(Kind::Stopping, "the daemon is shutting down")
}

#[async_trait]
impl ApiServer for Console {
    async fn add(&self, _ext: &Extensions, params: AddParams) -> Result<AddResult, ApiError> {
        if params.known.is_some() && params.sources.len() != 1 {
            let message = "`known` is of one torrent: give one source with it";
            return Err(ApiError::new(Kind::BadRequest, message));
        }
        if let Some(folder) = params.known.as_deref().and_then(|known| known.final_folder.as_deref()) {
            self.permit(folder).await?;
        }
        Ok(AddResult { torrents: self.add_all(&params.sources, &params).await })
    }

    async fn remove(&self, _ext: &Extensions, params: RemoveParams) -> Result<ActResult, ApiError> {
        self.inner.session.ask(|reply| Command::Remove(params, reply)).await.ok_or_else(stopping)?
    }

    async fn list(&self, params: ListParams) -> Result<ListResult, ApiError> {
        self.inner.session.ask(|reply| Command::List(params, reply)).await.ok_or_else(stopping)
    }

    async fn show(&self, ext: &Extensions, params: ShowParams) -> Result<ShowResult, ApiError> {
        let shown = self.inner.session.ask(|reply| Command::Show(params, reply)).await;
        let mut shown = shown.ok_or_else(stopping)??;
        hide_passkeys(ext, shown.trackers.iter_mut().flatten());
        Ok(shown)
    }

    async fn metainfo(&self, params: MetainfoParams) -> Result<MetainfoResult, ApiError> {
        self.torrent_file(params).await
    }

    async fn status(&self, params: StatusParams) -> Result<StatusResult, ApiError> {
        let with = params.torrents || !params.ids.is_empty();
        let ids = with.then_some(params.ids);
        let glance =
            self.inner.session.ask(|reply| Command::Glance(ids, reply)).await.ok_or_else(stopping)??;
        let daemon = Daemon {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_secs: self.inner.started.elapsed().as_secs(),
            down_rate: glance.rates.0,
            up_rate: glance.rates.1,
            downloaded_bytes: glance.totals.0,
            uploaded_bytes: glance.totals.1,
            limits: self.inner.control.limits().await,
            alternative: self.inner.control.alternative_now().await,
            torrents: glance.states,
            peers: self.inner.engine.connected() as u32,
            disks: self.disks(glance.folders, &glance.troubles).await,
            listen: self.inner.engine.listening.shown(),
            network: self.inner.engine.outlet.shown(),
            external: self.inner.engine.outside.addresses().iter().map(ToString::to_string).collect(),
            dht: dht::shown(&self.inner.engine.dht),
            ip_filter: self.inner.engine.ip_filter.shown(),
            proxy: self.inner.engine.proxies.shown(),
            port_state: PortState::Unknown,
            local_discovery: self.inner.engine.lsd.shown(),
            port_mapping: self.inner.engine.mapping.shown(),
            confinement: self.inner.engine.confinement.shown(),
            hooks: self.inner.engine.hooks.shown(),
        };
        Ok(StatusResult { daemon, torrents: glance.torrents })
    }

    async fn stats(&self, _params: StatsParams) -> Result<StatsResult, ApiError> {
        Console::stats(self).await
    }

    async fn limit(&self, params: LimitParams) -> Result<LimitResult, ApiError> {
        limits::limit(&self.inner, params).await
    }

    async fn alt(&self, params: AltParams) -> Result<AltResult, ApiError> {
        self.inner.control.alternative(&params).await
    }

    async fn files(&self, params: FilesParams) -> Result<FilesResult, ApiError> {
        self.inner.session.ask(|reply| Command::Files(params, reply)).await.ok_or_else(stopping)?
    }

    async fn trackers(&self, ext: &Extensions, params: TrackersParams) -> Result<TrackersResult, ApiError> {
        let ask = |reply| Command::Trackers(params, reply);
        let mut result = self.inner.session.ask(ask).await.ok_or_else(stopping)??;
        hide_passkeys(ext, &mut result.trackers);
        Ok(result)
    }

    async fn label(&self, params: LabelParams) -> Result<ActResult, ApiError> {
        self.inner.session.ask(|reply| Command::Label(params, reply)).await.ok_or_else(stopping)?
    }

    async fn start(&self, params: StartParams) -> Result<ActResult, ApiError> {
        let StartParams { ids, all, now } = params;
        self.act(if now { Verb::StartNow } else { Verb::Start }, SelectParams { ids, all }).await
    }

    async fn set(&self, params: SetParams) -> Result<ActResult, ApiError> {
        let params = Box::new(params);
        self.inner.session.ask(|reply| Command::Set(params, reply)).await.ok_or_else(stopping)?
    }

    async fn queue(&self, params: QueueParams) -> Result<ActResult, ApiError> {
        self.inner.session.ask(|reply| Command::Queue(params, reply)).await.ok_or_else(stopping)?
    }

    async fn stop(&self, params: SelectParams) -> Result<ActResult, ApiError> {
        self.act(Verb::Stop, params).await
    }

    async fn relocate(&self, params: MoveParams) -> Result<ActResult, ApiError> {
        self.move_torrents(params).await
    }

    async fn rename(&self, params: RenameParams) -> Result<RenameResult, ApiError> {
        self.inner.session.ask(|reply| Command::Rename(params, reply)).await.ok_or_else(stopping)?
    }

    async fn verify(&self, params: VerifyParams) -> Result<ActResult, ApiError> {
        let VerifyParams { ids, all, start_over } = params;
        let verb = if start_over { Verb::StartOver } else { Verb::Verify };
        self.act(verb, SelectParams { ids, all }).await
    }

    async fn announce(&self, params: SelectParams) -> Result<ActResult, ApiError> {
        self.act(Verb::Announce, params).await
    }

    async fn scrape(&self, params: SelectParams) -> Result<ScrapeResult, ApiError> {
        self.inner.session.ask(|reply| Command::Scrape(params, reply)).await.ok_or_else(stopping)?
    }

    async fn wait(&self, params: WaitParams) -> Result<WaitResult, ApiError> {
        let limit = params.timeout_secs.map(Duration::from_secs);
        let reached = self.reach(&params.id, params.goal);
        let Some(limit) = limit else { return reached.await };
        let late = || {
            let missing = match params.goal {
                Goal::Metadata => "its metadata is not known",
                Goal::Done => "not complete",
            };
            let message =
                format!("{}: {missing} within {} s; wgod goes on with it", params.id, limit.as_secs());
            Err(ApiError::new(Kind::Timeout, message).torrent(params.id.clone()))
        };
        tokio::time::timeout(limit, reached).await.unwrap_or_else(|_| late())
    }

    async fn config(&self, params: ConfigParams) -> Result<ConfigResult, ApiError> {
        self.inner.control.show(&params.keys, params.check).await
    }

    async fn config_reset(&self, params: ResetParams) -> Result<ResetResult, ApiError> {
        self.inner.control.reset(&params).await
    }

    async fn reload(&self, _params: ReloadParams) -> Result<ReloadResult, ApiError> {
        self.inner.control.reload().await
    }

    async fn backup(&self, _params: BackupParams) -> Result<BackupResult, ApiError> {
        self.make_backup().await
    }

    async fn read_backup(&self, params: ReadBackupParams) -> Result<ReadBackupResult, ApiError> {
        self.part_of_backup(params).await
    }

    async fn write_backup(&self, params: WriteBackupParams) -> Result<WriteBackupResult, ApiError> {
        self.take_part(params).await
    }

    async fn restore(&self, params: RestoreParams) -> Result<RestoreResult, ApiError> {
        self.put_back(params).await
    }

    async fn log(&self, params: LogParams) -> Result<LogResult, ApiError> {
        self.inner.control.log(&params).await
    }

    async fn doctor(&self, _params: DoctorParams) -> Result<DoctorResult, ApiError> {
        Console::doctor(self).await
    }

    async fn discover(&self, _params: DiscoverParams) -> Result<OpenRpc, ApiError> {
        OpenRpc::document()
    }

    async fn quit(&self, _ext: &Extensions, params: QuitParams) -> Result<QuitResult, ApiError> {
        if params.now {
            self.inner.quit_now.cancel();
        }
        self.inner.quit.cancel();
        Ok(QuitResult { pid: std::process::id(), socket_stays: self.inner.socket_stays })
    }

    async fn subscribe_changes(
        &self,
        pending: PendingSubscriptionSink,
        params: ListParams,
    ) -> SubscriptionResult {
        let sink = pending.accept().await?;
        let mut params = params;
        let mut tick = tokio::time::interval(SUBSCRIPTION_TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = sink.closed() => return Ok(()),
                () = self.inner.quit.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            // A client that doesn't read gets what changed meanwhile in one message, when it has taken the
            // last: two are in memory at most, whatever it does.
            if sink.capacity() < sink.max_capacity() {
                continue;
            }
            let ask = params.clone();
            let Some(list) = self.inner.session.ask(|reply| Command::List(ask, reply)).await else {
                return Ok(());
            };
            params.since = Some(list.version);
            if list.full || !list.torrents.is_empty() || !list.removed.is_empty() {
                let message = serde_json::value::to_raw_value(&list)?;
                sink.send(SubscriptionMessage::from(message)).await?;
            }
        }
    }
}

impl Console {
    /// Returns when the torrent reaches the goal, or is in trouble.
    async fn reach(&self, id: &str, goal: Goal) -> Result<WaitResult, ApiError> {
        let mut changed = self.inner.changed.clone();
        loop {
            changed.mark_unchanged();
            let show = ShowParams { id: id.to_owned(), ..ShowParams::default() };
            let shown =
                self.inner.session.ask(|reply| Command::Show(show, reply)).await.ok_or_else(stopping)??;
            let torrent = shown.torrent.torrent;
            let reached = match goal {
                Goal::Metadata => torrent.size_bytes.is_some(),
                Goal::Done => {
                    let complete = torrent.completed_at.is_some() && torrent.progress >= 1.0;
                    complete && torrent.final_folder.is_none()
                }
            };
            if reached {
                return Ok(WaitResult { torrent });
            }
            if torrent.state == State::Error || is_stranded(&torrent, goal) {
                let message = torrent.error.unwrap_or_else(|| "it failed".to_owned());
                return Err(ApiError::new(Kind::Disk, message).torrent(torrent.info_hash));
            }
            tokio::select! {
                result = changed.changed() => result.map_err(|_| stopping())?,
                () = self.inner.quit.cancelled() => return Err(stopping()),
            }
        }
    }
}
