//! Where the daemon keeps things: as the configuration says, else where systemd, root or a user
//! expects them.
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use wgo_api::socket::looking_twin;

use super::{AllowedFolders, Config, WatchFolder};

/// The file name of the control socket.
const SOCKET: &str = "wgod.sock";

/// The file name of the configuration.
const CONFIG: &str = "wgod.toml";

/// What of the surroundings decides on places; an argument, so that the decision can be tested.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// $STATE_DIRECTORY: systemd made it for us. It may list several, separated by colons.
    pub state_directory: Option<OsString>,
    /// $RUNTIME_DIRECTORY, likewise.
    pub runtime_directory: Option<OsString>,
    /// $CONFIGURATION_DIRECTORY, likewise.
    pub configuration_directory: Option<OsString>,
    /// The read-only socket that belongs into $RUNTIME_DIRECTORY's companion, if that folder is there.
    pub looking_socket: Option<PathBuf>,
    /// Whether the effective user is root.
    pub root: bool,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// ~/.local/state/wgod, or what XDG says instead.
    pub user_state: Option<PathBuf>,
    /// $XDG_RUNTIME_DIR/wgod.
    pub user_runtime: Option<PathBuf>,
    /// ~/.config/wgod, or what XDG says instead.
    pub user_config: Option<PathBuf>,
    /// The Downloads folder that the user's desktop names.
    pub user_downloads: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn observe() -> Surroundings {
        let project = directories::ProjectDirs::from("", "", "wgod");
        let user = directories::UserDirs::new();
        let of_project = |dir: fn(&directories::ProjectDirs) -> Option<&Path>| {
            project.as_ref().and_then(dir).map(Path::to_owned)
        };
        let runtime_directory = std::env::var_os("RUNTIME_DIRECTORY");
        let twin = first(runtime_directory.as_ref()).and_then(|dir| looking_twin(&dir.join(SOCKET)));
        Surroundings {
            state_directory: std::env::var_os("STATE_DIRECTORY"),
            looking_socket: twin.filter(|twin| twin.parent().is_some_and(Path::is_dir)),
            runtime_directory,
            configuration_directory: std::env::var_os("CONFIGURATION_DIRECTORY"),
            root: rustix::process::geteuid().is_root(),
            home: user.as_ref().map(|user| user.home_dir().to_owned()),
            user_state: of_project(|p| p.state_dir()),
            user_runtime: of_project(|p| p.runtime_dir()),
            user_config: of_project(|p| Some(p.config_dir())),
            user_downloads: user.as_ref().and_then(|user| user.download_dir()).map(Path::to_owned),
        }
    }

    /// The configuration that is read when the command line names none. It need not exist.
    pub fn config_file(&self) -> Option<PathBuf> {
        let dir = first(self.configuration_directory.as_ref())
            .or_else(|| self.root.then(|| "/etc/wgod".into()))
            .or_else(|| self.user_config.clone())?;
        Some(dir.join(CONFIG))
    }

    fn state_dir(&self) -> Option<PathBuf> {
        first(self.state_directory.as_ref())
            .or_else(|| self.root.then(|| "/var/lib/wgod".into()))
            .or_else(|| self.user_state.clone())
    }

    fn runtime_dir(&self) -> Option<PathBuf> {
        first(self.runtime_directory.as_ref())
            .or_else(|| self.root.then(|| "/run/wgod".into()))
            .or_else(|| self.user_runtime.clone())
    }

    /// A service's downloads don't belong into anybody's home.
    fn downloads(&self) -> Option<PathBuf> {
        let service = self.state_directory.is_some() || self.root;
        if service { None } else { self.user_downloads.clone() }
    }

    /// A path as the configuration gives it, `~/` replaced.
    pub fn expand(&self, path: &Path) -> Result<PathBuf, NoPlace> {
        match path.strip_prefix("~") {
            Ok(rest) => self.home.as_ref().map(|home| home.join(rest)).ok_or(NoPlace::Home(path.to_owned())),
            Err(_) => Ok(path.to_owned()),
        }
    }
}

/// Where things are; all absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The database and what goes with it.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// The one for lookers, if there is to be one.
    pub socket_ro: Option<PathBuf>,
    /// Where torrents go that are added without a folder.
    pub folder: PathBuf,
    /// The only folders that torrents may be put into; `None` is any.
    pub allowed: Option<Vec<PathBuf>>,
    /// The folders whose .torrent files are added, with absolute paths.
    pub watched: Vec<WatchFolder>,
    /// The lists of the IP filter.
    pub ip_filter: Vec<PathBuf>,
}

/// A place that neither the configuration nor the surroundings give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// No state directory.
    #[error("no place for the state: there is no home directory; set daemon.state_dir or --state-dir")]
    State,
    /// `~/` without a home.
    #[error("{}: there is no home directory to replace ~ by; write the path out", .0.display())]
    Home(PathBuf),
    /// Unix sockets have short names.
    #[error("{}: a Unix socket's path has at most {MAX_SOCKET} bytes; set {key} to a shorter one", path.display())]
    SocketTooLong {
        /// The setting.
        key: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// What changes a daemon and what doesn't would come by the same way.
    #[error("{}: daemon.socket and daemon.socket_ro are the same; give the read-only one another path", .0.display())]
    SameSocket(PathBuf),
}

