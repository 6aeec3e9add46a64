//! A real `wgod` in a folder of its own, driven over its control socket.
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use wgo_api::client::UnixHttpClient;
use wgo_api::params::{
    AddParams, LimitParams, ListParams, RemoveParams, SelectParams, ShowParams, Source, StartParams,
    StatusParams, VerifyParams,
};
use wgo_api::result::{AddStatus, Added, Daemon as Status, Pieces, ShowResult};
use wgo_api::{ApiClient, ApiError, State};

use crate::maker::Torrent;
use crate::net::Net;
use crate::process::{Process, User};
use crate::wait::{SOON, TRANSFER, until};
use crate::{binaries, wait};

/// An answer takes this long at most, on a busy machine.
const CALL: Duration = Duration::from_secs(30);

/// What is configured; the rest has its default.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Addresses to listen on and connect from.
    pub ips: Vec<IpAddr>,
    /// Further lines for the section `[network]`.
    pub network: String,
    /// Upload limit in bytes/s; 0 is none.
    pub up: u64,
    /// Download limit in bytes/s; 0 is none.
    pub down: u64,
    /// Further lines for the section `[limits]`.
    pub limits: String,
    /// Upload slots; `None` leaves it to the daemon.
    pub slots: Option<u32>,
    /// Lines for the section `[storage]`.
    pub storage: String,
    /// Shell commands that prepare a mount namespace for the daemon alone.
    pub mounts: Option<String>,
    /// Descriptors that the daemon may open; `None` leaves it as it is here.
    pub descriptors: Option<u32>,
    /// Environment variables beside those of the harness.
    pub env: Vec<(String, String)>,
    /// Lines for the section `[daemon]`.
    pub daemon: String,
    /// Lines for the section `[dht]`; with none the DHT is off, as most tests have nobody in it.
    pub dht: Option<String>,
    /// Further lines for `[discovery]`.
    pub discovery: String,
    /// Other sections, whole.
    pub sections: String,
    /// Arguments behind `--config FILE`.
    pub args: Vec<String>,
    /// Who runs it; `None`: who runs the test. Its folder belongs to that user and its group then, as a
    /// service's folder does.
    pub user: Option<User>,
}

/// A daemon, running or not. Its folder lives as long as this does, across restarts.
#[derive(Debug)]
pub struct Daemon {
    // Before the folder: it shows the log that is in there when the test failed.
    process: Option<Process>,
    home: TempDir,
    settings: Settings,
    runtime: tokio::runtime::Runtime,
    client: UnixHttpClient,
}

impl Daemon {
    /// Starts one on the first IPv4 address of `net`.
    pub fn start(net: &Net) -> Daemon {
        Daemon::with(Settings { ips: vec![net.home()], ..Settings::default() })
    }

    /// Starts one with `settings` and waits until it answers.
    pub fn with(settings: Settings) -> Daemon {
        let mut daemon = Daemon::prepare(settings);
        daemon.run();
        daemon
    }

    /// Writes its configuration without starting it.
    pub fn prepare(settings: Settings) -> Daemon {
        let home = tempfile::Builder::new().prefix("wgod-").tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = UnixHttpClient::new(home.path().join("s"), Some(CALL));
        fs::create_dir(home.path().join("downloads")).unwrap();
        let daemon = Daemon { home, settings, process: None, runtime, client };
        daemon.write_config();
        daemon.hand_over();
        daemon
    }

    /// Gives its folder to the user who runs it; members of the group may look in, others may not.
    fn hand_over(&self) {
        let Some(User { uid, gid, .. }) = self.settings.user else { return };
        let home = self.home.path();
        for path in [home.to_owned(), self.downloads(), self.config()] {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
        }
        fs::set_permissions(home, fs::Permissions::from_mode(0o750)).unwrap();
    }

    fn write_config(&self) {
        let (home, settings) = (self.home.path().display(), &self.settings);
        let ips: Vec<_> = settings.ips.iter().map(|ip| format!("\"{ip}\"")).collect();
        let slots = settings.slots.map(|slots| format!("[choke]\nslots = {slots}\n")).unwrap_or_default();
        let config = format!(
            "[daemon]\nsocket = \"{home}/s\"\nstate_dir = \"{home}/state\"\nlog = \"debug\"\n{daemon}\n\
            [storage]\nfolder = \"{home}/downloads\"\n{storage}\n\
            [network]\nip = [{ips}]\nport = 0\n{network}\n\
            [discovery]\ndht = {on}\n{discovery}\n[dht]\n{dht}\n\
            [limits]\nup = \"{up} B/s\"\ndown = \"{down} B/s\"\n{limits}\n{slots}\n{sections}",
            daemon = settings.daemon,
            on = settings.dht.is_some(),
            discovery = settings.discovery,
            dht = settings.dht.as_deref().unwrap_or_default(),
            limits = settings.limits,
            network = settings.network,
            sections = settings.sections,
            storage = settings.storage,
            ips = ips.join(", "),
            up = settings.up,
            down = settings.down,
        );
        fs::write(self.config(), config).unwrap();
    }

