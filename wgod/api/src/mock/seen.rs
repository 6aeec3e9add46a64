//! What the mock answers to `log` and `doctor`.
use crate::params::LogParams;
use crate::result::{LogComponent, LogResult, Origin};

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