/// Bytes of a Unix socket's path on Linux, its terminator left out (`sun_path`, unix(7)).
const MAX_SOCKET: usize = 107;

impl Places {
    /// Decides on all places.
    pub fn decide(config: &Config, around: &Surroundings) -> Result<Places, NoPlace> {
        let state_dir = match &config.daemon.state_dir {
            Some(dir) => around.expand(dir)?,
            None => around.state_dir().ok_or(NoPlace::State)?,
        };
        let socket = match &config.daemon.socket {
            Some(socket) => around.expand(socket)?,
            None => around.runtime_dir().unwrap_or_else(|| state_dir.clone()).join(SOCKET),
        };
        let folder = match &config.storage.folder {
            Some(folder) => around.expand(folder)?,
            None => around.downloads().unwrap_or_else(|| state_dir.join("downloads")),
        };
        let watched = watched(config, around)?;
        let of_labels = config.labels.values().filter_map(|label| label.folder.as_deref());
        let of_labels: Vec<PathBuf> = of_labels.map(|path| around.expand(path)).collect::<Result<_, _>>()?;
        let allowed = allowed(config, around, &folder, &watched, &of_labels)?;
        let socket_ro = match &config.daemon.socket_ro {
            Some(socket) => Some(around.expand(socket)?),
            None => around.looking_socket.clone(),
        };
        for (key, path) in [("daemon.socket", Some(&socket)), ("daemon.socket_ro", socket_ro.as_ref())] {
            if let Some(path) = path.filter(|path| path.as_os_str().len() > MAX_SOCKET) {
                return Err(NoPlace::SocketTooLong { key, path: path.clone() });
            }
        }
        if socket_ro.as_ref() == Some(&socket) {
            return Err(NoPlace::SameSocket(socket));
        }
        let lists = config.network.ip_filter.iter();
        let ip_filter = lists.map(|path| around.expand(path)).collect::<Result<_, _>>()?;
        Ok(Places { state_dir, socket, socket_ro, folder, allowed, watched, ip_filter })
    }
}

/// The folders that torrents may be put into. A service is confined to what it was given, unless it is told
/// otherwise; who starts wgod by hand says with each torrent where it goes.
fn allowed(
    config: &Config,
    around: &Surroundings,
    folder: &Path,
    watched: &[WatchFolder],
    of_labels: &[PathBuf],
) -> Result<Option<Vec<PathBuf>>, NoPlace> {
    let expand = |paths: &[PathBuf]| -> Result<Vec<PathBuf>, NoPlace> {
        paths.iter().map(|path| around.expand(path)).collect()
    };
    match &config.storage.allowed_folders {
        AllowedFolders::Any => Ok(None),
        AllowedFolders::Only(folders) => expand(folders).map(Some),
        AllowedFolders::Auto if around.state_directory.is_none() => Ok(None),
        AllowedFolders::Auto => {
            let mut named = vec![folder.to_owned()];
            named.extend(config.storage.incomplete_folder.clone());
            let mut named = expand(&named)?;
            named.extend(watched.iter().map(|rule| rule.path.clone()));
            let targets = watched.iter().filter_map(|rule| rule.folder.clone());
            // Rules and labels may share one.
            for target in targets.chain(of_labels.iter().cloned()) {
                if !named.contains(&target) {
                    named.push(target);
                }
            }
            Ok(Some(named))
        }
    }
}

/// The watched folders, `~/` replaced.
fn watched(config: &Config, around: &Surroundings) -> Result<Vec<WatchFolder>, NoPlace> {
    let expand = |rule: &WatchFolder| {
        let folder = rule.folder.as_deref().map(|folder| around.expand(folder)).transpose()?;
        Ok(WatchFolder { path: around.expand(&rule.path)?, folder, ..rule.clone() })
    };
    config.watch.folders.0.iter().map(expand).collect()
}

