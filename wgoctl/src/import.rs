//! `wgoctl import`: takes over the torrents of another client, with their files where they are.
//!
//! One reader per client makes a [`found::Found`] of each torrent; [`plan`] looks at its files; the daemon gets
//! it as `add` with what the client knew. Nothing of the other client is changed, but that files of unfinished
//! downloads lose the suffix that some clients give them, unless the daemon would give them the same.
mod aria2;
mod deluge;
mod found;
mod libtorrent;
mod names;
mod pickle;
mod plan;
mod qbittorrent;
mod report;
mod rtorrent;
mod running;
mod sqlite;
pub mod taken;
#[cfg(test)]
mod tests;
mod transmission;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokio::task::JoinSet;
use wgo_api::params::{ConfigParams, QueueParams, QueueTo, QueueWord};
use wgo_api::result::{AddStatus, Added};
use wgo_api::{ApiClient, ApiError, Kind};

use self::found::{Found, Items, Left};
use self::plan::Plan;
use self::report::{Report, Row, Status};
use crate::clean::clean;
use crate::context::Context;
use crate::failure::{Failure, exit_code_of};

/// A session to take over, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stop the other client first, and try with --dry-run. DIR is for
  transmission  its configuration folder, with torrents/ and resume/ in it
  qbittorrent   the folder with BT_backup or torrents.db in it, or a profile
  deluge        its configuration folder, with state/ in it
  rtorrent      what session.path names
  aria2         the folder with the downloads, their .torrent files and their .aria2 files

Files stay where they are. CHECK says what is hashed: none, no file was touched since the client last
looked; sample, 16 pieces, and all others before they are first served; touched, the pieces it had in
files that were touched since; full, all that is there. A torrent whose files are missing is left out.

Examples:
  wgoctl import transmission ~/.config/transmission-daemon --dry-run
  wgoctl import qbittorrent ~/.local/share/qBittorrent
  wgoctl import rtorrent ~/rtorrent/.session --map /home/old=/home/new
  wgoctl import deluge ~/.config/deluge --paused --label from-deluge")]
pub struct Args {
    /// Which client
    #[arg(value_enum)]
    client: Client,
    /// Its session
    dir: PathBuf,
    /// Show what would happen, and change nothing; needs no daemon
    #[arg(long)]
    dry_run: bool,
    /// What the client saw at FROM is at TO now, as with containers; may be repeated
    #[arg(long, value_name = "FROM=TO", value_parser = mapping)]
    map: Vec<(PathBuf, PathBuf)>,
    /// Give each this label, too; may be repeated
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// Add all without starting
    #[arg(long)]
    paused: bool,
    /// Go on though the client seems to run
    #[arg(long)]
    force: bool,
}

/// The clients whose sessions are read.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Client {
    /// Transmission 2.8 to 4
    Transmission,
    /// qBittorrent 4.2 to 5
    Qbittorrent,
    /// Deluge 1.3 and 2
    Deluge,
    /// rTorrent
    Rtorrent,
    /// aria2
    Aria2,
}

impl Client {
    /// Reads the session in `folder`.
    fn read(self, folder: &Path) -> Result<Items, Failure> {
        match self {
            Client::Transmission => transmission::read(folder),
            Client::Qbittorrent => qbittorrent::read(folder),
            Client::Deluge => deluge::read(folder),
            Client::Rtorrent => rtorrent::read(folder),
            Client::Aria2 => aria2::read(folder),
        }
    }

    /// The programs that may be using it.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Client::Transmission => transmission::PROGRAMS,
            Client::Qbittorrent => qbittorrent::PROGRAMS,
            Client::Deluge => deluge::PROGRAMS,
            Client::Rtorrent => rtorrent::PROGRAMS,
            Client::Aria2 => aria2::PROGRAMS,
        }
    }
}

/// Torrents that are added at the same time: they share commits of the daemon.
const AT_ONCE: usize = 16;

