//! Seeding goals, with real peers: what reaches one, what happens then, what a restart keeps.
use wgo_api::error::Kind;
use wgo_api::goals::{AfterGoal as ApiAfterGoal, Choice};
use wgo_api::params::SetParams;
use wgo_api::result::ActStatus;
use wgo_core::session::{AfterGoal, ChosenGoals, Ratio};
use wgo_proto::wire::Message;

use super::*;

pub(super) async fn set(rig: &Rig, params: SetParams) -> Result<(), wgo_api::ApiError> {
    let params = Box::new(params);
    let set = rig.session.ask(|reply| Command::Set(params, reply)).await.expect("it answers");
    set.map(|acted| assert!(acted.torrents.iter().all(|torrent| torrent.error.is_none()), "{acted:?}"))
}

pub(super) fn of(id: &str) -> SetParams {
    SetParams { ids: vec![id.to_owned()], ..SetParams::default() }
}

/// A daemon that seeds "t", of one piece, with these goals of its own; and its file.
pub(super) async fn seeding(goals: SetParams) -> (Rig, Vec<u8>) {
    let payload = noise(PIECE);
    let file = torrent_file("t", &payload, PIECE);
    let rig = Rig::new().await;
    std::fs::write(rig.folder.join("t"), &payload).expect("written");
    rig.add(&file).await;
    rig.until("t", State::Seeding).await;
    set(&rig, goals).await.expect("it can be set");
    (rig, file)
}

/// A peer that fetches so many blocks of the only piece.
pub(super) async fn fetch(rig: &Rig, file: &[u8], blocks: u32) -> Peer {
    until_listed(rig, &hash_of(file), true).await;
    let peer = rig.peer(hash_of(file), 1).await;
    peer.says(&[Message::HaveNone, Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    for number in 0..blocks {
        peer.says(&[Message::Request(block(0, number))]).await;
        peer.expect(id::PIECE).await;
    }
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ratio_that_is_reached_stops_it_until_it_is_started_by_hand() {
    let (rig, file) = seeding(SetParams { ratio: Some(Choice::Own(0.5)), ..of("t") }).await;
    let peer = fetch(&rig, &file, 1).await;
    let row = rig.until_row("t", |row| row.uploaded_bytes > 0).await;
    assert_eq!((row.state, row.done_reason), (State::Seeding, None), "a quarter is not enough");
    assert_eq!((row.goals.ratio, row.goals.action), (Some(0.5), ApiAfterGoal::Stop));
    peer.says(&[Message::Request(block(0, 1))]).await;
    assert!(peer.is_closed().await);
    let row = rig.until("t", State::Stopped).await;
    assert_eq!(row.done_reason.as_deref(), Some("ratio 0.50 reached"));
    let rig = rig.restart().await;
    let row = rig.until("t", State::Stopped).await;
    assert_eq!(row.done_reason.as_deref(), Some("ratio 0.50 reached"));
    assert_eq!((row.goals.ratio, row.uploaded_bytes), (Some(0.5), 2 * u64::from(BLOCK_LEN)));

    rig.act(Verb::Start).await;
    rig.until("t", State::Seeding).await;
    fetch(&rig, &file, 2).await;
    let row = rig.until_row("t", |row| row.uploaded_bytes == PIECE as u64).await;
    assert_eq!((row.state, row.done_reason), (State::Seeding, None), "whoever starts it wants it to go on");
    let rig = rig.restart().await;
    rig.until("t", State::Seeding).await;
    set(&rig, SetParams { ratio: Some(Choice::Own(0.75)), ..of("t") }).await.expect("it can be set");
    let row = rig.until("t", State::Stopped).await;
    assert_eq!(row.done_reason.as_deref(), Some("ratio 0.75 reached"), "a new goal counts");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goals_of_the_configuration_count_at_once_where_a_torrent_has_none_of_its_own() {
    let (rig, file) = seeding(SetParams { ratio: Some(Choice::Own(0.0)), ..of("t") }).await;
    let _peer = fetch(&rig, &file, 4).await;
    rig.until_row("t", |row| row.uploaded_bytes == PIECE as u64).await;
    let goals = ChosenGoals {
        ratio: Some(Ratio(1000)),
        action: Some(AfterGoal::RemoveWithFiles),
        ..ChosenGoals::default()
    };
    rig.session.apply(Tunables { goals, ..tunables() }).await;
    let row = rig.row("t").await;
    assert_eq!((row.state, row.goals.ratio), (State::Seeding, None), "it has chosen not to have one");
    set(&rig, SetParams { ratio: Some(Choice::DEFAULT), ..of("t") }).await.expect("it can be set");
    until_listed(&rig, &hash_of(&file), false).await;
    let begun = std::time::Instant::now();
    while rig.folder.join("t").exists() {
        assert!(begun.elapsed() < SOON, "its files are still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rig = rig.restart().await;
    let glance = rig.session.ask(|reply| Command::Glance(Some(Vec::new()), reply)).await;
    assert_eq!(glance.and_then(Result::ok).and_then(|g| g.torrents).map(|t| t.len()), Some(0));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeding_time_goes_on_over_restarts_and_reaches_its_goal() {
    let (rig, _) = seeding(SetParams { seed_idle_secs: Some(Choice::Own(3)), ..of("t") }).await;
    let details = async |rig: &Rig| {
        let params = wgo_api::params::ShowParams { id: "t".into(), ..Default::default() };
        let shown = rig.session.ask(|reply| Command::Show(params, reply)).await;
        shown.expect("it answers").expect("it is there").torrent
    };
    while details(&rig).await.seeding_secs == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rig = rig.restart().await;
    assert!(details(&rig).await.seeding_secs >= 1, "what was counted is kept");
    let row = rig.until("t", State::Stopped).await;
    assert_eq!(row.done_reason.as_deref(), Some("no upload for 3 s"));
    let ended = details(&rig).await;
    assert!(ended.seeding_secs >= 3 && ended.active_secs >= ended.seeding_secs, "{ended:?}");
    assert_eq!(ended.own_goals.idle_secs, Some(3));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_is_wrong_in_anything_changes_nothing() {
    let (rig, _) = seeding(SetParams { up: Some(1000), ..of("t") }).await;
    let before = rig.row("t").await;
    let two = SetParams { ids: vec!["t".into(), "nobody".into()], ..SetParams::default() };
    for (wrong, kind) in [
        (SetParams { sequential: Some(true), up: Some(5), ..two }, Kind::NoMatch),
        (SetParams { ratio: Some(Choice::Own(-1.0)), up: Some(5), ..of("t") }, Kind::BadRequest),
        (of("t"), Kind::BadRequest),
    ] {
        assert_eq!(set(&rig, wrong).await.unwrap_err().kind(), kind);
    }
    assert_eq!(rig.row("t").await, before);
    assert_eq!(before.limits.up, 1000);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lifts_a_ban_that_is_none_is_told_so() {
    let (rig, _) = seeding(SetParams { up: Some(0), ..of("t") }).await;
    for (unban, note) in [("192.0.2.7", "192.0.2.7 is not banned"), ("all", "nobody is banned")] {
        let only = SetParams { unban: Some(unban.into()), ..of("t") };
        let more = SetParams { up: Some(1000), ..only.clone() };
        for (params, status) in [(only, ActStatus::Unchanged), (more, ActStatus::Ok)] {
            let set = rig.session.ask(|reply| Command::Set(Box::new(params), reply)).await;
            let acted = set.expect("it answers").expect("it is done").torrents.remove(0);
            assert_eq!((acted.status, acted.note.as_deref(), acted.error), (status, Some(note), None));
        }
    }
    rig.quit().await;
}
