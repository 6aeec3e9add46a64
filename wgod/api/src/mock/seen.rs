//! What the mock answers to `log` and `doctor`, and says of itself.
use super::{PID, ip_filter};
use crate::doctor::Finding;
use crate::params::LogParams;
use crate::result::{
    Confinement, Daemon, DoctorResult, LocalDiscovery, LogComponent, LogResult, Origin, Proxy, ProxyState,
};
use crate::torrent::{State, Torrent};

/// A torrent in trouble is bad; all else is well.
pub(super) fn doctor(torrents: &[Torrent]) -> DoctorResult {
    let troubled = torrents.iter().find(|torrent| torrent.state == State::Error);
    let torrents = match troubled {
        Some(torrent) => {
            Finding::bad("torrents", format!("{} is in trouble", torrent.name), "see what it says")
        }
        None => Finding::ok("torrents", "none is in trouble"),
    };
    DoctorResult { findings: vec![Finding::ok("kernel", "Linux 6.12"), torrents] }
}

/// As if `peer` had been set to `debug`.
pub(super) fn log(params: &LogParams) -> LogResult {
    let component =
        |name: &str, level: &str, own| LogComponent { name: name.into(), level: level.into(), own };
    LogResult {
        spec: "info,peer=debug".into(),
        level: "info".into(),
        origin: if params.reset { Origin::File } else { Origin::Socket },
        components: vec![component("session", "info", false), component("peer", "debug", true)],
    }
}

/// What never changes of `status`.
pub(super) fn daemon() -> Daemon {
    Daemon {
        confinement: Confinement {
            landlock: Some(7),
            seccomp: true,
            no_new_privs: true,
            allowed_folders: Some(vec!["/srv/torrents".into()]),
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: PID,
        uptime_secs: 3600,
        peers: 24,
        listen: vec!["0.0.0.0:6868".to_owned()],
        external: vec!["203.0.113.7".to_owned()],
        local_discovery: LocalDiscovery { on: true, interfaces: vec!["eth0".to_owned()] },
        ip_filter: Some(ip_filter()),
        proxy: Some(Proxy {
            url: "socks5://127.0.0.1:1080".to_owned(),
            peers: true,
            trackers: true,
            state: ProxyState::Up,
            ..Proxy::default()
        }),
        ..Daemon::default()
    }
}
