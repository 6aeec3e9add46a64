//! The command line of `wgod`: what it takes, and the layer of settings it amounts to.
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Parser;

use crate::config::{KeyId, Layer, Origin, Problem, Problems, Raw};

const EXAMPLES: &str = "\
Examples:
  wgod
  wgod --torrent debian.iso.torrent --folder /srv/downloads
  wgod --torrent 'magnet:?xt=urn:btih:...' --up-limit 500 --down-limit '20 MB/s'
  wgod --print-config > /etc/wgod/wgod.toml
  wgod --config /etc/wgod/wgod.toml --check-config
  wgod --restore wgod.backup       # while no wgod runs; otherwise: wgoctl restore

Every setting of the configuration can also be given in the environment, limits.up as
WGOD_LIMITS_UP. The command line wins over the environment, that over what wgoctl has set,
that over the file.

Exit codes:
  0  stopped as asked, or the configuration is in order
  1  failed
  2  wrong arguments or configuration
  75 stopped to take up a backup that wgoctl restored: start it again";

/// The BitTorrent daemon for servers, seedboxes and NAS.
///
/// Runs in the foreground until SIGINT or SIGTERM; SIGHUP reads the configuration again. wgoctl drives
/// it.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "wgod", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// The configuration to read, instead of wgod.toml in the usual place
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The control socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Where the daemon keeps its database
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Where torrents go that are added without a folder
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,

    /// A local address to listen on and connect from; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub ip: Vec<IpAddr>,

    /// The port peers connect to; 0 takes any free one
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,

    /// Upload at most this much: a number of KB/s (1000 bytes), or with a unit; 0 is no limit
    #[arg(long, value_name = "KB/s", allow_hyphen_values = true, value_parser = |text: &str| valid("limits.up", text))]
    pub up_limit: Option<String>,

    /// Download at most this much
    #[arg(long, value_name = "KB/s", allow_hyphen_values = true, value_parser = |text: &str| valid("limits.down", text))]
    pub down_limit: Option<String>,

    /// Processors to use at most; 0 is all
    #[arg(long, value_name = "N", value_parser = |text: &str| valid("storage.procs", text))]
    pub procs: Option<String>,

    /// Torrents to add, unless they are there already; may be repeated
    #[arg(long, value_name = "FILE|MAGNET", num_args = 1..)]
    pub torrent: Vec<TorrentSource>,

    /// Put the session of a backup in place of the present one, which is kept, and exit
    #[arg(long, value_name = "FILE", conflicts_with = "torrent")]
    pub restore: Option<PathBuf>,

    /// Check the configuration and exit
    #[arg(long)]
    pub check_config: bool,

    /// Print every setting with its default and exit
    #[arg(long)]
    pub print_config: bool,

    /// Print a page of the manual and exit: wgod --print-man | man -l -
    #[arg(long, value_name = "PAGE", value_enum, num_args = 0..=1, default_missing_value = "wgod")]
    pub print_man: Option<ManualPage>,

    /// Run hooks for the daemon that started it
    #[arg(long, hide = true)]
    pub hook_helper: bool,
}

/// A page of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ManualPage {
    /// The program
    Wgod,
    /// Its settings
    #[value(name = "wgod.toml")]
    WgodToml,
}

/// A torrent named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorrentSource {
    /// A .torrent file.
    File(PathBuf),
    /// A magnet link, not yet parsed.
    Magnet(String),
}

impl FromStr for TorrentSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<TorrentSource, &'static str> {
        // Schemes are case-insensitive (RFC 3986, section 3.1).
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            _ if text.is_empty() => Err("a file or a magnet link is needed"),
            Some("magnet") => Ok(TorrentSource::Magnet(text.to_owned())),
            Some("http" | "https") => Err("wgod fetches no URLs: start it, and use `wgoctl add URL`"),
            _ => Ok(TorrentSource::File(text.into())),
        }
    }
}

/// A value that its key takes, as it was written.
fn valid(key: &str, text: &str) -> Result<String, String> {
    let Some(id) = KeyId::find(key) else { return Err(format!("no setting {key}")) };
    let taken = Layer::default().insert(id, Raw::Bare(text.to_owned()), Origin::CommandLine("argument"));
    taken.map(|()| text.to_owned()).map_err(|problem| problem.fault.to_string())
}

