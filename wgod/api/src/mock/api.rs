//! The mock's side of the API.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::core::{SubscriptionResult, async_trait};
use jsonrpsee::{Extensions, PendingSubscriptionSink, SubscriptionMessage};
use serde::Serialize;

use super::{BAD_URI, HANGS, Mock, PANICS, PID, bans, files, find, scraped, seen, settings, trackers};
use crate::error::{ApiError, Kind};
use crate::params::*;
use crate::result::*;
use crate::rpc::ApiServer;
use crate::server::Caller;
use crate::torrent::{Row, State, Torrent};

/// Answers from a [`Mock`].
#[derive(Clone, Debug)]
pub struct MockApi(pub Arc<Mock>);

impl MockApi {
    fn note(&self, method: &str, params: &impl Serialize) {
        let value = serde_json::to_value(params).unwrap_or_default();
        self.0.lock().calls.push((method.to_owned(), value));
    }

    fn act(
        &self,
        (ids, all): (&[String], bool),
        act: impl Fn(&mut Vec<Torrent>, usize),
    ) -> Result<ActResult, ApiError> {
        check_selection(ids, all)?;
        let mut torrents = Vec::new();
        self.0.change(|held| {
            let every: Vec<String> = held.iter().map(|torrent| torrent.info_hash.clone()).collect();
            for id in if all { &every } else { ids } {
                torrents.push(match find(held, id) {
                    Ok(i) => {
                        let acted = Acted::ok(id, held[i].info_hash.clone(), held[i].name.clone());
                        act(held, i);
                        acted
                    }
                    Err(error) => Acted::failed(id, error),
                });
            }
        });
        Ok(ActResult { torrents })
    }

    fn one(&self, id: &str) -> Result<Torrent, ApiError> {
        let inner = self.0.lock();
        find(&inner.torrents, id).map(|i| inner.torrents[i].clone())
    }

    fn list_now(&self, params: &ListParams) -> ListResult {
        let inner = self.0.lock();
        let fields = params.fields.unwrap_or_default();
        let pass = inner.torrents.iter().filter(|torrent| params.filter.matches(torrent));
        ListResult {
            version: *self.0.version.borrow(),
            full: params.since.is_none(),
            torrents: pass.map(|torrent| Row { torrent: torrent.clone(), fields }).collect(),
            removed: inner.removed.clone(),
        }
    }

    fn add_one(&self, params: &AddParams, source: &Source) -> Result<Added, ApiError> {
        let bytes = source.bytes()?;
        let name = match (source, &bytes) {
            (Source::Uri(uri), _) if uri == BAD_URI => {
                return Err(ApiError::new(Kind::BadTorrent, "no usable hash in it").path(BAD_URI));
            }
            (Source::Uri(uri), _) => uri.clone(),
            (_, bytes) => String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned(),
        };
        let mut hash = [0_u8; 20];
        for (i, byte) in name.bytes().enumerate() {
            hash[i % 20] = hash[i % 20].wrapping_mul(31).wrapping_add(byte);
        }
        let info_hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let present = self.0.lock().torrents.iter().any(|torrent| torrent.info_hash == info_hash);
        if present && params.fail_if_exists {
            let error = ApiError::new(Kind::Present, "the torrent is already here");
            return Ok(Added::failed(Some(info_hash), Some(name), error));
        }
        if !present {
            let state = if params.paused { State::Stopped } else { State::Downloading };
            let labels = params.labels.clone();
            let torrent = Torrent {
                info_hash: info_hash.clone(),
                name: name.clone(),
                state,
                labels,
                ..Torrent::default()
            };
            self.0.change(|torrents| torrents.push(torrent));
        }
        let status = if present { AddStatus::Present } else { AddStatus::Added };
        Ok(Added { info_hash: Some(info_hash), name: Some(name), status, error: None, kind: None })
    }
}