    /// Starts the process and waits until its socket answers.
    pub fn run(&mut self) {
        self.launch();
        until("the daemon answers", SOON, || {
            let process = self.process.as_mut().unwrap();
            if let Some(status) = process.ended() {
                panic!("the daemon ended with {status} instead of starting");
            }
            self.runtime.block_on(self.client.status(StatusParams::default())).ok()
        });
    }

    /// Starts the process and does not wait.
    pub fn launch(&mut self) {
        let (home, program) = (self.home.path().to_owned(), binaries::wgod());
        let settings = &self.settings;
        let descriptors = settings.descriptors.map(|n| format!("ulimit -n {n}\n")).unwrap_or_default();
        let script = settings.mounts.as_deref().unwrap_or_default();
        let script = format!("{script}\n{descriptors}exec \"$0\" \"$@\"");
        // The words before the program, which a shell may have to prepare something for.
        let words: &[&str] = match (&settings.mounts, settings.descriptors) {
            (Some(_), _) => &["unshare", "-m", "sh", "-ec", &script],
            (None, Some(_)) => &["sh", "-ec", &script],
            (None, None) => &[],
        };
        let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
        words.push(program.into());
        let first = PathBuf::from(words.remove(0));
        let user = settings.user.as_ref();
        let process = Process::spawn_as(user, "wgod", &first, &home.join("log"), |command| {
            command.args(words).arg("--config").arg(self.config()).args(&settings.args);
            command.env("HOME", &home).envs(settings.env.iter().map(|(name, value)| (name, value)));
        });
        self.process = Some(process);
    }

