//! The operator: sends acts over the control socket, several at once, and says which were acknowledged.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use wgo_api::client::UnixHttpClient;
use wgo_api::error::{ApiError, Kind};
use wgo_api::goals::{Choice as Goal, DefaultWord};
use wgo_api::params::{
    AddParams, Choice, FilesParams, LabelParams, LimitParams, ListParams, MoveParams, RemoveParams,
    RenameParams, SelectParams, SetParams, ShowParams, Source, StartParams, StatusParams, VerifyParams,
};
use wgo_api::result::{ActResult, ActStatus, AddStatus, ShowResult};
use wgo_api::{ApiClient, Torrent};

use super::plan::Act;
use super::stock::Stock;

/// An answer takes this long at most, on a machine that is busy with many other tests.
const CALL: Duration = Duration::from_secs(120);

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Done, and durable.
    Done,
    /// Not done, or not all of it.
    Refused(String),
    /// Nobody answered.
    Nothing(String),
}

/// A client of the daemon under test.
#[derive(Debug)]
pub(super) struct Operator {
    runtime: Runtime,
    client: Arc<UnixHttpClient>,
    seeder: SocketAddr,
}

impl Operator {
    pub(super) fn new(socket: &Path, seeder: SocketAddr) -> Operator {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Operator { runtime, client: Arc::new(UnixHttpClient::new(socket, Some(CALL))), seeder }
    }

    /// Whether the daemon answers.
    pub(super) fn is_there(&self) -> bool {
        self.runtime.block_on(self.client.status(StatusParams::default())).is_ok()
    }

    /// Does all of `acts` at once; the answers in their order.
    pub(super) fn perform(&self, acts: &[Act], stock: &Stock) -> Vec<Answer> {
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for (at, act) in acts.iter().enumerate() {
                let (client, act, seeder) = (self.client.clone(), act.clone(), self.seeder);
                let item = act.torrent().map(|at| (stock.items[at].torrent.clone(), seeder));
                let files = act.torrent().map_or(0, |at| stock.items[at].payload.files.len());
                tasks.spawn(async move { (at, send(&client, act, files, item).await) });
            }
            let mut answers = vec![Answer::Nothing(String::new()); acts.len()];
            while let Some(done) = tasks.join_next().await {
                let (at, answer) = done.unwrap();
                answers[at] = answer;
            }
            answers
        })
    }

    /// All torrents.
    pub(super) fn list(&self) -> Vec<Torrent> {
        let list = self.runtime.block_on(self.client.list(ListParams::default()));
        list.unwrap().torrents.into_iter().map(|row| row.torrent).collect()
    }

    /// One torrent with its files and pieces.
    pub(super) fn show(&self, id: &str) -> ShowResult {
        let params = ShowParams { id: id.to_owned(), files: true, pieces: true, ..ShowParams::default() };
        self.runtime.block_on(self.client.show(params)).unwrap()
    }

    /// The daemon's own download limit.
    pub(super) fn down_limit(&self) -> u64 {
        self.runtime.block_on(self.client.limit(LimitParams::default())).unwrap().limits.down
    }

    /// Names the seeder to torrents that are there: peers given by hand are not kept for ever.
    pub(super) fn introduce(&self, stock: &Stock, torrents: &[usize], folder: &Path) {
        if torrents.is_empty() {
            return;
        }
        let sources = torrents.iter().map(|at| Source::of_file(&stock.items[*at].torrent.bytes));
        let params = AddParams {
            sources: sources.collect(),
            folder: Some(folder.to_owned()),
            peers: vec![self.seeder],
            ..AddParams::default()
        };
        let added = self.runtime.block_on(self.client.add(params)).unwrap();
        for added in added.torrents {
            assert_eq!(added.status, AddStatus::Present, "it was there a moment ago: {added:?}");
        }
    }
}