fn backup_of(bytes: &[u8]) -> Backup {
    let end = &bytes[bytes.len().saturating_sub(32)..];
    Backup {
        created_at: 1_790_000_000,
        release: "0.1.0".to_owned(),
        torrents: 12,
        size_bytes: bytes.len() as u64,
        sha256: end.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[async_trait]
impl ApiServer for MockApi {
    async fn add(&self, ext: &Extensions, params: AddParams) -> Result<AddResult, ApiError> {
        self.note("add", &params);
        if params.sources.contains(&Source::Uri(HANGS.to_owned())) {
            std::future::pending::<()>().await;
        }
        self.0.lock().caller = ext.get::<Caller>().copied();
        let add = |source| self.add_one(&params, source).unwrap_or_else(|e| Added::failed(None, None, e));
        Ok(AddResult { torrents: params.sources.iter().map(add).collect() })
    }

    async fn label(&self, params: LabelParams) -> Result<ActResult, ApiError> {
        self.note("label", &params);
        params.check()?;
        self.act((&params.ids, params.all), |torrents, i| {
            if let Ok(labels) = params.apply(&torrents[i].labels) {
                torrents[i].labels = labels;
            }
        })
    }

    async fn stats(&self, params: StatsParams) -> Result<StatsResult, ApiError> {
        self.note("stats", &params);
        let torrents = self.0.lock().torrents.len() as u32;
        let all_time = Traffic::new(2_000_000_000, 5_000_000_000);
        let failed = FailedHandshakes { closed: 2, encryption: 1, ..FailedHandshakes::default() };
        let handshakes = Handshakes { none: 1200, handshake: 3, rc4: 41, failed };
        let session = Traffic::new(0, 1_500_000);
        Ok(StatsResult { uptime_secs: 3600, torrents, session, all_time, handshakes })
    }

    async fn alt(&self, params: AltParams) -> Result<AltResult, ApiError> {
        self.note("alt", &params);
        let mut inner = self.0.lock();
        let alt = &mut inner.alternative;
        alt.mode = params.mode.unwrap_or(alt.mode);
        alt.on = alt.mode == AltMode::On;
        alt.limits.up = params.up.unwrap_or(alt.limits.up);
        alt.limits.down = params.down.unwrap_or(alt.limits.down);
        Ok(alt.clone())
    }

    async fn remove(&self, _: &Extensions, params: RemoveParams) -> Result<ActResult, ApiError> {
        self.note("remove", &params);
        self.act((&params.ids, params.all), |torrents, i| drop(torrents.remove(i)))
    }

    async fn list(&self, params: ListParams) -> Result<ListResult, ApiError> {
        self.note("list", &params);
        Ok(self.list_now(&params))
    }

    #[expect(clippy::panic, reason = "the server has to live through it")]
    async fn show(&self, _: &Extensions, params: ShowParams) -> Result<ShowResult, ApiError> {
        self.note("show", &params);
        match params.id.as_str() {
            PANICS => panic!("the mock was asked to panic"),
            HANGS => std::future::pending().await,
            _ => {}
        }
        let torrent = self.one(&params.id)?;
        Ok(ShowResult {
            files: params.files.then(|| files(&torrent)),
            trackers: params.trackers.then(trackers),
            dht: params.trackers.then(DhtLookups::default),
            peers: params.peers.then(|| {
                let (address, client) = ("192.0.2.1:6881".to_owned(), "qBittorrent 5.0\u{1b}[31m".to_owned());
                vec![Peer { address, client, source: "tracker".into(), progress: 1.0, ..Peer::default() }]
            }),
            bans: params.peers.then(bans),
            pieces: params.pieces.then(|| Pieces {
                count: 4,
                have: "a0".into(),
                availability: vec![2, 1, 2, 1],
            }),
            torrent: TorrentDetails { torrent, pieces: Some(4), pieces_done: Some(2), ..Default::default() },
        })
    }

    async fn metainfo(&self, params: MetainfoParams) -> Result<MetainfoResult, ApiError> {
        self.note("metainfo", &params);
        let torrent = self.one(&params.id)?;
        let bytes = format!("d4:name{}:{}e", torrent.name.len(), torrent.name);
        Ok(MetainfoResult {
            info_hash: torrent.info_hash,
            name: torrent.name,
            torrent: Part(bytes.into_bytes()),
        })
    }

    async fn status(&self, params: StatusParams) -> Result<StatusResult, ApiError> {
        self.note("status", &params);
        let chosen: Result<Vec<Torrent>, ApiError> = params.ids.iter().map(|id| self.one(id)).collect();
        let chosen = chosen?;
        let inner = self.0.lock();
        let mut states = BTreeMap::new();
        for torrent in &inner.torrents {
            *states.entry(torrent.state).or_insert(0) += 1;
        }
        let daemon = Daemon {
            limits: inner.limits,
            alternative: inner.alternative.clone(),
            torrents: states,
            ..seen::daemon()
        };
        let torrents = match (params.torrents, params.ids.is_empty()) {
            (true, _) => Some(inner.torrents.clone()),
            (false, false) => Some(chosen),
            (false, true) => None,
        };
        Ok(StatusResult { daemon, torrents })
    }

    async fn limit(&self, params: LimitParams) -> Result<LimitResult, ApiError> {
        self.note("limit", &params);
        let mut inner = self.0.lock();
        let i = params.id.as_deref().map(|id| find(&inner.torrents, id)).transpose()?;
        let limits = match (i, &params.label) {
            (Some(i), _) => &mut inner.torrents[i].limits,
            (None, Some(label)) => inner.labels.entry(label.clone()).or_default(),
            (None, None) => &mut inner.limits,
        };
        limits.up = params.up.unwrap_or(limits.up);
        limits.down = params.down.unwrap_or(limits.down);
        let limits = *limits;
        let of = i.map(|i| &inner.torrents[i]);
        let (info_hash, name) = (of.map(|t| t.info_hash.clone()), of.map(|t| t.name.clone()));
        let of = |label: &String| inner.torrents.iter().filter(|t| t.labels.contains(label)).count() as u32;
        let all =
            inner.labels.iter().filter(|(label, _)| params.label.as_ref().is_none_or(|one| one == *label));
        let labels = match i {
            Some(_) => None,
            None => Some(
                all.map(|(label, limits)| LabelLimits {
                    label: label.clone(),
                    torrents: of(label),
                    limits: *limits,
                })
                .collect(),
            ),
        };
        Ok(LimitResult { info_hash, name, label: params.label, limits, alternative: None, labels })
    }

    async fn files(&self, params: FilesParams) -> Result<FilesResult, ApiError> {
        self.note("files", &params);
        let inner = self.0.lock();
        let torrent = &inner.torrents[find(&inner.torrents, &params.id)?];
        let (info_hash, name) = (torrent.info_hash.clone(), torrent.name.clone());
        let first_last = params.first_last.unwrap_or_default();
        Ok(FilesResult { info_hash, name, first_last, files: super::files(torrent) })
    }

    async fn trackers(&self, _: &Extensions, params: TrackersParams) -> Result<TrackersResult, ApiError> {
        self.note("trackers", &params);
        let torrent = self.one(&params.id)?;
        let added = params.add.into_iter().map(|url| Tracker { url, tier: 1, ..Tracker::default() });
        let trackers = trackers().into_iter().chain(added).collect();
        Ok(TrackersResult {
            info_hash: torrent.info_hash,
            name: torrent.name,
            trackers,
            dht: DhtLookups::default(),
        })
    }

    async fn start(&self, params: StartParams) -> Result<ActResult, ApiError> {
        self.note("start", &params);
        self.act((&params.ids, params.all), |torrents, i| {
            torrents[i].state = State::Downloading;
            torrents[i].forced = params.now;
        })
    }

    async fn set(&self, params: SetParams) -> Result<ActResult, ApiError> {
        self.note("set", &params);
        params.check()?;
        params.ids.iter().try_for_each(|id| self.one(id).map(drop))?;
        self.act((&params.ids, params.all), |torrents, i| {
            let torrent = &mut torrents[i];
            torrent.priority = params.priority.unwrap_or(torrent.priority);
            torrent.sequential = params.sequential.unwrap_or(torrent.sequential);
        })
    }

    async fn queue(&self, params: QueueParams) -> Result<ActResult, ApiError> {
        self.note("queue", &params);
        params.ids.iter().try_for_each(|id| self.one(id).map(drop))?;
        self.act((&params.ids, false), |_, _| ())
    }

    async fn stop(&self, params: SelectParams) -> Result<ActResult, ApiError> {
        self.note("stop", &params);
        self.act((&params.ids, params.all), |torrents, i| torrents[i].state = State::Stopped)
    }

    async fn relocate(&self, params: MoveParams) -> Result<ActResult, ApiError> {
        self.note("move", &params);
        self.act((&params.ids, params.all), |torrents, i| match &params.folder {
            Some(folder) => {
                torrents[i].state = State::Moving;
                torrents[i].folder = folder.display().to_string();
            }
            None => torrents[i].state = State::Stopped,
        })
    }

    async fn rename(&self, params: RenameParams) -> Result<RenameResult, ApiError> {
        self.note("rename", &params);
        let RenameParams { id, path, to } = params;
        let mut renamed = self.one(&id)?;
        if renamed.name != path {
            let message = format!("the torrent has no file or folder “{path}”");
            return Err(ApiError::new(Kind::NoMatch, message));
        }
        self.0.change(|torrents| {
            for torrent in torrents.iter_mut().filter(|torrent| torrent.info_hash == renamed.info_hash) {
                torrent.name.clone_from(&to);
            }
        });
        renamed.name.clone_from(&to);
        Ok(RenameResult { info_hash: renamed.info_hash, name: renamed.name, path, to, files: 1 })
    }

    async fn verify(&self, params: VerifyParams) -> Result<ActResult, ApiError> {
        self.note("verify", &params);
        self.act((&params.ids, params.all), |torrents, i| torrents[i].state = State::Checking)
    }

    async fn announce(&self, params: SelectParams) -> Result<ActResult, ApiError> {
        self.note("announce", &params);
        self.act((&params.ids, params.all), |_, _| ())
    }

    async fn scrape(&self, params: SelectParams) -> Result<ScrapeResult, ApiError> {
        self.note("scrape", &params);
        let acted = self.act((&params.ids, params.all), |_, _| ())?;
        Ok(ScrapeResult { torrents: acted.torrents.into_iter().map(scraped).collect() })
    }

    async fn wait(&self, params: WaitParams) -> Result<WaitResult, ApiError> {
        self.note("wait", &params);
        let limit = params.timeout_secs.map_or(Duration::MAX, Duration::from_secs);
        let mut version = self.0.version.subscribe();
        let reached = async {
            loop {
                let torrent = self.one(&params.id)?;
                match (params.goal, torrent.state) {
                    (_, State::Error) => {
                        let why = torrent.error.unwrap_or_default();
                        return Err(ApiError::new(Kind::Disk, why).torrent(torrent.info_hash));
                    }
                    (_, State::Seeding) => return Ok(WaitResult { torrent }),
                    (Goal::Metadata, state) if state != State::Metadata => return Ok(WaitResult { torrent }),
                    _ => {}
                }
                if version.changed().await.is_err() {
                    return Err(ApiError::new(Kind::Stopping, "wgod is shutting down"));
                }
            }
        };
        match tokio::time::timeout(limit, reached).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::new(Kind::Timeout, "not reached in time").torrent(&params.id)),
        }
    }

    async fn config(&self, params: ConfigParams) -> Result<ConfigResult, ApiError> {
        self.note("config", &params);
        let asked = |setting: &Setting| {
            params.keys.is_empty() || params.keys.iter().any(|key| setting.key.starts_with(key.as_str()))
        };
        let problems = if params.check {
            vec!["/etc/wgod.toml:3: network.prot: unknown key; did you mean port?".to_owned()]
        } else {
            Vec::new()
        };
        let settings = settings().into_iter().filter(asked).collect();
        Ok(ConfigResult { file: Some("/etc/wgod.toml".into()), settings, problems })
    }

    async fn config_reset(&self, params: ResetParams) -> Result<ResetResult, ApiError> {
        self.note("config_reset", &params);
        Ok(ResetResult { settings: super::reset_settings() })
    }

    async fn reload(&self, params: ReloadParams) -> Result<ReloadResult, ApiError> {
        self.note("reload", &params);
        let restart = vec!["network.port".to_owned()];
        Ok(ReloadResult { applied: vec!["limits.up".into()], restart, shadowed: Vec::new(), ip_filter: None })
    }

    async fn backup(&self, params: BackupParams) -> Result<BackupResult, ApiError> {
        self.note("backup", &params);
        Ok(BackupResult { id: "1".into(), backup: backup_of(super::BACKUP) })
    }

    async fn read_backup(&self, params: ReadBackupParams) -> Result<ReadBackupResult, ApiError> {
        self.note("read_backup", &params);
        // Two parts, so that a caller has to go on.
        let rest = super::BACKUP.get(params.offset as usize..).unwrap_or_default();
        Ok(ReadBackupResult { data: Part(rest.iter().copied().take(20).collect()) })
    }

    async fn write_backup(&self, params: WriteBackupParams) -> Result<WriteBackupResult, ApiError> {
        self.note("write_backup", &params);
        let mut inner = self.0.lock();
        if params.id.is_none() {
            inner.upload.clear();
        }
        inner.upload.extend(params.data.0);
        Ok(WriteBackupResult { id: "2".into(), size_bytes: inner.upload.len() as u64 })
    }

    async fn restore(&self, params: RestoreParams) -> Result<RestoreResult, ApiError> {
        self.note("restore", &params);
        let upload = self.0.lock().upload.clone();
        if upload != super::BACKUP {
            return Err(ApiError::new(Kind::BadBackup, "it is no backup of wgod"));
        }
        let replaced = (!params.check).then(|| "/state/state.redb.before-restore".to_owned());
        if !params.check {
            self.0.stop();
        }
        Ok(RestoreResult {
            backup: backup_of(&upload),
            replaced,
            pid: PID,
            restarts: false,
            socket_stays: false,
        })
    }

    async fn log(&self, params: LogParams) -> Result<LogResult, ApiError> {
        self.note("log", &params);
        Ok(seen::log(&params))
    }

    async fn doctor(&self, params: DoctorParams) -> Result<DoctorResult, ApiError> {
        self.note("doctor", &params);
        Ok(seen::doctor(&self.0.lock().torrents))
    }

    async fn discover(&self, params: DiscoverParams) -> Result<OpenRpc, ApiError> {
        self.note("rpc.discover", &params);
        OpenRpc::document()
    }

    async fn quit(&self, _: &Extensions, params: QuitParams) -> Result<QuitResult, ApiError> {
        self.note("quit", &params);
        self.0.stop();
        Ok(QuitResult { pid: PID, socket_stays: false })
    }

    async fn subscribe_changes(
        &self,
        pending: PendingSubscriptionSink,
        params: ListParams,
    ) -> SubscriptionResult {
        self.note("subscribe", &params);
        let mut version = self.0.version.subscribe();
        let sink = pending.accept().await?;
        loop {
            let list = serde_json::value::to_raw_value(&self.list_now(&params))?;
            if sink.send(SubscriptionMessage::from(list)).await.is_err() {
                return Ok(());
            }
            tokio::select! {
                changed = version.changed() => changed?,
                () = sink.closed() => return Ok(()),
            }
        }
    }
}
