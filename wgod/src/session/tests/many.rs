//! What is asked of all torrents at once.
use std::collections::BTreeMap;

use wgo_api::params::{Check, ListParams};
use wgo_api::result::AddStatus;
use wgo_proto::metainfo::Metainfo;

use super::*;
use crate::session::{AddRequest, Glance};

const MANY: usize = 200;

fn request(rig: &Rig, name: &str, paused: bool) -> Box<AddRequest> {
    let file = torrent_file(name, &noise(100), PIECE);
    Box::new(AddRequest {
        metainfo: Metainfo::parse(&file).expect("a torrent of ours"),
        raw: file,
        select: Vec::new(),
        folder: rig.folder.clone(),
        paused,
        labels: Vec::new(),
        check: Check::Full,
        peers: Vec::new(),
        hosts: Vec::new(),
        fail_if_exists: false,
        sequential: false,
        choose: Default::default(),
        first_last: false,
        priority: Default::default(),
        goals: Default::default(),
        known: None,
    })
}

async fn glance(rig: &Rig) -> Glance {
    let glance = rig.session.ask(|reply| Command::Glance(None, reply)).await;
    glance.expect("it answers").expect("there is nothing to refuse")
}

async fn list(rig: &Rig, since: Option<u64>) -> wgo_api::result::ListResult {
    let params = ListParams { since, ..ListParams::default() };
    rig.session.ask(|reply| Command::List(params, reply)).await.expect("it answers")
}

/// The sums say what looking at every torrent says, beside so many bytes of torrents that are gone.
async fn sums_agree(rig: &Rig, gone: u64) {
    let (glance, list) = (glance(rig).await, list(rig, None).await);
    let mut states: BTreeMap<State, u32> = BTreeMap::new();
    list.torrents.iter().for_each(|row| *states.entry(row.torrent.state).or_default() += 1);
    assert_eq!(glance.states, states);
    let received: u64 = list.torrents.iter().map(|row| row.torrent.downloaded_bytes).sum();
    assert_eq!(glance.totals.0, received + gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torrents_that_are_added_together_share_commits_and_keep_their_order() {
    let rig = Rig::new().await;
    let before = rig.engine.store.stats().commits;
    let mut answers = Vec::new();
    for number in 0..MANY {
        let request = request(&rig, &format!("t{number:03}"), true);
        answers.push(rig.session.begin(|reply| Command::Add(request, reply)).await.expect("it runs"));
    }
    for answer in answers {
        assert_eq!(answer.await.expect("it answers").status, AddStatus::Added);
    }
    let commits = rig.engine.store.stats().commits - before;
    assert!(commits < MANY as u64 / 2, "{commits} commits");
    let names: Vec<String> =
        list(&rig, None).await.torrents.into_iter().map(|row| row.torrent.name).collect();
    assert!(names.is_sorted() && names.len() == MANY, "{names:?}");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_and_changes_follow_whatever_happens_to_torrents() {
    let (rig, payload, _, peer) = downloading(2).await;
    for name in ["a", "b", "c"] {
        let request = request(&rig, name, true);
        let before = list(&rig, None).await.version;
        let added = rig.session.ask(|reply| Command::Add(request, reply)).await.expect("it answers");
        assert_eq!(added.status, AddStatus::Added);
        let news = list(&rig, Some(before)).await;
        assert!(news.torrents.iter().any(|row| row.torrent.name == name), "a new one is news: {news:?}");
        sums_agree(&rig, 0).await;
    }
    for _ in 0..8 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    rig.until_row("t", |row| row.completed_at.is_some()).await;
    sums_agree(&rig, 0).await;
    assert_eq!(glance(&rig).await.totals.0, payload.len() as u64);
    let quiet = list(&rig, None).await.version;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    let news = list(&rig, Some(quiet)).await;
    assert!(news.torrents.iter().any(|row| row.torrent.name == "t"), "it was stopped: {news:?}");
    sums_agree(&rig, 0).await;
    let rig = rig.restart().await;
    sums_agree(&rig, 0).await;
    remove(&rig, true).await;
    sums_agree(&rig, payload.len() as u64).await;
    assert_eq!(glance(&rig).await.folders, BTreeMap::new(), "no torrent is on any disk");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_that_is_gone_is_told_of_once_and_leaves_nothing_behind() {
    let rig = Rig::new().await;
    let added = rig.session.ask(|reply| Command::Add(request(&rig, "a", true), reply)).await;
    let hash = added.and_then(|added| added.info_hash).expect("it is added");
    let before = list(&rig, None).await.version;
    remove(&rig, false).await;
    let news = list(&rig, Some(before)).await;
    assert_eq!((news.removed, news.torrents.len()), (vec![hash], 0));
    let news = list(&rig, Some(news.version)).await;
    assert_eq!((news.removed.len(), news.torrents.len()), (0, 0));
    rig.quit().await;
}