async fn send(
    client: &UnixHttpClient,
    act: Act,
    files: usize,
    item: Option<(crate::maker::Torrent, SocketAddr)>,
) -> Answer {
    let id = item.as_ref().map(|(torrent, _)| torrent.id()).unwrap_or_default();
    let ids = vec![id.clone()];
    let set = SetParams { ids: ids.clone(), ..SetParams::default() };
    let acted = match act {
        Act::Add { folder, paused, labels, magnet, .. } => {
            let Some((torrent, seeder)) = item else { return Answer::Refused("no torrent".into()) };
            return add(client, &torrent, seeder, (folder, paused, labels, magnet)).await;
        }
        Act::Remove { data, .. } => client.remove(RemoveParams { ids, data, all: false }).await,
        Act::Start(_) => client.start(StartParams { ids, ..StartParams::default() }).await,
        Act::Stop(_) => client.stop(SelectParams { ids, all: false }).await,
        Act::Verify(_) => client.verify(VerifyParams { ids, ..VerifyParams::default() }).await,
        Act::Move { folder, .. } => {
            client.relocate(MoveParams { ids, folder: Some(folder), ..MoveParams::default() }).await
        }
        Act::Rename { from, to, .. } => {
            let text = |path: PathBuf| path.to_str().unwrap_or_default().to_owned();
            let renamed = client.rename(RenameParams { id, path: text(from), to: text(to) }).await;
            return answered(renamed.map(drop));
        }
        Act::Label { labels, .. } => {
            client.label(LabelParams { ids, set: Some(labels), ..LabelParams::default() }).await
        }
        Act::Limits { up, down, .. } => client.set(SetParams { up: Some(up), down: Some(down), ..set }).await,
        Act::Ratio { ratio, .. } => {
            let ratio =
                ratio.map_or(Goal::Default(DefaultWord::Default), |ratio| Goal::Own(f64::from(ratio)));
            client.set(SetParams { ratio: Some(ratio), ..set }).await
        }
        Act::Sequential { on, .. } => client.set(SetParams { sequential: Some(on), ..set }).await,
        Act::Select { skip, .. } => {
            // Of every file it is said what becomes of it; patterns count in this order.
            let normal = vec![format!("1-{files}")];
            let skip = skip.iter().map(|file| (file + 1).to_string()).collect();
            let choose = Choice { normal, skip, ..Choice::default() };
            let chosen = client.files(FilesParams { id, choose, first_last: None }).await;
            return answered(chosen.map(drop));
        }
        Act::DaemonDown(down) => {
            let limited = client.limit(LimitParams { down: Some(down), ..LimitParams::default() }).await;
            return answered(limited.map(drop));
        }
    };
    match acted {
        Ok(ActResult { torrents }) => match torrents.first() {
            Some(acted) if acted.status == ActStatus::Failed => {
                Answer::Refused(format!("{:?} {}", acted.kind, acted.error.clone().unwrap_or_default()))
            }
            Some(_) => Answer::Done,
            None => Answer::Refused("about nothing".into()),
        },
        Err(error) => answered(Err::<(), _>(error)),
    }
}

async fn add(
    client: &UnixHttpClient,
    torrent: &crate::maker::Torrent,
    seeder: SocketAddr,
    (folder, paused, labels, magnet): (PathBuf, bool, Vec<String>, bool),
) -> Answer {
    let source = match magnet {
        true => Source::Uri(torrent.magnet(&[], &[seeder])),
        false => Source::of_file(&torrent.bytes),
    };
    let params = AddParams {
        sources: vec![source],
        folder: Some(folder),
        paused,
        labels,
        peers: vec![seeder],
        ..AddParams::default()
    };
    match client.add(params).await {
        Ok(added) => match added.torrents.first() {
            Some(added) if added.status == AddStatus::Added => Answer::Done,
            other => Answer::Refused(format!("{other:?}")),
        },
        Err(error) => answered(Err::<(), _>(error)),
    }
}

fn answered<E: Into<ApiError>>(answer: Result<(), E>) -> Answer {
    match answer.map_err(Into::into) {
        Ok(()) => Answer::Done,
        Err(error) => match error.kind() {
            Kind::Unreachable | Kind::Timeout | Kind::Stopping | Kind::Internal => {
                Answer::Nothing(error.to_string())
            }
            _ => Answer::Refused(error.to_string()),
        },
    }
}
