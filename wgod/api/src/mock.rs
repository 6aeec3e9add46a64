//! A daemon with canned torrents, for the tests of both ends: real transport, no engine.
//!
//! Torrents change state at once and nothing is downloaded. Some ids and sources misbehave on
//! purpose; see the constants.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::result::{
    Acted, AltResult, Ban, File, IpFilter, Origin, ResetSetting, Scraped, ScrapedTracker, Setting, Tracker,
};
use crate::rpc::ApiServer;
use crate::server::{Access, Caller, Limits, serve};
use crate::torrent::{FilePriority, RateLimits, State, Torrent, Trouble};
use crate::{ids, socket};

mod api;
mod seen;
pub use api::MockApi;

/// `show` of this id panics.
pub const PANICS: &str = "panics";
/// `show` of this id never returns, and neither does `add` of it as a URI.
pub const HANGS: &str = "hangs";
/// `add` of this URI fails as a bad torrent.
pub const BAD_URI: &str = "magnet:?xt=bad";
/// The bytes of the mock's backup, and of all that it restores.
pub const BACKUP: &[u8] = b"this is what the mock takes for a backup of everything";
/// The pid that the mock claims to have: above what Linux gives to any process.
pub const PID: u32 = 4_242_424;

/// What the mock knows, shared by its connections and the test.
#[derive(Debug)]
pub struct Mock {
    inner: Mutex<Inner>,
    /// Counts changes, for subscriptions.
    version: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    torrents: Vec<Torrent>,
    removed: Vec<String>,
    limits: RateLimits,
    labels: BTreeMap<String, RateLimits>,
    alternative: AltResult,
    upload: Vec<u8>,
    calls: Vec<(String, serde_json::Value)>,
    caller: Option<Caller>,
}

