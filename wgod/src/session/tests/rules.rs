//! What the configuration says of labels and trackers, with real torrents: whose goal is in force, whom limits are
//! about, and what a change does to them.
use std::collections::BTreeMap;

use wgo_api::goals::{Choice, GoalSource, GoalSources};
use wgo_api::params::{LabelParams, ListParams, SetParams, ShowParams, TrackersParams};
use wgo_api::result::{LabelLimits, TorrentDetails};
use wgo_api::torrent::RateLimits;
use wgo_core::ByteRate;
use wgo_core::limiter::Direction;
use wgo_core::session::{AfterGoal, ChosenGoals, Ratio};

use super::goals::{fetch, of, seeding, set};
use super::*;
use crate::session::Rules;

fn ratio(ratio: f64) -> ChosenGoals {
    ChosenGoals { ratio: Ratio::of(ratio), ..ChosenGoals::default() }
}

fn map<T: Clone>(rules: &[(&str, T)]) -> BTreeMap<String, T> {
    rules.iter().map(|(name, rule)| ((*name).to_owned(), rule.clone())).collect()
}

async fn say(rig: &Rig, rules: Rules, goals: ChosenGoals) {
    rig.session.apply(Tunables { rules, goals, ..tunables() }).await;
}

async fn label(rig: &Rig, id: &str, labels: &[&str]) {
    let set = Some(labels.iter().map(|label| (*label).to_owned()).collect());
    let params = LabelParams { ids: vec![id.to_owned()], set, ..LabelParams::default() };
    let acted = rig.session.ask(|reply| Command::Label(params, reply)).await.expect("it answers");
    assert!(acted.expect("it is done").torrents.iter().all(|one| one.error.is_none()));
}

async fn trackers(rig: &Rig, add: &[&str]) {
    let add = add.iter().map(|url| (*url).to_owned()).collect();
    let params = TrackersParams { id: "t".into(), add, ..TrackersParams::default() };
    let changed = rig.session.ask(|reply| Command::Trackers(params, reply)).await.expect("it answers");
    changed.expect("it is done");
}

