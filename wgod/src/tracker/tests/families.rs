//! A tracker with addresses of both families is asked by both; what one lacks, the other gives.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wgo_proto::tracker::http::query_pairs;
use wgo_proto::tracker::{self as proto, AnnounceReply, SwarmCounts};

use super::super::families::{LATE_FAMILY, SECOND_FAMILY, join, merge};
use super::super::{Settings, TrackerError};
use super::fake_http::{Act, FakeHttp, body, ok};
use super::fake_udp::FakeUdp;
use super::{PASSKEY, announce, ask, has_v6, loopback, peers, query, trackers};
use crate::outlet::Outlet;

fn with(peers: Vec<std::net::SocketAddr>, secs: u64, seeders: u32) -> AnnounceReply {
    let counts = SwarmCounts { seeders: Some(seeders), ..SwarmCounts::default() };
    AnnounceReply { interval: Some(Duration::from_secs(secs)), peers, counts, ..AnnounceReply::default() }
}

#[tokio::test]
async fn both_families_of_a_name_are_asked() {
    if !has_v6("both_families_of_a_name_are_asked") {
        return;
    }
    let addresses: Vec<_> = tokio::net::lookup_host("localhost:0").await.unwrap().collect();
    if !addresses.iter().any(std::net::SocketAddr::is_ipv6) {
        eprintln!("SKIPPED both_families_of_a_name_are_asked: localhost has no IPv6 address here");
        return;
    }
    let six: Vec<_> = vec!["[2001:db8::1]:6881".parse().unwrap()];
    let (four, sixes) = (body(&with(peers(), 900, 3)), body(&with(six.clone(), 1800, 1)));
    let v4 = FakeHttp::start(loopback(false), move |_| Act::Send(ok(&four))).await;
    let port = v4.address.port();
    let url = format!("http://localhost:{port}/announce/{PASSKEY}");
    // Nobody listens on the IPv6 side yet.
    let trackers = trackers(Settings::default());
    assert_eq!(ask(&trackers, &url).await.unwrap(), with(peers(), 900, 3));
    let v6 = FakeHttp::start((loopback(true).ip(), port).into(), move |_| Act::Send(ok(&sixes))).await;
    let all = [peers(), six].concat();
    let mut merged = ask(&trackers, &url).await.unwrap();
    // Who answers first comes first.
    merged.peers.sort();
    assert_eq!(merged, with(all, 1800, 3));
    let key = |seen: &FakeHttp| {
        let heads = seen.seen.heads.lock().unwrap();
        let head = heads.last().unwrap();
        head[head.find("key=").unwrap()..].split(['&', ' ']).next().unwrap().to_owned()
    };
    assert_eq!(key(&v4), key(&v6), "the tracker can tell that both are us");
    assert_eq!((v4.requests(), v6.requests()), (2, 1));
    // With one of them configured, the other is left out.
    let settings = Settings { outlet: Outlet::at(&["::1"]), ..Settings::default() };
    assert_eq!(ask(&super::trackers(settings), &url).await.unwrap().counts.seeders, Some(1));
    assert_eq!((v4.requests(), v6.requests()), (2, 2));
}

#[tokio::test]
async fn an_address_of_ours_is_told_by_its_own_family() {
    for v6 in [false, true] {
        if v6 && !has_v6("an_address_of_ours_is_told_by_its_own_family") {
            continue;
        }
        let tracker = FakeHttp::start(loopback(v6), |_| Act::Send(ok(&body(&with(peers(), 900, 3))))).await;
        let (trackers, announce) = (trackers(Settings::default()), announce());
        for own in ["203.0.113.9", "2001:db8::9"] {
            let own: std::net::IpAddr = own.parse().unwrap();
            let query = super::AnnounceQuery { ip: Some(own), ..query(&announce) };
            trackers.announce(&tracker.url(), &query).await.unwrap();
            let heads = tracker.seen.heads.lock().unwrap();
            let path = heads.last().unwrap().split(' ').nth(1).unwrap().to_owned();
            let told = query_pairs(&path).find(|(key, _)| key == "ip").map(|(_, value)| value);
            assert_eq!(told, (own.is_ipv6() == v6).then(|| own.to_string().into_bytes()), "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_family_that_does_not_answer_holds_up_the_other_for_a_moment_only() {
    if !has_v6("a_family_that_does_not_answer_holds_up_the_other_for_a_moment_only") {
        return;
    }
    let v4 = FakeUdp::good(loopback(false)).await;
    let silent = FakeUdp::start((loopback(true).ip(), v4.address.port()).into(), |_, _| vec![]).await;
    let trackers = trackers(Settings::default());
    let localhost = [v4.address.ip(), silent.address.ip()];
    trackers.inner.resolver.remember("both.test", &localhost.into());
    let announce = announce();
    let url = format!("udp://both.test:{}", v4.address.port());
    let began = Instant::now();
    assert_eq!(trackers.announce(&url, &query(&announce)).await.unwrap().peers, peers());
    assert_eq!(began.elapsed(), SECOND_FAMILY);
    assert_eq!((v4.kinds().as_str(), silent.kinds().as_str()), ("ca", "c"));
    // The next announces, of which there may be thousands, wait for it hardly at all.
    let began = Instant::now();
    assert_eq!(trackers.announce(&url, &query(&announce)).await.unwrap().peers, peers());
    assert_eq!(began.elapsed(), LATE_FAMILY);
    // They are asked at the same time, so two that don't answer take no longer than one.
    let url = format!("udp://both.test:{}", silent.address.port());
    drop(v4);
    let began = Instant::now();
    let err = trackers.announce(&url, &query(&announce)).await.unwrap_err();
    assert_eq!(err.to_string(), "timed out after 60s, waiting for an answer by UDP");
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[test]
fn of_two_failures_the_one_that_says_more_is_told() {
    let no_route = || TrackerError::Connect {
        host: "t.example".into(),
        local: None,
        source: Arc::new(std::io::ErrorKind::NetworkUnreachable.into()),
    };
    let late = || TrackerError::TimedOut { after: Duration::from_secs(30), doing: "connecting" };
    let refused = || {
        let reason = "go away".to_owned();
        TrackerError::Answer(proto::TrackerError::Refused { reason, retry: None })
    };
    let said = |first, second| merge(Err(first), Err(second)).unwrap_err().to_string();
    assert_eq!(said(late(), no_route()), late().to_string());
    assert_eq!(said(no_route(), late()), late().to_string());
    assert_eq!(said(refused(), late()), refused().to_string());
    assert_eq!(said(late(), refused()), refused().to_string());
    assert!(merge(Err(refused()), Ok(with(peers(), 1, 1))).is_ok());
    assert!(merge(Ok(with(peers(), 1, 1)), Err(refused())).is_ok());
}

#[test]
fn joined_answers_keep_to_the_limit_of_peers() {
    let many: Vec<_> = (1..=proto::MAX_PEERS as u16).map(|port| ([192, 0, 2, 1], port).into()).collect();
    let joined = join(with(many.clone(), 1, 1), with(many, 2, 2));
    assert_eq!(joined.peers.len(), proto::MAX_PEERS);
    assert_eq!(joined.interval, Some(Duration::from_secs(2)));
}
