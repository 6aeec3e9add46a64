//! How our node of the DHT stands, as `status` shows it.
use wgo_api::result::{Dht as Shown, DhtState};

use crate::dht::{Dht, State};

/// The node, for people and programs.
pub(super) fn shown(dht: &Dht) -> Shown {
    let status = dht.status();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let state = match status.state {
        State::Off => DhtState::Off,
        State::Starting => DhtState::Starting,
        State::Ready => DhtState::Ready,
        State::Unreachable => DhtState::Unreachable,
    };
    Shown {
        state,
        nodes_v4: count(status.nodes[0]),
        nodes_v6: count(status.nodes[1]),
        listen: status.addrs.iter().map(ToString::to_string).collect(),
        torrents: if state == DhtState::Off { 0 } else { count(dht.torrents()) },
        lookups: count(status.lookups),
        error: status.trouble,
    }
}
