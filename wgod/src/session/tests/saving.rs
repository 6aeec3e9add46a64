//! Answers of a daemon whose state can't be saved for a while.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wgo_api::ApiError;
use wgo_api::params::{LabelParams, MoveParams, TrackersParams};
use wgo_api::result::ActResult;
use wgo_api::torrent::State;

use super::super::{Command, Verb};
use super::PIECE;
use super::mounts::Nas;
use crate::files::RealDisk;
use crate::rig::*;

fn error_of(answer: Option<Result<ActResult, ApiError>>) -> Option<String> {
    answer.expect("it answers").expect("there is one").torrents[0].error.clone()
}

async fn label(rig: &Rig) -> Option<String> {
    let params = LabelParams { all: true, add: vec!["films".to_owned()], ..LabelParams::default() };
    error_of(rig.session.ask(|reply| Command::Label(params, reply)).await)
}

async fn go_elsewhere(rig: &Rig) -> Option<String> {
    let folder = Some(rig.folder.with_file_name("elsewhere"));
    let params = MoveParams { all: true, folder, ..MoveParams::default() };
    error_of(rig.session.ask(|reply| Command::Move(params, reply)).await)
}

async fn add_tracker(rig: &Rig) -> Option<String> {
    let add = vec!["udp://127.0.0.1:9/announce".to_owned()];
    let params = TrackersParams { id: "t".to_owned(), add, ..TrackersParams::default() };
    let answer = rig.session.ask(|reply| Command::Trackers(params, reply)).await;
    answer.expect("it answers").err().map(|error| error.message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_again_for_what_could_not_be_saved_is_not_told_that_it_is_done() {
    let state = Arc::new(Nas::default());
    let rig = Rig::on_two(Arc::new(RealDisk), state.clone()).await;
    rig.add(&torrent_file("t", &noise(PIECE), PIECE)).await;
    rig.act(Verb::Stop).await;
    rig.until("t", State::Stopped).await;
    state.full.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        for error in [label(&rig).await, add_tracker(&rig).await, go_elsewhere(&rig).await] {
            let error = error.expect("it can't be saved");
            assert!(error.contains("may not outlast a restart"), "{error}");
        }
    }
    assert!(!rig.folder.with_file_name("elsewhere").exists(), "nobody would know of it after a crash");
    state.full.store(false, Ordering::Relaxed);
    assert_eq!([label(&rig).await, add_tracker(&rig).await, go_elsewhere(&rig).await], [None, None, None]);
    rig.until_row("t", |row| row.state == State::Stopped && row.folder.ends_with("elsewhere")).await;
    assert_eq!(go_elsewhere(&rig).await, None);
    let rig = rig.restart().await;
    let row = rig.row("t").await;
    assert_eq!((row.labels, row.folder.ends_with("elsewhere")), (vec!["films".to_owned()], true));
    rig.quit().await;
}
