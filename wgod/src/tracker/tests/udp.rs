//! UDP trackers: the exchange, what is lost, late or forged, and what is left behind. Time is paused
//! and runs to the next timer whenever all wait for one, so the waits of BEP 15 cost nothing.
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use wgo_proto::tracker::udp::{Request, Response};
use wgo_proto::tracker::{AnnounceReply, SwarmCounts};
use wgo_proto::units::WireHash;

use super::super::{Settings, TrackerError};
use super::fake_udp::{CONNECTION, FakeUdp, Out, good, refusal, transaction};
use super::{PASSKEY, announce, ask, has_v6, loopback, peers, query, trackers};
use crate::outlet::Outlet;

/// What a good tracker answers.
fn good_reply() -> AnnounceReply {
    AnnounceReply {
        interval: Some(Duration::from_secs(1800)),
        counts: SwarmCounts { seeders: Some(5), leechers: Some(4), ..SwarmCounts::default() },
        peers: peers(),
        ..AnnounceReply::default()
    }
}

/// Without the limit that [`ask`] sets for real time.
async fn ask_slowly(trackers: &super::Trackers, url: &str) -> Result<AnnounceReply, TrackerError> {
    let announce = announce();
    trackers.announce(url, &query(&announce)).await
}

#[tokio::test]
async fn an_announce_connects_first_and_carries_everything() {
    let tracker = FakeUdp::good(loopback(false)).await;
    let trackers = trackers(Settings::default());
    assert_eq!(ask(&trackers, &tracker.url()).await.unwrap(), good_reply());
    let own = Ipv4Addr::new(192, 0, 2, 77);
    let announce = announce();
    let query = super::AnnounceQuery { ip: Some(IpAddr::V4(own)), ..query(&announce) };
    trackers.announce(&tracker.url(), &query).await.unwrap();
    assert_eq!(tracker.kinds(), "caa", "the connection is used again");
    let asked = tracker.asked();
    let [first, second] = [1, 2].map(|n| match &asked[n].request {
        Request::Announce { connection, announce, ip, url_data, .. } => {
            (*connection, announce.clone(), *ip, url_data.clone().unwrap())
        }
        other => panic!("{other:?}"),
    });
    let path = format!("/{PASSKEY}/announce").into_bytes();
    assert_eq!(first, (CONNECTION, announce.clone(), None, path.clone()));
    assert_eq!(second, (CONNECTION, announce, Some(own), path));
    assert!(asked.iter().all(|one| one.from == asked[0].from), "one socket");
    assert_ne!(transaction(&asked[1].request), transaction(&asked[2].request));
}

#[tokio::test]
async fn ipv6_trackers_give_ipv6_peers() {
    if !has_v6("ipv6_trackers_give_ipv6_peers") {
        return;
    }
    let peer = "[2001:db8::7]:6881".parse().unwrap();
    let tracker = FakeUdp::start(loopback(true), move |_, request| match (good(request), request) {
        (
            Response::Announce { transaction, interval, leechers, seeders, .. },
            Request::Announce { ip, .. },
        ) => {
            assert_eq!(*ip, None);
            vec![Out::Reply(Response::Announce {
                transaction,
                interval,
                leechers,
                seeders,
                peers: vec![peer],
            })]
        }
        (other, _) => vec![Out::Reply(other)],
    })
    .await;
    let got = ask(&trackers(Settings::default()), &tracker.url()).await.unwrap();
    assert_eq!(got, AnnounceReply { peers: vec![peer], ..good_reply() });
}

