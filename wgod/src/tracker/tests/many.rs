//! Thousands of torrents at one tracker, and a dead one among good ones.
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::{Settings, TrackerError};
use super::fake_http::{Act, FakeHttp, body, ok};
use super::{announce, ask, loopback, query, reply, trackers};

/// As many torrents as begin to announce at once.
const TORRENTS: usize = 2000;

#[tokio::test]
async fn thousands_of_announces_take_a_few_connections_and_all_get_their_turn() {
    let answer = ok(&body(&reply()));
    let tracker = FakeHttp::start(loopback(false), move |_| Act::Send(answer.clone())).await;
    let trackers = trackers(Settings::default());
    let mut asking = JoinSet::new();
    for _ in 0..TORRENTS {
        let (trackers, url) = (trackers.clone(), tracker.url());
        asking.spawn(async move { ask(&trackers, &url).await.unwrap() });
    }
    assert_eq!(asking.join_all().await.len(), TORRENTS);
    assert_eq!(tracker.requests(), TORRENTS);
    let per_tracker = Settings::default().per_tracker;
    let connections = tracker.seen.connections.load(Ordering::SeqCst);
    assert!(connections <= per_tracker, "{connections} connections");
    assert!(tracker.seen.most_running.load(Ordering::SeqCst) <= per_tracker);
}

#[tokio::test]
async fn an_announce_that_waits_for_its_turn_costs_little_memory() {
    let trackers = trackers(Settings::default());
    let announce = announce();
    let query = query(&announce);
    let waiting = trackers.announce("http://127.0.0.1:1/announce", &query);
    // A torrent may name a hundred trackers, and be one of thousands.
    assert!(size_of_val(&waiting) <= 4096, "{}", size_of_val(&waiting));
}

#[tokio::test]
async fn those_that_wait_for_a_dead_tracker_fail_with_it_and_good_ones_are_asked_meanwhile() {
    let mut dead = FakeHttp::start(loopback(false), |_| Act::Never).await;
    let answer = ok(&body(&reply()));
    let good = FakeHttp::start(loopback(false), move |_| Act::Send(answer.clone())).await;
    let settings = Settings { http_timeout: Duration::from_secs(2), http_requests: 2, ..Settings::default() };
    let trackers = trackers(settings);
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let (trackers, url) = (trackers.clone(), dead.url());
        asking.spawn(async move { ask(&trackers, &url).await });
    }
    dead.arrivals(1).await;
    // One of the two requests that there may be in all is the dead one's; the other is free.
    for _ in 0..10 {
        ask(&trackers, &good.url()).await.unwrap();
    }
    let results = asking.join_all().await;
    assert!(results.iter().all(|result| matches!(result, Err(TrackerError::TimedOut { .. }))));
    assert_eq!(dead.requests(), 1, "one found out for all");
}
