//! The drivers against trackers of our own on the loopback: well-behaved, broken and hostile ones.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::RootCertStore;
use wgo_proto::tracker::http::AnnounceQuery;
use wgo_proto::tracker::{Announce, AnnounceReply, Event};
use wgo_proto::units::{PeerId, WireHash};

use super::{Settings, TrackerError, Trackers};

mod fake_http;
mod fake_udp;
mod families;
mod guards;
mod http;
mod http_faults;
mod many;
mod proxied;
mod tls;
mod udp;

/// Part of each URL; nothing that is logged or shown may hold it.
const PASSKEY: &str = "5ec2e7pa55key";

/// Real time after which a test has failed; none should come near.
const TOO_LONG: Duration = Duration::from_secs(60);

fn trackers(settings: Settings) -> Trackers {
    Trackers::with_authorities(settings, RootCertStore::empty()).unwrap()
}

fn announce() -> Announce {
    Announce {
        hash: WireHash([0xA1; 20]),
        peer_id: PeerId(*b"-WG0100-abcdefghijkl"),
        port: 6868,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: Some(Event::Started),
        key: 0xC0FFEE,
        num_want: Some(50),
    }
}

fn query(announce: &Announce) -> AnnounceQuery<'_> {
    AnnounceQuery { announce, tracker_id: None, ip: None, ipv4: None, ipv6: None }
}

/// One announce, in bounded time; an error must not show the passkey.
async fn ask(trackers: &Trackers, url: &str) -> Result<AnnounceReply, TrackerError> {
    let announce = announce();
    let query = query(&announce);
    let result = tokio::time::timeout(TOO_LONG, trackers.announce(url, &query)).await.expect("in time");
    if let Err(err) = &result {
        let shown = format!("{err} {err:?}");
        assert!(!shown.contains(PASSKEY), "{shown}");
    }
    result
}

fn peers() -> Vec<SocketAddr> {
    vec!["192.0.2.1:6881".parse().unwrap(), "192.0.2.2:51413".parse().unwrap()]
}

fn reply() -> AnnounceReply {
    AnnounceReply { interval: Some(Duration::from_secs(1800)), peers: peers(), ..AnnounceReply::default() }
}

fn loopback(v6: bool) -> SocketAddr {
    let ip: IpAddr = if v6 { "::1".parse().unwrap() } else { "127.0.0.1".parse().unwrap() };
    SocketAddr::new(ip, 0)
}

/// Whether this machine has IPv6 on the loopback; said loudly when not.
fn has_v6(test: &str) -> bool {
    let has = std::net::UdpSocket::bind(loopback(true)).is_ok();
    if !has {
        eprintln!("SKIPPED the IPv6 part of {test}: no IPv6 on the loopback");
    }
    has
}