#[tokio::test(start_paused = true)]
async fn lost_packets_are_sent_again_after_15_30_60_seconds() {
    // Lost: three connects, then two announces.
    let tracker = FakeUdp::start(loopback(false), |n, request| match n {
        3 | 6.. => vec![Out::Reply(good(request))],
        _ => vec![],
    })
    .await;
    let settings = Settings { udp_timeout: Duration::from_secs(600), ..Settings::default() };
    assert_eq!(ask_slowly(&trackers(settings), &tracker.url()).await.unwrap(), good_reply());
    assert_eq!(tracker.kinds(), "ccccaaa");
    let asked = tracker.asked();
    let gaps: Vec<_> = asked.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs()).collect();
    assert_eq!(gaps, [15, 30, 60, 0, 15, 30]);
    let ids: Vec<_> = asked.iter().map(|one| transaction(&one.request)).collect();
    assert!(ids[..4].iter().all(|id| *id == ids[0]) && ids[4..].iter().all(|id| *id == ids[4]), "{ids:x?}");
    assert_ne!(ids[0], ids[4]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_tracker_is_given_up_after_a_minute() {
    let tracker = FakeUdp::start(loopback(false), |_, _| vec![]).await;
    let trackers = trackers(Settings::default());
    let began = Instant::now();
    let err = ask_slowly(&trackers, &tracker.url()).await.unwrap_err();
    assert_eq!(err.to_string(), "timed out after 60s, waiting for an answer by UDP");
    assert_eq!((began.elapsed().as_secs(), tracker.kinds().as_str()), (60, "ccc"));
    assert_eq!(trackers.inner.udp.under_way(), 0);
}

#[tokio::test]
async fn forged_and_broken_packets_are_passed_over() {
    let tracker = FakeUdp::start(loopback(false), |_, request| {
        let id = transaction(request);
        let mut wrong = Vec::new();
        Response::Error { transaction: !id, message: "wrong transaction".into() }.encode(&mut wrong);
        let spoofed = Response::Error { transaction: id, message: "wrong source".into() };
        vec![
            Out::Raw(wrong),
            Out::FromElsewhere(spoofed),
            Out::FromElsewhere(good(request)),
            Out::Raw(vec![]),
            Out::Raw(vec![0; 7]),
            Out::Reply(good(request)),
            // The same again: too late.
            Out::Reply(good(request)),
        ]
    })
    .await;
    let trackers = trackers(Settings::default());
    for _ in 0..3 {
        assert_eq!(ask(&trackers, &tracker.url()).await.unwrap(), good_reply());
    }
    assert_eq!(tracker.kinds(), "caaa");
    assert_eq!(trackers.inner.udp.under_way(), 0);
}

#[tokio::test]
async fn a_refusal_and_a_senseless_answer_are_told() {
    let senseless =
        |request: &Request| vec![Out::Reply(good(&Request::Connect { transaction: transaction(request) }))];
    type Plan = fn(usize, &Request) -> Vec<Out>;
    let cases: [(Plan, &str); 5] = [
        (|_, request| vec![refusal(request, "go away")], "the tracker refuses: go away"),
        (
            |n, request| {
                if n == 0 {
                    vec![Out::Reply(good(request))]
                } else {
                    vec![refusal(request, "no such torrent")]
                }
            },
            "the tracker refuses: no such torrent",
        ),
        (
            |_, request| vec![Out::Raw([&[0; 4][..], &transaction(request).to_be_bytes()].concat())],
            "connect response of 8 bytes, it takes 16",
        ),
        (
            |_, request| vec![Out::Raw([&[9; 4][..], &transaction(request).to_be_bytes()].concat())],
            "action 151587081, expected 3",
        ),
        (
            |_, request| {
                vec![Out::Reply(Response::Scrape { transaction: transaction(request), swarms: vec![] })]
            },
            "action 2, expected 0",
        ),
    ];
    for (plan, expected) in cases {
        let tracker = FakeUdp::start(loopback(false), plan).await;
        let err = ask(&trackers(Settings::default()), &tracker.url()).await.unwrap_err();
        assert_eq!(err.to_string(), expected);
    }
    let tracker = FakeUdp::start(loopback(false), move |_, request| senseless(request)).await;
    let err = ask(&trackers(Settings::default()), &tracker.url()).await.unwrap_err();
    assert_eq!(err.to_string(), "action 0, expected 1");
}

#[tokio::test]
async fn a_tracker_that_forgot_us_is_connected_to_anew() {
    // The third packet is an announce with the id from before, the fourth a connect again.
    let tracker = FakeUdp::start(loopback(false), |n, request| match n {
        2 => vec![refusal(request, "Connection ID missmatch.")],
        _ => vec![Out::Reply(good(request))],
    })
    .await;
    let trackers = trackers(Settings::default());
    for _ in 0..2 {
        assert_eq!(ask(&trackers, &tracker.url()).await.unwrap(), good_reply());
    }
    assert_eq!(tracker.kinds(), "caaca");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_for_a_minute() {
    // From the fifth packet on, a tracker that restarted and says nothing to ids that it doesn't know.
    let tracker = FakeUdp::start(loopback(false), |n, request| match n {
        4 => vec![],
        _ => vec![Out::Reply(good(request))],
    })
    .await;
    let trackers = trackers(Settings::default());
    ask_slowly(&trackers, &tracker.url()).await.unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    ask_slowly(&trackers, &tracker.url()).await.unwrap();
    assert_eq!(tracker.kinds(), "caca");
    ask_slowly(&trackers, &tracker.url()).await.unwrap();
    assert_eq!(tracker.kinds(), "cacaaca");
}

#[tokio::test]
async fn many_announces_share_a_socket_and_keep_their_turns() {
    let tracker = FakeUdp::good(loopback(false)).await;
    let trackers = trackers(Settings::default());
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let (trackers, url) = (trackers.clone(), tracker.url());
        asking.spawn(async move { ask(&trackers, &url).await.unwrap() });
    }
    assert_eq!(asking.join_all().await, vec![good_reply(); 100]);
    let asked = tracker.asked();
    assert!(asked.iter().all(|one| one.from == asked[0].from));
    let connects = tracker.kinds().matches('c').count();
    assert!((1..=4).contains(&connects), "{connects} connects");
    assert_eq!((trackers.inner.udp.under_way(), trackers.inner.udp_gate.trackers_in_use()), (0, 0));
}

#[tokio::test]
async fn an_announce_that_is_dropped_or_stopped_leaves_nothing() {
    let mut tracker = FakeUdp::start(loopback(false), |_, _| vec![]).await;
    let trackers = trackers(Settings::default());
    let url = tracker.url();
    tokio::select! {
        result = ask(&trackers, &url) => panic!("{result:?}"),
        () = tracker.arrivals(1) => {}
    }
    assert_eq!((trackers.inner.udp.under_way(), trackers.inner.udp_gate.trackers_in_use()), (0, 0));
    let mut asking = JoinSet::new();
    let (other, url) = (trackers.clone(), tracker.url());
    asking.spawn(async move { ask(&other, &url).await });
    tracker.arrivals(2).await;
    tokio::time::timeout(super::TOO_LONG, trackers.stop()).await.expect("the socket's task ends");
    assert!(matches!(asking.join_next().await.unwrap().unwrap(), Err(TrackerError::Stopping)));
    assert!(trackers.inner.tasks.is_empty());
}

#[tokio::test]
async fn the_socket_task_ends_with_the_last_clone() {
    let tracker = FakeUdp::good(loopback(false)).await;
    let trackers = trackers(Settings::default());
    ask(&trackers, &tracker.url()).await.unwrap();
    let tasks = trackers.inner.tasks.clone();
    assert_eq!(tasks.len(), 1);
    drop(trackers);
    tasks.close();
    tokio::time::timeout(super::TOO_LONG, tasks.wait()).await.expect("the task ends");
}

#[tokio::test]
async fn a_local_address_that_is_not_ours_is_named() {
    let settings = Settings { outlet: Outlet::at(&["192.0.2.1"]), ..Settings::default() };
    let err = ask(&trackers(settings), "udp://127.0.0.1:9/announce").await.unwrap_err();
    assert_eq!(err.to_string(), "not asked: no interface has the address 192.0.2.1");
}

#[tokio::test]
async fn a_scrape_goes_over_udp_too() {
    let tracker = FakeUdp::good(loopback(false)).await;
    let hashes: Vec<_> = (0..80).map(|n| WireHash([n; 20])).collect();
    let counts = trackers(Settings::default()).scrape(&tracker.url(), &hashes).await.unwrap();
    assert_eq!((counts.len(), counts[73].unwrap().seeders, counts[74]), (80, Some(73), None));
    assert_eq!(tracker.kinds(), "cs");
}