/// The first of systemd's colon-separated directories.
fn first(directories: Option<&OsString>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = directories?.as_bytes().split(|b| *b == b':').next()?;
    (!bytes.is_empty()).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Surroundings {
        Surroundings {
            home: Some("/home/u".into()),
            user_state: Some("/home/u/.local/state/wgod".into()),
            user_runtime: Some("/run/user/1000/wgod".into()),
            user_config: Some("/home/u/.config/wgod".into()),
            user_downloads: Some("/home/u/Downloads".into()),
            ..Surroundings::default()
        }
    }

    fn decide(around: &Surroundings) -> [String; 4] {
        let places = Places::decide(&Config::default(), around).unwrap();
        let config = around.config_file().unwrap();
        [places.state_dir, places.socket, places.folder, config].map(|path| path.display().to_string())
    }

    #[test]
    fn a_user_root_and_systemd_each_get_their_places() {
        let root = Surroundings { root: true, ..user() };
        let systemd = Surroundings {
            state_directory: Some("/var/lib/w:/var/lib/x".into()),
            runtime_directory: Some("/run/w".into()),
            configuration_directory: Some("/etc/w".into()),
            ..user()
        };
        let headless = Surroundings { user_downloads: None, user_runtime: None, ..user() };
        let cases = [
            (
                user(),
                "/home/u/.local/state/wgod",
                "/run/user/1000/wgod/wgod.sock",
                "/home/u/Downloads",
                "/home/u/.config/wgod/wgod.toml",
            ),
            (root, "/var/lib/wgod", "/run/wgod/wgod.sock", "/var/lib/wgod/downloads", "/etc/wgod/wgod.toml"),
            (systemd, "/var/lib/w", "/run/w/wgod.sock", "/var/lib/w/downloads", "/etc/w/wgod.toml"),
            (
                headless,
                "/home/u/.local/state/wgod",
                "/home/u/.local/state/wgod/wgod.sock",
                "/home/u/.local/state/wgod/downloads",
                "/home/u/.config/wgod/wgod.toml",
            ),
        ];
        for (around, state, socket, folder, config) in cases {
            assert_eq!(decide(&around), [state, socket, folder, config]);
        }
    }

    #[test]
    fn what_is_configured_wins_and_a_tilde_is_the_home() {
        let mut config = Config::default();
        config.daemon.state_dir = Some("/srv/state".into());
        config.storage.folder = Some("~/dl".into());
        let places = Places::decide(&config, &user()).unwrap();
        assert_eq!(places.state_dir, Path::new("/srv/state"));
        assert_eq!(places.folder, Path::new("/home/u/dl"));
        assert_eq!(places.socket_ro, None);
        let beside = Surroundings { looking_socket: Some("/run/w-ro/wgod-ro.sock".into()), ..user() };
        let looking = |config: &Config| Places::decide(config, &beside).map(|places| places.socket_ro);
        assert_eq!(looking(&config), Ok(Some("/run/w-ro/wgod-ro.sock".into())));
        config.daemon.socket_ro = Some("~/ro".into());
        assert_eq!(looking(&config), Ok(Some("/home/u/ro".into())));
        config.daemon.socket = Some("/home/u/ro".into());
        assert_eq!(looking(&config), Err(NoPlace::SameSocket("/home/u/ro".into())));
        let homeless = Surroundings { home: None, ..user() };
        assert_eq!(Places::decide(&config, &homeless), Err(NoPlace::Home("~/dl".into())));
    }

    #[test]
    fn a_service_is_confined_to_its_folders_and_who_starts_it_by_hand_is_not() {
        let systemd = Surroundings { state_directory: Some("/var/lib/w".into()), ..user() };
        let with = |allowed, around: &Surroundings| {
            let mut config = Config::default();
            config.storage.allowed_folders = allowed;
            let tv = WatchFolder { folder: Some("~/tv".into()), ..WatchFolder::plain("/srv/tv") };
            config.watch.folders.0 =
                vec![WatchFolder::plain("~/watch"), tv.clone(), WatchFolder { path: "/srv/x".into(), ..tv }];
            config.storage.incomplete_folder = Some("/srv/begin".into());
            for (label, folder) in [("tv", "~/tv"), ("films", "/srv/films")] {
                config.labels.entry(label.into()).or_default().folder = Some(folder.into());
            }
            Places::decide(&config, around).unwrap().allowed
        };
        let only = || AllowedFolders::Only(vec!["/srv/a".into(), "~/b".into()]);
        let folders = |paths: &[&str]| Some(paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(with(AllowedFolders::Auto, &user()), None);
        assert_eq!(
            with(AllowedFolders::Auto, &systemd),
            folders(&[
                "/var/lib/w/downloads",
                "/srv/begin",
                "/home/u/watch",
                "/srv/tv",
                "/srv/x",
                "/home/u/tv",
                "/srv/films"
            ])
        );
        for around in [user(), systemd] {
            assert_eq!(with(AllowedFolders::Any, &around), None);
            assert_eq!(with(only(), &around), folders(&["/srv/a", "/home/u/b"]));
        }
    }

    #[test]
    fn without_a_home_the_state_directory_must_be_named() {
        let nowhere = Surroundings::default();
        assert_eq!(Places::decide(&Config::default(), &nowhere), Err(NoPlace::State));
        let mut config = Config::default();
        config.daemon.state_dir = Some("/s".into());
        assert_eq!(Places::decide(&config, &nowhere).unwrap().socket, Path::new("/s/wgod.sock"));
        config.daemon.state_dir = Some(format!("/{}", "s".repeat(107)).into());
        assert!(matches!(
            Places::decide(&config, &nowhere),
            Err(NoPlace::SocketTooLong { key: "daemon.socket", .. })
        ));
    }
}