impl Cli {
    /// The settings that the command line gives. Relative paths are resolved against `here`.
    pub fn layer(&self, here: &Path) -> Result<Layer, Problems> {
        let path = |given: &Option<PathBuf>| {
            given.as_ref().map(|path| Raw::Text(here.join(path).to_string_lossy().into_owned()))
        };
        let bare = |given: &Option<String>| given.clone().map(Raw::Bare);
        let ips = self.ip.iter().map(|ip| Raw::Text(ip.to_string())).collect();
        let given = [
            ("--socket", "daemon.socket", path(&self.socket)),
            ("--state-dir", "daemon.state_dir", path(&self.state_dir)),
            ("--folder", "storage.folder", path(&self.folder)),
            ("--ip", "network.ip", (!self.ip.is_empty()).then_some(Raw::List(ips))),
            ("--port", "network.port", self.port.map(|port| Raw::Int(port.into()))),
            ("--up-limit", "limits.up", bare(&self.up_limit)),
            ("--down-limit", "limits.down", bare(&self.down_limit)),
            ("--procs", "storage.procs", bare(&self.procs)),
        ];
        let (mut layer, mut problems) = (Layer::default(), Vec::<Problem>::new());
        for (flag, key, raw) in given {
            if let (Some(id), Some(raw)) = (KeyId::find(key), raw) {
                problems.extend(layer.insert(id, raw, Origin::CommandLine(flag)).err());
            }
        }
        if problems.is_empty() { Ok(layer) } else { Err(Problems(problems)) }
    }

    /// The settings that the command line gives, relative paths resolved against the working directory.
    pub fn layer_here(&self) -> io::Result<Result<Layer, Problems>> {
        std::env::current_dir().map(|here| self.layer(&here))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;
    use crate::config::{Layers, Rate, resolve};

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["wgod"].iter().chain(args))
    }

    #[test]
    fn the_definition_is_sound_and_the_version_comes_last() {
        Cli::command().debug_assert();
        let version = parse(&["--version"]).unwrap_err();
        assert_eq!(version.kind(), ErrorKind::DisplayVersion);
        assert_eq!(version.to_string(), format!("wgod {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn flags_become_settings_with_absolute_paths() {
        let args = "--folder dl --state-dir ../s --ip 10.0.0.1 --ip ::1 --port 7000 --up-limit 20 --procs 1";
        let cli = parse(&args.split(' ').collect::<Vec<_>>()).unwrap();
        let layers = Layers { command_line: cli.layer(Path::new("/w/x")).unwrap(), ..Layers::default() };
        let resolved = resolve(&layers).unwrap();
        let config = &resolved.config;
        assert_eq!(config.storage.folder.as_deref(), Some(Path::new("/w/x/dl")));
        assert_eq!(config.daemon.state_dir.as_deref(), Some(Path::new("/w/x/../s")));
        assert_eq!((config.network.ip.len(), config.network.port), (2, 7000));
        assert_eq!((config.limits.up, config.storage.procs), (Rate(20_000), 1));
        assert_eq!(resolved.origin(&KeyId::find("limits.up").unwrap()).to_string(), "--up-limit");
    }

    #[test]
    fn torrents_are_files_or_magnets_and_may_be_given_together() {
        let cli = parse(&["--torrent", "a.torrent", "MAGNET:?xt=x", "--torrent", "b:c"]).unwrap();
        let want = [
            TorrentSource::File("a.torrent".into()),
            TorrentSource::Magnet("MAGNET:?xt=x".into()),
            TorrentSource::File("b:c".into()),
        ];
        assert_eq!(cli.torrent, want);
        assert!(parse(&["--torrent", "https://example.org/a.torrent"]).is_err());
    }

    #[test]
    fn a_wrong_value_says_what_is_allowed() {
        let err = parse(&["--up-limit", "fast"]).unwrap_err();
        assert_eq!(err.exit_code(), 2);
        assert!(err.to_string().contains("allowed is a rate such as"), "{err}");
        let negative = parse(&["--down-limit", "-5"]).unwrap_err();
        assert_eq!(negative.kind(), ErrorKind::ValueValidation, "{negative}");
        assert!(parse(&["--procs", "5000"]).is_err());
    }
}