fn mapping(text: &str) -> Result<(PathBuf, PathBuf), String> {
    match text.split_once('=') {
        Some((from, to)) if from.starts_with('/') && to.starts_with('/') => Ok((from.into(), to.into())),
        _ => Err("it is two absolute paths with = between them, like /downloads=/srv/media".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let items = args.client.read(&args.dir)?;
    if let Some(pid) = running::process(args.client.programs(), &args.dir) {
        let why = format!(
            "{}: the client seems to run, as process {pid}: stop it first, so that it saves what it knows and \
            writes to the files no more",
            args.dir.display()
        );
        match (args.dry_run, args.force) {
            (true, _) => context.console.note(&format!("wgoctl: {}", clean(&why))),
            (false, true) => {}
            (false, false) => {
                return Err(Failure::Usage(format!("{why}; with --force it is taken over all the same")));
            }
        }
    }
    let mut report = Report { dry_run: args.dry_run, torrents: Vec::new() };
    let (mut waiting, mut synced, mut line) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut suffix = None;
    for item in items {
        match item.and_then(|found| planned(*found, &args)) {
            Err(left) => report.torrents.push(Row::left(left)),
            Ok(mut plan) => {
                keep_suffix(&mut plan, &mut suffix, context).await;
                line.push((plan.queued, report.torrents.len()));
                report.torrents.push(Row::planned(&plan));
                if !args.dry_run {
                    waiting.push((report.torrents.len() - 1, plan));
                }
            }
        }
        if waiting.len() >= AT_ONCE {
            send(&mut waiting, &mut synced, &mut report.torrents, context).await?;
        }
    }
    send(&mut waiting, &mut synced, &mut report.torrents, context).await?;
    line_up(line, &report.torrents, context).await?;
    if report.torrents.is_empty() {
        return Err(Failure::Usage(format!("{}: there are no torrents in this session", args.dir.display())));
    }
    context.answer(&report, Report::text)?;
    for complaint in report.complaints() {
        context.console.note(&format!("wgoctl: {complaint}"));
    }
    Ok(exit_code_of(report.torrents.iter().map(|row| match row.status {
        Status::Failed => Some(row.kind.unwrap_or(Kind::Other)),
        Status::Added | Status::Present | Status::WouldAdd => None,
    })))
}

/// Has files that aren't complete keep the names that they have if the daemon would call them so, too. `asked`: what
/// it has their names end in, once that was asked; nothing if it can't be.
async fn keep_suffix(plan: &mut Plan, asked: &mut Option<Option<String>>, context: &Context<'_, '_>) {
    if plan.renames.is_empty() {
        return;
    }
    let ours = match asked {
        Some(ours) => ours,
        None => asked.insert(part_suffix(context).await),
    };
    if ours.as_deref() == plan.suffix {
        plan.renames.clear();
    }
}

async fn part_suffix(context: &Context<'_, '_>) -> Option<String> {
    let params = ConfigParams { keys: vec!["storage.part_suffix".to_owned()], check: false };
    let settings = context.prompt_client().config(params).await.ok()?.settings;
    settings.first()?.value.as_str().map(str::to_owned)
}

/// Where a folder of the client's really is.
fn mapped(folder: PathBuf, map: &[(PathBuf, PathBuf)]) -> PathBuf {
    let longest = map.iter().filter(|(from, _)| folder.starts_with(from));
    let longest = longest.max_by_key(|(from, _)| from.components().count());
    let moved = longest.and_then(|(from, to)| Some(to.join(folder.strip_prefix(from).ok()?)));
    moved.unwrap_or(folder)
}

/// Puts those that were added behind all others in the queue, in the order that they had. They were added at the
/// same time, so in no order.
async fn line_up(
    mut line: Vec<((u64, u64), usize)>,
    rows: &[Row],
    context: &Context<'_, '_>,
) -> Result<(), Failure> {
    line.sort_unstable();
    let added = line.iter().filter_map(|(_, place)| rows.get(*place)?.added());
    let ids: Vec<String> = added.map(str::to_owned).collect();
    if ids.len() > 1 {
        let params = QueueParams { ids, to: QueueTo::Word(QueueWord::Bottom) };
        context.prompt_client().queue(params).await.map_err(ApiError::from)?;
    }
    Ok(())
}

fn planned(mut found: Found, args: &Args) -> Result<Plan, Left> {
    found.folder = mapped(found.folder, &args.map);
    found.incomplete = found.incomplete.map(|folder| mapped(folder, &args.map));
    found.known.final_folder = found.known.final_folder.map(|folder| mapped(folder, &args.map));
    found.paused |= args.paused;
    for label in &args.label {
        if !found.labels.contains(label) {
            found.labels.push(label.clone());
        }
    }
    Plan::of(found)
}

/// Adds torrents at the same time. Fails only if the daemon can't be reached; torrents that were added before
/// are shown as present by the next run.
async fn send(
    waiting: &mut Vec<(usize, Plan)>,
    synced: &mut BTreeSet<u64>,
    rows: &mut [Row],
    context: &Context<'_, '_>,
) -> Result<(), Failure> {
    plan::sync(waiting.iter().filter_map(|(_, plan)| plan.params.folder.as_deref()), synced)?;
    let mut calls: JoinSet<(usize, Plan, Result<Added, ApiError>)> = JoinSet::new();
    for (place, plan) in waiting.drain(..) {
        if let Err(why) = plan.rename() {
            if let Some(row) = rows.get_mut(place) {
                row.failed(why, None);
            }
            continue;
        }
        let (client, params) = (context.prompt_client(), plan.params.clone());
        calls.spawn(async move {
            let answer = client.add(params).await.map_err(ApiError::from);
            let none = || ApiError::new(Kind::Internal, "wgod gave no answer");
            let added = answer.and_then(|result| result.torrents.into_iter().next().ok_or_else(none));
            (place, plan, added)
        });
    }
    let mut lost = None;
    while let Some(Ok((place, plan, added))) = calls.join_next().await {
        let failed = added.as_ref().map_or(true, |added| added.status == AddStatus::Failed);
        if failed {
            plan.undo_rename();
        }
        let Some(row) = rows.get_mut(place) else { continue };
        match added {
            Ok(added) => row.answered(added),
            Err(error) => {
                row.failed(error.message.clone(), Some(error.kind()));
                if matches!(error.kind(), Kind::Unreachable | Kind::Permission | Kind::Stopping) {
                    lost = Some(error);
                }
            }
        }
    }
    lost.map_or(Ok(()), |error| Err(error.into()))
}