impl Mock {
    fn new(torrents: Vec<Torrent>) -> Arc<Self> {
        let inner = Mutex::new(Inner { torrents, ..Inner::default() });
        Arc::new(Self { inner, version: watch::Sender::new(1), stop: watch::Sender::new(false) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The torrents as they are now.
    pub fn torrents(&self) -> Vec<Torrent> {
        self.lock().torrents.clone()
    }

    /// Changes the torrents, and tells subscribers.
    pub fn change(&self, change: impl FnOnce(&mut Vec<Torrent>)) {
        change(&mut self.lock().torrents);
        self.version.send_modify(|version| *version += 1);
    }

    /// Every call so far: method and parameters, defaults filled in.
    pub fn calls(&self) -> Vec<(String, serde_json::Value)> {
        self.lock().calls.clone()
    }

    /// Who made the last `add`.
    pub fn caller(&self) -> Option<Caller> {
        self.lock().caller
    }

    /// Makes the daemon end, as `quit` does.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// A canned torrent: `number` makes its hash, name and figures.
pub fn torrent(number: u8, state: State) -> Torrent {
    let complete = state == State::Seeding;
    let size = 1_000_000 * u64::from(number);
    Torrent {
        info_hash: format!("{number:02x}").repeat(20),
        name: format!("torrent {number}"),
        state,
        error: (state == State::Error).then(|| "no space left on device".to_owned()),
        error_kind: (state == State::Error).then_some(Trouble::DiskFull),
        size_bytes: (state != State::Metadata).then_some(size),
        done_bytes: if complete { size } else { size / 2 },
        progress: if complete { 1.0 } else { 0.5 },
        down_rate: if state == State::Downloading { 2_500_000 } else { 0 },
        up_rate: if complete { 120_000 } else { 0 },
        eta_secs: (state == State::Downloading).then_some(3725),
        ratio: Some(1.25),
        peers: 12,
        seeds: 3,
        folder: "/srv/torrents".to_owned(),
        labels: vec!["linux".to_owned()],
        added_at: 1_700_000_000 + u64::from(number),
        completed_at: complete.then_some(1_700_000_100),
        ..Torrent::default()
    }
}

fn settings() -> Vec<Setting> {
    vec![
        Setting {
            key: "limits.up".into(),
            value: "0 B/s".into(),
            default: "0 B/s".into(),
            ..Setting::default()
        },
        Setting {
            key: "network.port".into(),
            value: 7000.into(),
            default: 6868.into(),
            origin: Origin::File,
            restart: true,
            shadowed: None,
        },
    ]
}

fn reset_settings() -> Vec<ResetSetting> {
    let of = |key: &str, was: &str, value: &str, origin| ResetSetting {
        key: key.into(),
        taken_back: true,
        was: was.into(),
        value: value.into(),
        origin,
        next_start: None,
        unknown: false,
    };
    let port = of("network.port", "7000", "7000", Origin::Default);
    vec![
        of("limits.up", "500 KB/s", "1 MB/s", Origin::File),
        ResetSetting { next_start: Some(6868.into()), ..port },
        of("limits.down", "2 MB/s", "2 MB/s", Origin::CommandLine),
        ResetSetting { taken_back: false, ..of("limits.alt", "auto", "auto", Origin::Default) },
        ResetSetting {
            key: "limits.sideways".into(),
            taken_back: true,
            was: 1.into(),
            unknown: true,
            ..ResetSetting::default()
        },
    ]
}

fn files(torrent: &Torrent) -> Vec<File> {
    let size_bytes = torrent.size_bytes.unwrap_or(0);
    let done_bytes = Some(torrent.done_bytes);
    let priority = Some(FilePriority::Normal);
    let path = format!("{}/a.iso", torrent.name);
    vec![File { path, size_bytes, done_bytes, priority, ..File::default() }]
}

fn bans() -> Vec<Ban> {
    vec![Ban {
        address: "198.51.100.7".to_owned(),
        reason: "it sent bad pieces".to_owned(),
        times: 1,
        banned_at: 1_700_000_000,
        until: 1_700_086_400,
    }]
}

fn ip_filter() -> IpFilter {
    IpFilter { files: 1, ranges: 231_604, bad_lines: 2, loaded_at: 1_700_000_000, blocked: 17 }
}

fn trackers() -> Vec<Tracker> {
    let url = "http://tracker.example/announce".to_owned();
    vec![Tracker { url, status: Some("ok".into()), seeds: Some(5), ..Tracker::default() }]
}

/// What the tracker of all torrents says of one that a call named.
fn scraped(acted: Acted) -> Scraped {
    let trackers = match acted.info_hash {
        None => Vec::new(),
        Some(_) => trackers()
            .into_iter()
            .map(|tracker| ScrapedTracker {
                url: tracker.url,
                seeds: tracker.seeds,
                leeches: Some(0),
                ..ScrapedTracker::default()
            })
            .collect(),
    };
    let Acted { id, info_hash, name, error, kind, .. } = acted;
    Scraped { id, info_hash, name, trackers, error, kind }
}

/// A mock daemon in a thread of its own, on a socket in a folder of its own.
#[derive(Debug)]
pub struct MockDaemon {
    mock: Arc<Mock>,
    folder: tempfile::TempDir,
    thread: Option<JoinHandle<()>>,
}

impl MockDaemon {
    /// Starts one with these torrents and default limits.
    ///
    /// # Panics
    /// When the machine has no room for a socket and a thread.
    pub fn start(torrents: Vec<Torrent>) -> MockDaemon {
        Self::start_with(torrents, Limits { grace: Duration::from_millis(200), ..Limits::default() })
    }

    /// Starts one with these torrents and limits.
    ///
    /// # Panics
    /// When the machine has no room for a socket and a thread.
    pub fn start_with(torrents: Vec<Torrent>, limits: Limits) -> MockDaemon {
        Self::start_as(Access::Full, torrents, limits)
    }

    /// Starts one whose socket allows this.
    ///
    /// # Panics
    /// When the machine has no room for a socket and a thread.
    pub fn start_as(access: Access, torrents: Vec<Torrent>, limits: Limits) -> MockDaemon {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (mock, thread) = begin(folder.path(), access, torrents, limits);
        MockDaemon { mock, folder, thread: Some(thread) }
    }

    /// Ends it if it has not ended yet, and starts another on the same socket.
    ///
    /// # Panics
    /// When the machine has no room for a socket and a thread.
    pub fn restart(&mut self, torrents: Vec<Torrent>) {
        self.end();
        let limits = Limits { grace: Duration::from_millis(200), ..Limits::default() };
        let (mock, thread) = begin(self.folder.path(), Access::Full, torrents, limits);
        (self.mock, self.thread) = (mock, Some(thread));
    }

    fn end(&mut self) {
        self.mock.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been printed and fails the test by what it didn't answer.
            let _ = thread.join();
        }
    }

    /// Names of all methods of the API.
    pub fn method_names() -> BTreeSet<&'static str> {
        MockApi(Mock::new(Vec::new())).into_rpc().method_names().collect()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// A folder of its own, for whatever a test writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it knows.
    pub fn mock(&self) -> &Mock {
        &self.mock
    }
}

impl Drop for MockDaemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// Serves these torrents in a thread of its own, on the socket in `folder`.
fn begin(
    folder: &Path,
    access: Access,
    torrents: Vec<Torrent>,
    limits: Limits,
) -> (Arc<Mock>, JoinHandle<()>) {
    let (listener, file) =
        socket::bind(&folder.join("s"), socket::MODE).expect("the folder is new and the path short");
    let mock = Mock::new(torrents);
    let shared = Arc::clone(&mock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime takes a few descriptors only");
    let thread = std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener =
                tokio::net::UnixListener::from_std(listener).expect("the socket is new and does not block");
            let mut stop = shared.stop.subscribe();
            let stopped = async move {
                // The sender lives in `shared`, which outlives this.
                let _ = stop.wait_for(|stop| *stop).await;
            };
            serve(listener, access, MockApi(Arc::clone(&shared)), limits, stopped).await;
            drop(file);
        });
    });
    (mock, thread)
}

/// The torrent that `id` names.
fn find(torrents: &[Torrent], id: &str) -> Result<usize, crate::ApiError> {
    let mut matcher = ids::Matcher::new(id);
    for (i, torrent) in torrents.iter().enumerate() {
        matcher.see(i, &torrent.info_hash, torrent.info_hash_v2.as_deref(), &torrent.name);
    }
    matcher.finish().one(id)
}
