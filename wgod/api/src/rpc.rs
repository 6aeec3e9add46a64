//! The API as one trait, for both ends. Method names are the verbs of `wgoctl`.
//!
//! Each method takes one object of named parameters. On the wire `params` is that object; it may be
//! absent where every parameter has a default. jsonrpsee's own `param_kind = map` would list the
//! parameters one by one, could not refuse unknown ones, and refuses an absent object; so the trait
//! takes a struct as the only positional parameter, and [`crate::server`] and [`crate::client`]
//! translate between the object and the list of one that jsonrpsee expects.
use jsonrpsee::core::SubscriptionResult;
use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::params::{
    AddParams, AltParams, BackupParams, ConfigParams, DiscoverParams, DoctorParams, FilesParams, LabelParams,
    LimitParams, ListParams, LogParams, MetainfoParams, MoveParams, QueueParams, QuitParams,
    ReadBackupParams, ReloadParams, RemoveParams, RenameParams, ResetParams, RestoreParams, SelectParams,
    SetParams, ShowParams, StartParams, StatsParams, StatusParams, TrackersParams, VerifyParams, WaitParams,
    WriteBackupParams,
};
use crate::result::{
    ActResult, AddResult, AltResult, BackupResult, ConfigResult, DoctorResult, FilesResult, LimitResult,
    ListResult, LogResult, MetainfoResult, OpenRpc, QuitResult, ReadBackupResult, ReloadResult, RenameResult,
    ResetResult, RestoreResult, ScrapeResult, ShowResult, StatsResult, StatusResult, TrackersResult,
    WaitResult, WriteBackupResult,
};

/// Everything that wgod can be asked over its control socket.
///
/// Handlers that change something do it in a task of their own: the future of a call is dropped
/// when its client hangs up. [`crate::server::Caller`] in the extensions says who asks.
#[rpc(server, client)]
pub trait Api {
    /// Adds torrents. Durable before it is acknowledged; each source succeeds or fails by itself.
    #[method(name = "add", with_extensions)]
    async fn add(&self, params: AddParams) -> Result<AddResult, ApiError>;

    /// Removes torrents; their files stay unless `data` is set.
    #[method(name = "remove", with_extensions)]
    async fn remove(&self, params: RemoveParams) -> Result<ActResult, ApiError>;

    /// Torrents, all or those that changed since a version; the order is by `added_at`.
    #[method(name = "list")]
    async fn list(&self, params: ListParams) -> Result<ListResult, ApiError>;

    /// One torrent in full. Over the read-only socket the URLs of its trackers end after the host: what
    /// comes behind is often a key to somebody's account.
    #[method(name = "show", with_extensions)]
    async fn show(&self, params: ShowParams) -> Result<ShowResult, ApiError>;

    /// A torrent as the `.torrent` file that it was added from, with all that is in its trackers' URLs. Kind
    /// `unsupported` while the metadata of a magnet link is not known.
    #[method(name = "metainfo")]
    async fn metainfo(&self, params: MetainfoParams) -> Result<MetainfoResult, ApiError>;

    /// The daemon at a glance, and torrents if asked for.
    #[method(name = "status")]
    async fn status(&self, params: StatusParams) -> Result<StatusResult, ApiError>;

    /// How much was moved since the daemon's start and in all its runs.
    #[method(name = "stats")]
    async fn stats(&self, params: StatsParams) -> Result<StatsResult, ApiError>;

    /// Sets and reports rate limits: of the daemon, of all torrents of a label together, or of a torrent. Durable
    /// before it is acknowledged. What is set here goes before the configuration file; from the next start on the
    /// command line and the environment go before it. `config_reset` takes it back.
    #[method(name = "limit")]
    async fn limit(&self, params: LimitParams) -> Result<LimitResult, ApiError>;

    /// Sets and reports the alternative limits, which count in place of the daemon's own while they are on. Durable
    /// before it is acknowledged.
    #[method(name = "alt")]
    async fn alt(&self, params: AltParams) -> Result<AltResult, ApiError>;

    /// Chooses which files of a torrent are wanted, and lists them. What comes of unwanted files along with their
    /// neighbours' pieces is kept in a hidden file beside them.
    #[method(name = "files")]
    async fn files(&self, params: FilesParams) -> Result<FilesResult, ApiError>;

    /// Changes and lists the trackers of a torrent. Durable before it is acknowledged; new ones are announced to,
    /// removed ones hear that the torrent leaves. Over the read-only socket URLs end after the host.
    #[method(name = "trackers", with_extensions)]
    async fn trackers(&self, params: TrackersParams) -> Result<TrackersResult, ApiError>;

    /// Gives torrents labels or takes them away. Durable before it is acknowledged.
    #[method(name = "label")]
    async fn label(&self, params: LabelParams) -> Result<ActResult, ApiError>;

    /// Starts torrents; one that runs already is fine. One that reached a seeding goal goes on until its goals
    /// change.
    #[method(name = "start")]
    async fn start(&self, params: StartParams) -> Result<ActResult, ApiError>;

    /// Stops torrents; one that is stopped already is fine. Answers when they have stopped and what they stored
    /// is durable, so that their files can be copied then; or after 15 s, which it says: a disk may hang.
    #[method(name = "stop")]
    async fn stop(&self, params: SelectParams) -> Result<ActResult, ApiError>;

