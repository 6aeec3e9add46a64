//! What the mock answers to `log` and `doctor`.
use crate::doctor::Finding;
use crate::params::LogParams;
use crate::result::{DoctorResult, LogComponent, LogResult, Origin};
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
