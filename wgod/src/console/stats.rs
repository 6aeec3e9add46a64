//! `stats`: how much was moved, in this run and in all.
use wgo_api::error::ApiError;
use wgo_api::result::{FailedHandshakes, Handshakes, StatsResult, Traffic};

use super::{Console, stopping};
use crate::metrics::Handshakes as Counted;
use crate::session::Command;

impl Console {
    pub(super) async fn stats(&self) -> Result<StatsResult, ApiError> {
        let glance = self.inner.session.ask(|reply| Command::Glance(None, reply)).await;
        let glance = glance.ok_or_else(stopping)??;
        Ok(StatsResult {
            uptime_secs: self.inner.started.elapsed().as_secs(),
            torrents: glance.states.values().sum(),
            session: Traffic::new(glance.session.0, glance.session.1),
            all_time: Traffic::new(glance.totals.0, glance.totals.1),
            handshakes: handshakes(&self.inner.engine.counters.handshakes),
        })
    }
}

fn handshakes(counted: &Counted) -> Handshakes {
    let [none, handshake, rc4] = counted.totals();
    let [closed, malformed, unknown_torrent, wrong_torrent, encryption, not_encrypted, crowded] =
        counted.failures();
    let failed = FailedHandshakes {
        closed,
        malformed,
        unknown_torrent,
        wrong_torrent,
        encryption,
        not_encrypted,
        crowded,
    };
    Handshakes { none, handshake, rc4, failed }
}
