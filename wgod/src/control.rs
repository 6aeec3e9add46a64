//! The settings in force: who may change them and how a change reaches the parts that use it.
mod alternative;
mod labels;
mod log;
mod reset;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use tokio::sync::Mutex;
use wgo_api::error::{ApiError, Kind};
use wgo_api::result::{ConfigResult, ReloadResult, Setting};
use wgo_api::suggest::hint;
use wgo_api::torrent::RateLimits;
use wgo_core::ByteRate;
use wgo_core::choke_mgr::SeedingRule;
use wgo_core::dial_pacer::Limits;
use wgo_core::session::{AfterGoal, ChosenGoals, QueueLimits, Ratio};

use crate::config::{
    self, Change, Config, Decision, KeyId, Layers, Loaded, Origin, Plan, Problems, Raw, Resolved, SECTIONS,
    SeedingOrder, Slots, Surroundings,
};
use crate::engine::Engine;
use crate::files::{Modes, Preallocate};
use crate::ip_filter::Lists;
use crate::logging::Logging;
use crate::proxy::Direct;
use crate::session::{ChokeTunables, SessionHandle, Tunables};
use crate::store::Change as StoreChange;

pub use labels::Defaults;

/// Payload memory that is not for pieces on their way to the disk: send batches and the piece cache.
const RESERVED_MEMORY: u64 = 20 << 20;
/// Bytes of a block buffer.
const BLOCK: u64 = 16 * 1024;

/// The settings in force. One for the daemon.
pub struct Control {
    engine: Arc<Engine>,
    session: SessionHandle,
    logging: Arc<Logging>,
    file: Option<PathBuf>,
    /// Why the last reload failed, until one succeeds.
    reload_failure: std::sync::Mutex<Option<String>>,
    /// Told when the alternative limits may have to be switched at another time.
    rescheduled: tokio::sync::Notify,
    /// Held while a change is validated and applied, so that changes take turns.
    state: Mutex<State>,
}

struct State {
    layers: Layers,
    running: Resolved,
    /// Whether the alternative limits are in force.
    decision: Decision,
    /// Overrides in the database that don't count: names and values.
    untaken: BTreeMap<String, String>,
}

impl Control {
    /// Takes charge of the settings that the daemon started with, and puts them in force.
    pub async fn new(
        engine: Arc<Engine>,
        session: SessionHandle,
        logging: Arc<Logging>,
        loaded: Loaded,
    ) -> Arc<Control> {
        let decision = Decision::default();
        let Loaded { layers, resolved: running, untaken, file, .. } = loaded;
        let state = State { layers, running, decision, untaken };
        let control = Control {
            engine,
            session,
            logging,
            file,
            reload_failure: std::sync::Mutex::default(),
            rescheduled: tokio::sync::Notify::new(),
            state: Mutex::new(state),
        };
        let mut state = control.state.lock().await;
        control.put_limits_in_force(&mut state);
        control.put_in_force(&state.running.config).await;
        drop(state);
        Arc::new(control)
    }

    /// Reads the file again: all of it is applied, or nothing.
    pub async fn reload(&self) -> Result<ReloadResult, ApiError> {
        let result = self.read_again().await;
        let failure = result.as_ref().err().map(ToString::to_string);
        *self.reload_failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        result
    }

