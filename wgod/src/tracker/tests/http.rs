//! HTTP trackers that answer.
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use wgo_proto::tracker::http::query_pairs;
use wgo_proto::tracker::{AnnounceReply, SwarmCounts};
use wgo_proto::units::WireHash;

use super::super::{Settings, TrackerError};
use super::fake_http::{Act, FakeHttp, answer, body, gzip, ok, redirect};
use super::fake_udp::FakeUdp;
use super::{PASSKEY, ask, has_v6, loopback, reply, trackers};
use crate::outlet::Outlet;

#[tokio::test]
async fn an_announce_reaches_the_tracker_and_its_answer_comes_back() {
    for v6 in [false, true] {
        if v6 && !has_v6("an_announce_reaches_the_tracker_and_its_answer_comes_back") {
            continue;
        }
        let tracker = FakeHttp::start(loopback(v6), |_| Act::Send(ok(&body(&reply())))).await;
        assert_eq!(ask(&trackers(Settings::default()), &tracker.url()).await.unwrap(), reply());
        let heads = tracker.seen.heads.lock().unwrap();
        let [head] = heads.as_slice() else { panic!("{heads:?}") };
        let path = head.split(' ').nth(1).unwrap();
        assert!(path.starts_with(&format!("/announce/{PASSKEY}?also={PASSKEY}&info_hash=")), "{path}");
        let pairs: Vec<_> = query_pairs(path).collect();
        assert!(pairs.contains(&("info_hash".into(), vec![0xA1; 20])), "{path}");
        assert!(pairs.contains(&("event".into(), b"started".to_vec())), "{path}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("user-agent: wgod/0.1.0\r\n") && head.contains("gzip"), "{head}");
    }
}

#[tokio::test]
async fn the_source_is_the_configured_address() {
    let tracker = FakeHttp::start(loopback(false), |_| Act::Send(ok(&body(&reply())))).await;
    let settings = Settings { outlet: Outlet::at(&["127.0.0.1"]), ..Settings::default() };
    assert!(ask(&trackers(settings), &tracker.url()).await.is_ok());
    // 192.0.2.0/24 is for documentation: never ours.
    let settings = Settings { outlet: Outlet::at(&["192.0.2.1"]), ..Settings::default() };
    let err = ask(&trackers(settings), &tracker.url()).await.unwrap_err();
    assert_eq!(err.to_string(), "not asked: no interface has the address 192.0.2.1");
    let settings = Settings { outlet: Outlet::at(&["::1"]), ..Settings::default() };
    let err = ask(&trackers(settings), &tracker.url()).await.unwrap_err();
    assert!(matches!(&err, TrackerError::NoAddress { wanted: "IPv6", .. }), "{err:?}");
    assert_eq!(tracker.requests(), 1);
}

#[tokio::test]
async fn redirects_are_followed_without_telling_where_from() {
    let target = FakeHttp::start(loopback(false), |path| match path {
        "/announce1" => redirect("/announce2"),
        "/announce2" => redirect("/announce3"),
        _ => Act::Send(ok(&body(&reply()))),
    })
    .await;
    let hop = format!("http://{}/announce1", target.address);
    let tracker = FakeHttp::start(loopback(false), move |_| redirect(&hop)).await;
    assert_eq!(ask(&trackers(Settings::default()), &tracker.url()).await.unwrap(), reply());
    let heads = target.seen.heads.lock().unwrap();
    assert_eq!(heads.len(), 3);
    assert!(heads.iter().all(|head| !head.contains(PASSKEY)), "{heads:?}");
}

#[tokio::test]
async fn blanks_around_a_url_do_no_harm() {
    let tracker = FakeHttp::start(loopback(false), |path| {
        assert!(path.starts_with("/announce?info_hash="), "{path}");
        Act::Send(ok(&body(&reply())))
    })
    .await;
    let url = format!(" http://{}/announce \r\n", tracker.address);
    assert_eq!(ask(&trackers(Settings::default()), &url).await.unwrap(), reply());
}

#[tokio::test]
async fn a_packed_answer_is_unpacked() {
    let packed = answer("200 OK", &["Content-Encoding: gzip"], &gzip(&body(&reply())));
    let tracker = FakeHttp::start(loopback(false), move |_| Act::Send(packed.clone())).await;
    assert_eq!(ask(&trackers(Settings::default()), &tracker.url()).await.unwrap(), reply());
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let tracker = FakeHttp::start(loopback(false), |_| Act::Send(ok(&body(&reply())))).await;
    let trackers = trackers(Settings::default());
    for _ in 0..10 {
        ask(&trackers, &tracker.url()).await.unwrap();
    }
    assert_eq!(tracker.requests(), 10);
    assert_eq!(tracker.seen.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_tracker_gets_few_requests_at_once_and_holds_up_no_other() {
    let held = |_: &str| Act::Hold(ok(&body(&reply())));
    let mut slow = FakeHttp::start(loopback(false), held).await;
    let quick = FakeHttp::start(loopback(false), |_| Act::Send(ok(&body(&reply())))).await;
    let trackers = trackers(Settings { per_tracker: 4, http_requests: 6, ..Settings::default() });
    let mut asking = JoinSet::new();
    for _ in 0..12 {
        let (trackers, url) = (trackers.clone(), slow.url());
        asking.spawn(async move { ask(&trackers, &url).await.unwrap() });
    }
    // Until it has answered once, it gets one at a time.
    slow.arrivals(1).await;
    slow.release.add_permits(1);
    slow.arrivals(5).await;
    // While the slow one has all of its own, the quick one is served as if nothing were.
    for _ in 0..5 {
        ask(&trackers, &quick.url()).await.unwrap();
    }
    assert_eq!(slow.requests(), 5);
    slow.release.add_permits(11);
    assert_eq!(asking.join_all().await.len(), 12);
    assert_eq!(slow.seen.most_running.load(Ordering::SeqCst), 4);
    assert_eq!(trackers.inner.http_gate.trackers_in_use(), 0);
}

#[tokio::test]
async fn an_announce_that_is_dropped_gives_its_turn_back() {
    let mut tracker = FakeHttp::start(loopback(false), |_| Act::Never).await;
    let trackers = trackers(Settings { per_tracker: 1, ..Settings::default() });
    for n in 1..=3 {
        let url = tracker.url();
        let asking = ask(&trackers, &url);
        tokio::select! {
            result = asking => panic!("{result:?}"),
            () = tracker.arrivals(n) => {}
        }
        assert_eq!(trackers.inner.http_gate.trackers_in_use(), 0);
    }
}

#[tokio::test]
async fn stopping_ends_what_is_under_way() {
    let mut tracker = FakeHttp::start(loopback(false), |_| Act::Never).await;
    let trackers = trackers(Settings::default());
    let (url, other) = (tracker.url(), trackers.clone());
    let mut asking = JoinSet::new();
    asking.spawn(async move { ask(&other, &url).await });
    tracker.arrivals(1).await;
    trackers.stop().await;
    assert!(matches!(asking.join_next().await.unwrap().unwrap(), Err(TrackerError::Stopping)));
    assert!(matches!(ask(&trackers, &tracker.url()).await, Err(TrackerError::Stopping)));
    assert_eq!(tracker.requests(), 1);
}

#[tokio::test]
async fn a_scrape_tells_the_size_of_each_swarm() {
    let hashes = [WireHash([1; 20]), WireHash([2; 20])];
    let known =
        [&b"d5:filesd20:"[..], &[2; 20], b"d8:completei7e10:downloadedi9e10:incompletei3eeee"].concat();
    let tracker = FakeHttp::start(loopback(false), move |path| {
        assert!(path.starts_with("/scrape/") && !path.contains("announce"), "{path}");
        Act::Send(ok(&known))
    })
    .await;
    let trackers = trackers(Settings::default());
    let counts = trackers.scrape(&tracker.url(), &hashes).await.unwrap();
    let second = SwarmCounts { seeders: Some(7), leechers: Some(3), completed: Some(9), downloaders: None };
    assert_eq!(counts, [None, Some(second)]);
    let elsewhere = format!("http://{}/tell", tracker.address);
    assert!(matches!(trackers.scrape(&elsewhere, &hashes).await, Err(TrackerError::NoScrape)));
}

#[tokio::test]
async fn what_the_tracker_says_beside_the_peers_comes_back_too() {
    let said = AnnounceReply {
        min_interval: Some(Duration::from_secs(60)),
        tracker_id: Some(b"T1".to_vec()),
        warning: Some("soon closed".into()),
        ..reply()
    };
    let sent = body(&said);
    let tracker = FakeHttp::start(loopback(false), move |_| Act::Send(ok(&sent))).await;
    assert_eq!(ask(&trackers(Settings::default()), &tracker.url()).await.unwrap(), said);
}

/// What is logged, for the test to read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_names_the_tracker_and_not_the_passkey() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // While a process has one subscriber only, what another test's thread is first to log counts as of
    // no interest to anyone, for good: that thread has none.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(subscriber);
    let good = FakeHttp::start(loopback(false), |_| Act::Send(ok(&body(&reply())))).await;
    let bad = FakeHttp::start(loopback(false), |_| redirect(&format!("ftp://t.example/{PASSKEY}"))).await;
    let udp = FakeUdp::good(loopback(false)).await;
    let trackers = trackers(Settings::default());
    for (url, works) in [(good.url(), true), (bad.url(), false), (udp.url(), true)] {
        assert_eq!(ask(&trackers, &url).await.is_ok(), works);
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for address in [good.address, bad.address, udp.address] {
        assert!(text.contains(&format!("{address}/…")), "{text}");
    }
    assert!(!text.contains(PASSKEY), "{text}");
}