async fn details(rig: &Rig, id: &str) -> TorrentDetails {
    let params = ShowParams { id: id.into(), ..Default::default() };
    let shown = rig.session.ask(|reply| Command::Show(params, reply)).await;
    shown.expect("it answers").expect("it is there").torrent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrents_own_goal_wins_over_its_labels_these_over_its_trackers_these_over_the_rest() {
    let (rig, _) = seeding(SetParams { ratio: Some(Choice::Own(1.0)), ..of("t") }).await;
    label(&rig, "t", &["tv", "unruled"]).await;
    trackers(&rig, &["http://127.0.0.1:1/announce"]).await;
    let labels = map(&[("tv", ChosenGoals { action: Some(AfterGoal::Remove), ..ratio(2.0) })]);
    let hosts = map(&[("127.0.0.1", ChosenGoals { time: Some(1_000_000), ..ratio(3.0) })]);
    let rules = Rules { labels, trackers: hosts, ..Rules::default() };
    say(&rig, rules.clone(), ChosenGoals { idle: Some(2_000_000), ..ratio(4.0) }).await;
    let tv = || GoalSource::label("tv");
    let tracker = || GoalSource::tracker("127.0.0.1");
    let shown = details(&rig, "t").await;
    let by = GoalSources {
        ratio: GoalSource::TORRENT,
        time_secs: tracker(),
        idle_secs: GoalSource::SEEDING,
        action: tv(),
    };
    assert_eq!(shown.goals_by, by);
    let goals = shown.torrent.goals;
    assert_eq!(
        (goals.ratio, goals.time_secs, goals.idle_secs),
        (Some(1.0), Some(1_000_000), Some(2_000_000))
    );
    assert_eq!(goals.action, wgo_api::goals::AfterGoal::Remove);

    let now = async |rig: &Rig| {
        let shown = details(rig, "t").await;
        (shown.torrent.goals.ratio, shown.goals_by.ratio)
    };
    set(&rig, SetParams { ratio: Some(Choice::DEFAULT), ..of("t") }).await.expect("it can be set");
    assert_eq!(now(&rig).await, (Some(2.0), tv()));
    label(&rig, "t", &["unruled"]).await;
    assert_eq!(now(&rig).await, (Some(3.0), tracker()));
    say(&rig, Rules { trackers: BTreeMap::new(), ..rules }, ratio(4.0)).await;
    assert_eq!(now(&rig).await, (Some(4.0), GoalSource::SEEDING));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goal_of_a_label_counts_from_the_moment_the_torrent_has_it() {
    let (rig, file) = seeding(SetParams { sequential: Some(false), ..of("t") }).await;
    say(&rig, Rules { labels: map(&[("tv", ratio(0.5))]), ..Rules::default() }, ChosenGoals::default()).await;
    let _peer = fetch(&rig, &file, 2).await;
    let row = rig.until_row("t", |row| row.uploaded_bytes >= 2 * u64::from(BLOCK_LEN)).await;
    assert_eq!((row.state, row.goals.ratio), (State::Seeding, None));
    label(&rig, "t", &["tv"]).await;
    let row = rig.until("t", State::Stopped).await;
    assert_eq!(row.done_reason.as_deref(), Some("ratio 0.50 reached"));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goal_of_a_tracker_counts_from_the_moment_the_torrent_has_it() {
    let (rig, file) = seeding(SetParams { sequential: Some(false), ..of("t") }).await;
    let rules = Rules { trackers: map(&[("127.0.0.1", ratio(0.5))]), ..Rules::default() };
    say(&rig, rules, ChosenGoals::default()).await;
    let _peer = fetch(&rig, &file, 2).await;
    rig.until_row("t", |row| row.uploaded_bytes >= 2 * u64::from(BLOCK_LEN)).await;
    trackers(&rig, &["http://127.0.0.1:1/announce"]).await;
    let row = rig.until("t", State::Stopped).await;
    assert_eq!(row.done_reason.as_deref(), Some("ratio 0.50 reached"));
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_torrents_hears_of_goals_that_a_reload_changed() {
    let (rig, _) = seeding(SetParams { sequential: Some(false), ..of("t") }).await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    let list = async |since| {
        let params = ListParams { since, ..ListParams::default() };
        rig.session.ask(|reply| Command::List(params, reply)).await.expect("it answers")
    };
    let before = list(None).await.version;
    assert!(list(Some(before)).await.torrents.is_empty());
    say(&rig, Rules::default(), ratio(7.0)).await;
    let changed = list(Some(before)).await.torrents;
    let goals: Vec<_> = changed.iter().map(|row| row.torrent.goals.ratio).collect();
    assert_eq!(goals, [Some(7.0)], "though it is stopped");
    rig.quit().await;
}

/// Which of "a", "b" and "c" a limit holds for, up and down.
async fn limited(rig: &Rig) -> [[bool; 2]; 3] {
    let mut ids = BTreeMap::new();
    let each = |record: Result<crate::store::TorrentRecord, _>| {
        let record = record.expect("readable");
        ids.insert(record.settings.name, record.id);
    };
    rig.engine.store.load(each).await.expect("readable");
    let is = |name: &str, direction| rig.engine.shaper.is_limited(ids[name], direction);
    ["a", "b", "c"].map(|name| [is(name, Direction::Up), is(name, Direction::Down)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_a_label_are_about_the_torrents_that_have_it_now() {
    let rig = Rig::new().await;
    for name in ["a", "b", "c"] {
        let payload = noise(PIECE + name.len());
        std::fs::write(rig.folder.join(name), &payload).expect("written");
        rig.add(&torrent_file(name, &payload, PIECE)).await;
        rig.until(name, State::Seeding).await;
    }
    label(&rig, "a", &["tv"]).await;
    label(&rig, "b", &["hd", "tv"]).await;
    let (yes, no) = (true, false);
    assert_eq!(limited(&rig).await, [[no; 2]; 3]);
    let limits = map(&[("tv", [Some(ByteRate(1000)), None]), ("hd", [None, Some(ByteRate(2000))])]);
    let rules = Rules { limits, ..Rules::default() };
    say(&rig, rules.clone(), ChosenGoals::default()).await;
    // The answer comes when the settings are in force.
    let shown = details(&rig, "b").await.label_limits;
    let share = |label: &str, torrents, up, down| LabelLimits {
        label: label.to_owned(),
        torrents,
        limits: RateLimits { up, down },
    };
    assert_eq!(shown, [share("hd", 1, 0, 2000), share("tv", 2, 1000, 0)]);
    assert_eq!(details(&rig, "c").await.label_limits, []);
    assert_eq!(limited(&rig).await, [[yes, no], [yes, yes], [no, no]]);
    label(&rig, "b", &[]).await;
    label(&rig, "c", &["hd"]).await;
    assert_eq!(limited(&rig).await, [[yes, no], [no, no], [no, yes]]);

    // They are there from the start on; the rig starts without them.
    let rig = rig.restart().await;
    assert_eq!(limited(&rig).await, [[no; 2]; 3]);
    say(&rig, rules, ChosenGoals::default()).await;
    rig.row("a").await;
    assert_eq!(limited(&rig).await, [[yes, no], [no, no], [no, yes]]);
    let only_hd = Rules { limits: map(&[("hd", [Some(ByteRate(1)), None])]), ..Rules::default() };
    say(&rig, only_hd, ChosenGoals::default()).await;
    rig.row("a").await;
    assert_eq!(limited(&rig).await, [[no, no], [no, no], [yes, no]]);
    say(&rig, Rules::default(), ChosenGoals::default()).await;
    rig.row("a").await;
    assert_eq!(limited(&rig).await, [[no; 2]; 3]);
    rig.quit().await;
}