    /// Why the last reload failed; `None` once one has succeeded.
    pub fn reload_failure(&self) -> Option<String> {
        self.reload_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read_again(&self) -> Result<ReloadResult, ApiError> {
        let mut state = self.state.lock().await;
        let file = match &self.file {
            Some(path) => config::read_file(path, false).map_err(|e| {
                ApiError::new(Kind::BadConfig, e.to_string()).path(path.display().to_string())
            })?,
            None => config::Layer::default(),
        };
        let layers = Layers { file, ..state.layers.clone() };
        let mut plan = config::plan(&state.running, layers).map_err(|problems| bad_config(&problems))?;
        self.put_off_folders(&mut plan, &state.running);
        // Also when the setting is what it was: the files need not be.
        let lists = self.read_ip_filter(&plan.next.config).await?;
        self.engine.ip_filter.replace(lists);
        let result = ReloadResult {
            applied: plan.applied.iter().map(change_text).collect(),
            ip_filter: self.engine.ip_filter.shown(),
            restart: plan.restart.iter().map(|change| change.key.name()).collect(),
            shadowed: plan
                .shadowed
                .iter()
                .map(|s| format!("{} = {}, overridden: {}", s.key.name(), s.file, s.by))
                .collect(),
        };
        self.commit(&mut state, plan).await;
        tracing::info!(applied = result.applied.len(), "configuration read again");
        Ok(result)
    }

    /// Sets limits of the daemon (bytes/s, 0 is unlimited), durably, and reports them.
    pub async fn limit(&self, up: Option<u64>, down: Option<u64>) -> Result<RateLimits, ApiError> {
        let mut state = self.state.lock().await;
        self.set_rates(&mut state, [("limits.up", up), ("limits.down", down)]).await?;
        let limits = &state.running.config.limits;
        Ok(RateLimits { up: limits.up.0, down: limits.down.0 })
    }

    /// Sets those of some keys for which there is a rate, as [`Control::set`] does.
    async fn set_rates<N: AsRef<str>>(
        &self,
        state: &mut State,
        rates: [(N, Option<u64>); 2],
    ) -> Result<(), ApiError> {
        let values: Vec<(KeyId, Raw)> = rates
            .into_iter()
            .filter_map(|(name, bytes)| {
                Some((KeyId::find(name.as_ref())?, Raw::Text(format!("{} B/s", bytes?))))
            })
            .collect();
        if values.is_empty() { Ok(()) } else { self.set(state, values).await }
    }

    /// Sets keys, durably: all of them or, after an error, none.
    async fn set(&self, state: &mut State, values: Vec<(KeyId, Raw)>) -> Result<(), ApiError> {
        let names: Vec<String> = values.iter().map(|(key, _)| key.name()).collect();
        let plan = config::set_all(&state.running, &state.layers, values)
            .map_err(|problems| ApiError::new(Kind::BadRequest, problems.to_string()))?;
        let stored: BTreeMap<String, String> = plan.layers.stored.store().collect();
        let change = |key: &String| {
            let value = stored.get(key).map(|text| serde_json::Value::String(text.clone()));
            StoreChange::Override { key: key.clone(), value }
        };
        self.engine.store.put(names.iter().map(change).collect()).await.map_err(|error| {
            ApiError::new(Kind::Disk, format!("{} could not be saved: {error}", names.join(" and ")))
        })?;
        self.commit(state, plan).await;
        Ok(())
    }

    /// The settings in force.
    pub async fn config(&self) -> Config {
        self.state.lock().await.running.config.clone()
    }

    /// The limits in force.
    pub async fn limits(&self) -> RateLimits {
        Control::limits_of(&*self.state.lock().await)
    }

    /// The folder for torrents that are added without one.
    pub async fn folder(&self) -> Option<PathBuf> {
        let state = self.state.lock().await;
        expanded(state.running.config.storage.folder.as_deref())
    }

    /// Reads the lists of the IP filter, which may take a second.
    async fn read_ip_filter(&self, config: &Config) -> Result<Lists, ApiError> {
        let paths: Vec<PathBuf> =
            config.network.ip_filter.iter().filter_map(|path| expanded(Some(path))).collect();
        let failed =
            |why: String| ApiError::new(Kind::BadConfig, format!("{why}; the old filter stays in force"));
        match self.engine.compute(move || Lists::read(&paths)).await {
            Some(read) => read.map_err(|error| failed(error.to_string())),
            None => Err(failed("the IP filter was not read".to_owned())),
        }
    }

    /// A new folder for torrents that is out of this run's bounds is for the next start, whose bounds may be
    /// others.
    fn put_off_folders(&self, plan: &mut Plan, running: &Resolved) {
        let Config { storage, labels, .. } = &plan.next.config;
        let named =
            [("storage.folder", &storage.folder), ("storage.incomplete_folder", &storage.incomplete_folder)];
        let named = named.into_iter().map(|(name, folder)| (name.to_owned(), folder));
        let of_labels = labels.iter().map(|(name, label)| (labels::key(name, "folder"), &label.folder));
        let is_out = |folder: &Option<PathBuf>| {
            let folder = expanded(folder.as_deref());
            folder.is_some_and(|folder| !self.engine.confinement.allowed.names(&folder))
        };
        let out = named.chain(of_labels).filter(|(_, folder)| is_out(folder));
        let out: Vec<KeyId> = out.filter_map(|(name, _)| KeyId::find(&name)).collect();
        for key in out {
            plan.put_off(running, &key);
        }
    }

    /// The settings in force and where each comes from; with `check`, the faults of the file.
    pub async fn show(&self, keys: &[String], check: bool) -> Result<ConfigResult, ApiError> {
        let state = self.state.lock().await;
        let chosen: Vec<KeyId> = match keys {
            [] => state.running.keys().into_iter().collect(),
            keys => chosen(&state.running, keys)?,
        };
        let plan = config::plan(&state.running, state.layers.clone());
        let shadowed: BTreeMap<KeyId, String> =
            plan.map(|plan| plan.shadowed.into_iter().map(|s| (s.key, s.file)).collect()).unwrap_or_default();
        let setting = |id: &KeyId| Setting {
            key: id.name(),
            value: json(&state.running.text(id)),
            origin: api_origin(state.running.origin(id)),
            default: json(&id.key().default_text()),
            restart: id.key().effect != config::Effect::Now,
            shadowed: shadowed.get(id).map(|text| json(text)),
        };
        Ok(ConfigResult {
            file: self.file.as_ref().map(|path| path.display().to_string()),
            settings: chosen.iter().map(setting).collect(),
            problems: if check { self.problems(&state) } else { Vec::new() },
        })
    }

    fn problems(&self, state: &State) -> Vec<String> {
        let Some(path) = &self.file else { return Vec::new() };
        match config::read_file(path, false) {
            Err(error) => error.to_string().lines().map(str::to_owned).collect(),
            Ok(file) => {
                let layers = Layers { file, ..state.layers.clone() };
                let plan = config::plan(&state.running, layers);
                plan.err().map(|p| p.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
            }
        }
    }

    async fn commit(&self, state: &mut State, plan: Plan) {
        state.layers = plan.layers;
        state.running = plan.next;
        self.put_limits_in_force(state);
        self.put_in_force(&state.running.config).await;
    }

    async fn put_in_force(&self, config: &Config) {
        self.engine.connections.set_limit(config.network.max_peers as usize);
        self.engine.dialer.set_limits(dial_limits(config));
        if let Err(error) = self.logging.set(&config.daemon.log) {
            tracing::warn!(%error, "the log level can't be changed");
        }
        self.engine.store.keep_backups(config.daemon.backups);
        self.engine.storage.set_modes(modes(config));
        self.engine.set_encryption(config.network.encryption);
        self.engine.outside.set(config.network.announce_ip);
        let forbids = |direct| self.engine.proxies.forbids(direct);
        self.engine.lsd.switch(config.discovery.lsd && !forbids(Direct::LocalDiscovery));
        self.engine.dht.set(dht(config, !forbids(Direct::Dht)));
        self.session.apply(tunables(config)).await;
    }
}

/// The settings that these name, each a key, a whole section, or one of a label or host; in the order of the file.
fn chosen(running: &Resolved, keys: &[String]) -> Result<Vec<KeyId>, ApiError> {
    let all = running.keys();
    // Whatever notation a name in it has.
    let keys: Vec<String> =
        keys.iter().map(|key| KeyId::find(key).map_or_else(|| key.clone(), |id| id.name())).collect();
    let names = |key: &str, id: &KeyId| key == id.name() || key == id.table() || key == id.key().section;
    // Of labels and hosts nothing need be set.
    let empty = |key: &str| SECTIONS.iter().any(|section| section.names.is_some() && section.name == key);
    if let Some(unknown) = keys.iter().find(|key| !empty(key) && !all.iter().any(|id| names(key, id))) {
        let known: Vec<String> = all.iter().flat_map(|id| [id.name(), id.table()]).collect();
        let sections = SECTIONS.iter().map(|section| section.name);
        let known = known.iter().map(String::as_str).chain(sections);
        let hint = hint(unknown, known, "`wgoctl config show` lists all");
        let message = format!("no setting or section {unknown:?}{hint}");
        return Err(ApiError::new(Kind::BadRequest, message));
    }
    Ok(all.into_iter().filter(|id| keys.iter().any(|key| names(key, id))).collect())
}

/// A configured folder, which may be below the user's home. Without a home that one needs, the daemon would not
/// have started.
fn expanded(folder: Option<&Path>) -> Option<PathBuf> {
    Surroundings::observe().expand(folder?).ok()
}

/// The modes of what torrents make.
fn modes(config: &Config) -> Modes {
    let storage = &config.storage;
    Modes { file: storage.file_mode.map(|mode| mode.0), folder: storage.folder_mode.map(|mode| mode.0) }
}

/// The settings of the DHT.
fn dht(config: &Config, allowed: bool) -> crate::dht::Settings {
    let config::Dht { bootstrap, read_only } = config.dht.clone();
    crate::dht::Settings { on: config.discovery.dht && allowed, read_only, bootstrap }
}

/// Bytes of `[storage] memory` that are for pieces on their way to the disk.
fn write_memory(config: &Config) -> u64 {
    let memory = config.storage.memory.0;
    memory.saturating_sub(RESERVED_MEMORY).max(memory / 2)
}

/// Bytes of `[storage] memory` that are for pieces kept to be sent: 12 MiB of the usual 52.
pub fn cache_memory(config: &Config) -> u64 {
    (config.storage.memory.0 - write_memory(config)) / 5 * 3
}

/// How much may be dialled at once.
pub fn dial_limits(config: &Config) -> Limits {
    Limits { half_open: config.network.max_dials as usize, per_second: config.network.dials_per_second }
}

/// The settings as the session's driver uses them.
pub fn tunables(config: &Config) -> Tunables {
    let slots = |slots: Slots| match slots {
        Slots::Auto => None,
        Slots::Fixed(n) => Some(n),
    };
    let seeding = match config.choke.seeding {
        SeedingOrder::RoundRobin => SeedingRule::RoundRobin,
        SeedingOrder::FastestUpload => SeedingRule::FastestUpload,
        SeedingOrder::AntiLeech => SeedingRule::AntiLeech,
    };
    let preallocate = match config.storage.preallocate {
        config::Preallocate::None => Preallocate::None,
        config::Preallocate::Sparse => Preallocate::Sparse,
        config::Preallocate::Full => Preallocate::Full,
    };
    let pieces = write_memory(config);
    Tunables {
        max_peers_per_torrent: config.network.max_peers_per_torrent,
        pex: config.discovery.pex,
        min_free_space: config.storage.min_free_space.0,
        incomplete_folder: expanded(config.storage.incomplete_folder.as_deref()),
        part_suffix: config.storage.part_suffix.clone(),
        preallocate,
        choke: ChokeTunables {
            slots: slots(config.choke.slots),
            optimistic: slots(config.choke.optimistic),
            seeding,
        },
        memory_blocks: (pieces / BLOCK) as usize,
        queue: queue_limits(config),
        goals: seeding_goals(config),
        rules: labels::rules(config),
    }
}

fn queue_limits(config: &Config) -> QueueLimits {
    let limit = |n: u32| (n > 0).then_some(n);
    QueueLimits {
        downloads: limit(config.queue.downloads),
        seeds: limit(config.queue.seeds),
        active: limit(config.queue.active),
        slow: ByteRate(config.queue.slow.0),
    }
}

fn seeding_goals(config: &Config) -> ChosenGoals {
    let seeding = &config.seeding;
    // The bounds of the setting are those of a ratio.
    let ratio = Ratio::of(seeding.ratio);
    let action = Some(after_goal(seeding.action));
    ChosenGoals { ratio, time: Some(seeding.time.0), idle: Some(seeding.idle.0), action }
}

fn after_goal(action: config::AfterGoal) -> AfterGoal {
    match action {
        config::AfterGoal::Stop => AfterGoal::Stop,
        config::AfterGoal::Remove => AfterGoal::Remove,
        config::AfterGoal::RemoveWithFiles => AfterGoal::RemoveWithFiles,
        config::AfterGoal::Keep => AfterGoal::Keep,
    }
}

fn bad_config(problems: &Problems) -> ApiError {
    ApiError::new(Kind::BadConfig, problems.to_string())
}

fn change_text(change: &Change) -> String {
    format!("{} = {} (was {})", change.key.name(), change.to, change.from)
}

/// A value in TOML's notation as JSON: the scalars and lists that settings are.
fn json(text: &str) -> serde_json::Value {
    #[derive(serde::Deserialize)]
    struct Line {
        value: serde_json::Value,
    }
    match toml::from_str::<Line>(&format!("value = {text}")) {
        Ok(line) => line.value,
        Err(_) if text.is_empty() => serde_json::Value::Null,
        Err(_) => serde_json::Value::String(text.to_owned()),
    }
}

fn api_origin(origin: &Origin) -> wgo_api::result::Origin {
    use wgo_api::result::Origin as Api;
    match origin {
        Origin::Default => Api::Default,
        Origin::File { .. } => Api::File,
        Origin::Stored => Api::Override,
        Origin::Environment(_) => Api::Environment,
        Origin::CommandLine(_) => Api::CommandLine,
        Origin::Socket => Api::Socket,
    }
}