    /// Its folder, which holds socket, state, log and downloads.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where torrents go.
    pub fn downloads(&self) -> PathBuf {
        self.home.path().join("downloads")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("wgod.toml")
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("s")
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the daemon was started")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the daemon was started").pid()
    }

    /// Stops it as systemd would.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process().terminate(SOON)
    }

    /// Kills it as a power cut would.
    pub fn kill9(&mut self) {
        self.process().kill9();
    }

    /// Makes it read its configuration again.
    pub fn hangup(&mut self) {
        self.process().signal(Signal::HUP);
    }

    /// Runs one call of the API.
    pub fn call<T, E: Into<ApiError>>(
        &self,
        call: impl AsyncFnOnce(&UnixHttpClient) -> Result<T, E>,
    ) -> Result<T, ApiError> {
        self.runtime.block_on(call(&self.client)).map_err(Into::into)
    }

    /// Runs anything else that needs the asynchronous runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// `add` of one torrent, with `peers` to try.
    pub fn try_add(&self, torrent: &Torrent, folder: &Path, peers: &[SocketAddr]) -> Added {
        let params = AddParams {
            sources: vec![Source::of_file(&torrent.bytes)],
            folder: Some(folder.to_owned()),
            peers: peers.to_vec(),
            ..AddParams::default()
        };
        self.add_with(params)
    }

    /// `add` that must succeed; gives the id.
    #[track_caller]
    pub fn add(&self, torrent: &Torrent, folder: &Path, peers: &[SocketAddr]) -> String {
        let added = self.try_add(torrent, folder, peers);
        assert_eq!(added.status, AddStatus::Added, "{:?}", added.error);
        let id = added.info_hash.expect("an added torrent has a hash");
        assert_eq!(id, torrent.id());
        id
    }

    /// Adds a magnet link to `folder`.
    pub fn add_link(&self, link: &str, folder: &Path) -> Added {
        let params = AddParams {
            sources: vec![Source::Uri(link.to_owned())],
            folder: Some(folder.to_owned()),
            ..AddParams::default()
        };
        self.add_with(params)
    }

    /// Adds one torrent as `params` say.
    pub fn add_with(&self, params: AddParams) -> Added {
        let added = self.call(async |client| client.add(params).await).unwrap();
        let mut torrents = added.torrents;
        assert_eq!(torrents.len(), 1, "one source, one result");
        torrents.remove(0)
    }

    /// `show` in full.
    pub fn show(&self, id: &str) -> ShowResult {
        let params = ShowParams { id: id.to_owned(), files: true, peers: true, trackers: true, pieces: true };
        self.call(async |client| client.show(params).await).unwrap()
    }

    /// The torrent as `list` shows it.
    pub fn torrent(&self, id: &str) -> wgo_api::Torrent {
        let params = ShowParams { id: id.to_owned(), ..ShowParams::default() };
        self.call(async |client| client.show(params).await).unwrap().torrent.torrent
    }

    /// All torrents.
    pub fn list(&self) -> Vec<wgo_api::Torrent> {
        let list = self.call(async |client| client.list(ListParams::default()).await).unwrap();
        list.torrents.into_iter().map(|row| row.torrent).collect()
    }

    /// The daemon's own line of `status`.
    pub fn status(&self) -> Status {
        self.call(async |client| client.status(StatusParams::default()).await).unwrap().daemon
    }

    /// Removes a torrent, its files too if `data`.
    pub fn remove(&self, id: &str, data: bool) {
        let params = RemoveParams { ids: vec![id.to_owned()], all: false, data };
        let result = self.call(async |client| client.remove(params).await).unwrap();
        assert!(result.torrents.iter().all(|acted| acted.error.is_none()), "{result:?}");
    }

    /// What `verify` takes.
    pub fn check(id: &str) -> VerifyParams {
        VerifyParams { ids: vec![id.to_owned()], ..VerifyParams::default() }
    }

    /// What `start` takes.
    pub fn starting(id: &str) -> StartParams {
        StartParams { ids: vec![id.to_owned()], ..StartParams::default() }
    }

    /// What `stop` and `announce` take.
    pub fn select(id: &str) -> SelectParams {
        SelectParams { ids: vec![id.to_owned()], all: false }
    }

    /// Sets limits in bytes/s, of a torrent or of all.
    pub fn limit(&self, id: Option<&str>, up: Option<u64>, down: Option<u64>) {
        let params = LimitParams { up, down, id: id.map(str::to_owned), ..LimitParams::default() };
        self.call(async |client| client.limit(params).await).unwrap();
    }

    /// Where it listens, in the family of `like`.
    #[track_caller]
    pub fn listens(&self, like: IpAddr) -> SocketAddr {
        let listen = self.status().listen;
        let addrs = || listen.iter().map(|addr| addr.parse::<SocketAddr>().unwrap());
        let same = addrs().find(|addr| addr.ip() == like);
        let found = same.or_else(|| addrs().find(|addr| addr.is_ipv4() == like.is_ipv4()));
        let addr = found.unwrap_or_else(|| panic!("no listener like {like} among {listen:?}"));
        if addr.ip().is_unspecified() { SocketAddr::new(like, addr.port()) } else { addr }
    }

    /// The map of pieces that it says it has.
    pub fn pieces(&self, id: &str) -> Vec<bool> {
        let Pieces { count, have, .. } = self.show(id).pieces.expect("it was asked for");
        let bit = |at: u32| {
            let digit = have.as_bytes()[at as usize / 4] as char;
            digit.to_digit(16).unwrap() & 8 >> (at % 4) != 0
        };
        (0..count).map(bit).collect()
    }

    /// Waits until the torrent is in `state`.
    ///
    /// # Panics
    /// When it is in state `error` instead.
    #[track_caller]
    pub fn wait_state(&self, id: &str, state: State, limit: Duration) {
        let reached = wait::try_until(limit, || {
            let torrent = self.torrent(id);
            let failed = torrent.state == State::Error && state != State::Error;
            assert!(!failed, "{}: {:?}", torrent.name, torrent.error);
            (torrent.state == state).then_some(())
        });
        if reached.is_none() {
            let shown = self.show(id);
            panic!("not {state} after {limit:?}: {:#?}\n{:#?}", shown.torrent.torrent, shown.peers);
        }
    }

    /// Waits until the torrent is complete.
    #[track_caller]
    pub fn wait_seeding(&self, id: &str) {
        self.wait_state(id, State::Seeding, TRANSFER);
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Daemon {
    /// What it says of itself, for a test that failed.
    fn testify(&self) {
        let client = self.client.with_timeout(Some(Duration::from_secs(3)));
        let list = self.runtime.block_on(client.list(ListParams::default()));
        for row in list.into_iter().flat_map(|list| list.torrents) {
            let id = row.torrent.info_hash;
            let params = ShowParams { id, files: false, peers: true, trackers: true, pieces: false };
            eprintln!("{:#?}", self.runtime.block_on(client.show(params)));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let runs = self.process.as_mut().is_some_and(|process| process.ended().is_none());
        if std::thread::panicking() && runs {
            self.testify();
        }
    }
}