    /// Changes what torrents have of their own: priority, order of pieces, seeding goals, limits. Durable
    /// before it is acknowledged. When anything is wrong, an id included, nothing is changed.
    #[method(name = "set")]
    async fn set(&self, params: SetParams) -> Result<ActResult, ApiError>;

    /// Changes the order in which torrents wait. Durable before it is acknowledged. When an id is wrong,
    /// nothing is changed.
    #[method(name = "queue")]
    async fn queue(&self, params: QueueParams) -> Result<ActResult, ApiError>;

    /// Brings torrents' files to another folder, or calls that off. Returns when that is decided and
    /// durable; then the state is `moving`, or `queued` until other work on the disks is done. Refused
    /// where it can't succeed: no room (`disk_full`), something else in the way (`conflict`). A move that
    /// fails later leaves the files where they were, and the torrent's `error` says why. A torrent that is in
    /// `[storage] incomplete_folder` and not complete stays there, and goes to this folder in the end.
    #[method(name = "move")]
    async fn relocate(&self, params: MoveParams) -> Result<ActResult, ApiError>;

    /// Gives a file or folder of a torrent another path in its folder; that of the torrent's only file or
    /// own folder renames the torrent, too. Returns when it is done and durable. Kind `no_match` when
    /// nothing of the torrent has the path, `conflict` when something else has the new one, on disk, in
    /// the torrent or in another one; then nothing has changed.
    #[method(name = "rename")]
    async fn rename(&self, params: RenameParams) -> Result<RenameResult, ApiError>;

    /// Hashes what is on disk anew. Returns when the checks are scheduled. A torrent whose mount, folder or
    /// files are missing is not hashed but waits for them, unless it is to start over.
    #[method(name = "verify")]
    async fn verify(&self, params: VerifyParams) -> Result<ActResult, ApiError>;

    /// Asks the trackers for peers now, as far as their minimum intervals allow.
    #[method(name = "announce")]
    async fn announce(&self, params: SelectParams) -> Result<ActResult, ApiError>;

    /// Asks the trackers how large the swarms are, whether or not the torrents run. Answers within 20 s; trackers that
    /// didn't by then have an error that says so.
    #[method(name = "scrape")]
    async fn scrape(&self, params: SelectParams) -> Result<ScrapeResult, ApiError>;

    /// Returns when the torrent reaches the goal. Fails with kind `timeout` when it doesn't in
    /// time, and with the torrent's own trouble as soon as it is in state `error`, or complete and unable to get
    /// to its final folder.
    #[method(name = "wait")]
    async fn wait(&self, params: WaitParams) -> Result<WaitResult, ApiError>;

    /// The settings in force and where each comes from; with `check`, the faults of the file.
    #[method(name = "config")]
    async fn config(&self, params: ConfigParams) -> Result<ConfigResult, ApiError>;

    /// Takes back what was set over the socket, in this run or before, so that the command line, the environment,
    /// the file or the default say what counts. Durable before it is acknowledged. When a key is wrong, nothing is
    /// changed.
    #[method(name = "config_reset")]
    async fn config_reset(&self, params: ResetParams) -> Result<ResetResult, ApiError>;

    /// Reads the configuration again: all of it is applied, or nothing. Kind `bad_config` names
    /// file, line, key and what is allowed.
    #[method(name = "reload")]
    async fn reload(&self, params: ReloadParams) -> Result<ReloadResult, ApiError>;

    /// Makes a backup of the whole session, of one moment, to be fetched by `read_backup`.
    #[method(name = "backup")]
    async fn backup(&self, params: BackupParams) -> Result<BackupResult, ApiError>;

    /// A part of a backup. Kind `no_match` when it is kept no longer.
    #[method(name = "read_backup")]
    async fn read_backup(&self, params: ReadBackupParams) -> Result<ReadBackupResult, ApiError>;

    /// Takes a part of a backup that is to be restored.
    #[method(name = "write_backup")]
    async fn write_backup(&self, params: WriteBackupParams) -> Result<WriteBackupResult, ApiError>;

    /// Puts the session of a backup in place of the present one. Checks all of it first: kind
    /// `bad_backup` says what is wrong with it, and nothing has changed. Then the daemon stops in
    /// order, and its next start, whenever that is, takes up the restored session.
    #[method(name = "restore")]
    async fn restore(&self, params: RestoreParams) -> Result<RestoreResult, ApiError>;

    /// Changes and shows what is logged. A change lasts until the daemon restarts.
    #[method(name = "log")]
    async fn log(&self, params: LogParams) -> Result<LogResult, ApiError>;

    /// What the daemon finds of itself and the machine, as its user and in its namespaces.
    #[method(name = "doctor")]
    async fn doctor(&self, params: DoctorParams) -> Result<DoctorResult, ApiError>;

    /// Begins an orderly shutdown and returns at once; the socket disappears at its end.
    #[method(name = "quit", with_extensions)]
    async fn quit(&self, params: QuitParams) -> Result<QuitResult, ApiError>;

    /// The OpenRPC document of this API. It has every method with the JSON Schemas of its parameters and its
    /// result, for programs that make clients, or show or check calls.
    #[method(name = "rpc.discover")]
    async fn discover(&self, params: DiscoverParams) -> Result<OpenRpc, ApiError>;

    /// Tells of torrents from now on, over a WebSocket: first the full list, then what changed, at most once a
    /// second.
    #[subscription(name = "subscribe" => "changes", unsubscribe = "unsubscribe", item = ListResult)]
    async fn subscribe_changes(&self, params: ListParams) -> SubscriptionResult;
}
