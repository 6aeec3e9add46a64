//! `wgoctl add`: torrents from files, folders, standard input, magnet links and URLs.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wgo_api::params::{AddParams, Check, Goal as WaitFor, Source};
use wgo_api::result::{AddResult, AddStatus, Added};
use wgo_api::torrent::Priority;
use wgo_api::units::Period;
use wgo_api::{ApiClient, ApiError, Kind};

use crate::clean::{clean, clean_lines};
use crate::context::Context;
use crate::failure::{Failure, exit_code_of};
use crate::fetch::fetch_all;
use crate::progress::wait_for;
use crate::set::{Goal, PriorityArg, RatioArg};
use crate::sources::{self, Given};
use crate::table::Tone;
use crate::wrap::fact;

/// Torrents to add, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A PATTERN is a path of a file or folder of the torrent, in which * and ? stand for any characters;
without a / in it also the name of a file or folder anywhere; or the number of a file, or
FIRST-LAST.

Of a magnet link it is known later which files there are: patterns count then, those that match none are passed
over, and numbers in the link itself (so=) come first.

URLs are fetched by wgoctl and not by the daemon, directly and without a log-in; where it takes
cookies or a proxy, use curl as below. The file has to come within 30 s, or the time of --timeout.

What the daemon's configuration says of a label counts for what is added with it, [labels.NAME]:
folder, priority and whether it starts, where no option says otherwise; limits and seeding goals.

Examples:
  wgoctl add debian.torrent
  wgoctl add --folder /srv/media --label tv ~/Downloads/*.torrent
  wgoctl add --only '*.mkv' --skip Sample show.torrent
  wgoctl add --wait metadata 'magnet:?xt=urn:btih:…'
  wgoctl add --priority high --ratio 2 --seed-time '7 d' debian.torrent
  wgoctl add 'https://example.org/a.torrent'
  curl -s -b cookies.txt https://example.org/a.torrent | wgoctl add -
  wgoctl add --check quick --folder /srv/media finished.torrent")]
pub struct Args {
    /// .torrent files, folders of them, magnet links, URLs, - for standard input
    #[arg(value_name = "SRC", required = true)]
    sources: Vec<PathBuf>,
    /// Folder for the files [default: that of its label, else the daemon's]
    #[arg(long, short, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Add without starting
    #[arg(long)]
    paused: bool,
    /// Give it this label; may be repeated
    #[arg(long, value_name = "LABEL", value_parser = crate::label::label)]
    label: Vec<String>,
    /// How to check files that exist: quick samples 16 pieces and hashes the others before they are served
    #[arg(long, value_enum, value_name = "HOW", default_value_t = CheckArg::Full)]
    check: CheckArg,
    /// Try this peer, IP:PORT; may be repeated
    #[arg(long, value_name = "ADDR")]
    peer: Vec<SocketAddr>,
    /// Exit with 6 if the torrent is already present
    #[arg(long)]
    fail_if_exists: bool,
    /// Fetch pieces in order
    #[arg(long)]
    sequential: bool,
    #[command(flatten)]
    chosen: crate::files::Chosen,
    /// Fetch the first and last pieces of each file before its others
    #[arg(long)]
    first_last: bool,
    /// How it ranks in the queue
    #[arg(long, value_enum, value_name = "HOW")]
    priority: Option<PriorityArg>,
    /// Seeding goal: uploaded bytes over the torrent's size [default: as the daemon is configured]
    #[arg(long, value_name = "X|none", allow_negative_numbers = true)]
    ratio: Option<Goal<RatioArg>>,
    /// Seeding goal: time spent seeding, like "7 d"
    #[arg(long, value_name = "TIME|none")]
    seed_time: Option<Goal<Period>>,
    /// Seeding goal: time spent seeding without an upload
    #[arg(long, value_name = "TIME|none")]
    seed_idle: Option<Goal<Period>>,
    /// Return only when this is reached; --timeout limits the wait
    #[arg(long, value_enum, value_name = "WHAT")]
    wait: Option<GoalArg>,
}

/// `--check`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CheckArg {
    /// Hash everything
    Full,
    /// Sample
    Quick,
}

/// `--wait` and `--for`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum GoalArg {
    /// The metadata is known
    Metadata,
    /// All wanted data is on disk
    Done,
}

impl From<GoalArg> for WaitFor {
    fn from(goal: GoalArg) -> WaitFor {
        match goal {
            GoalArg::Metadata => WaitFor::Metadata,
            GoalArg::Done => WaitFor::Done,
        }
    }
}

/// Bytes of sources in one request: several requests are cheaper for the daemon than one huge one.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;
/// Sources in one request, which is one commit of the daemon.
const REQUEST_SOURCES: usize = 500;

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let template = AddParams {
        sources: Vec::new(),
        folder: args.folder.as_deref().map(|folder| context.folder(folder)).transpose()?,
        paused: args.paused,
        labels: args.label,
        check: match args.check {
            CheckArg::Full => Check::Full,
            CheckArg::Quick => Check::Quick,
        },
        peers: args.peer,
        fail_if_exists: args.fail_if_exists,
        sequential: args.sequential,
        choose: args.chosen.into(),
        first_last: args.first_last,
        priority: args.priority.map(Priority::from),
        ratio: args.ratio.and_then(|goal| goal.own(|ratio| ratio.0)),
        seed_time_secs: args.seed_time.and_then(|goal| goal.own(|time| time.0)),
        seed_idle_secs: args.seed_idle.and_then(|goal| goal.own(|time| time.0)),
        goal_action: None,
        known: None,
    };
    let mut given = sources::gather(&args.sources, context.console);
    fetch_all(&mut given, context.answer_time()).await;
    let labels: Vec<String> = given.iter().map(|given| given.label.clone()).collect();
    let result = AddResult { torrents: send(given, &template, context).await? };
    report(context, &result, &labels)?;
    if let Some(goal) = args.wait {
        // What was added is known now; the wait may take days.
        context.console.out.flush().map_err(Failure::Output)?;
        if let Err(failure) = wait(&result, goal.into(), context).await {
            // The document is out: that the wait failed is told by the exit code.
            context.console.complain(&failure, false);
            return Ok(failure.exit_code());
        }
    }
    Ok(exit_code_of(result.torrents.iter().map(|added| match added.status {
        AddStatus::Failed => Some(added.kind.unwrap_or(Kind::Other)),
        AddStatus::Added | AddStatus::Present => None,
    })))
}

/// The folder as the daemon needs it: absolute, and in UTF-8 for JSON.
pub(crate) fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    let failed = |source| Failure::File { path: folder.to_owned(), source };
    let steps_back = folder.components().any(|part| part == std::path::Component::ParentDir);
    // `..` after a symbolic link means the link's target: only the file system knows.
    let path =
        if steps_back { folder.canonicalize() } else { std::path::absolute(folder) }.map_err(failed)?;
    if path.to_str().is_none() {
        return Err(Failure::Usage(format!("{}: the name of a folder must be UTF-8", folder.display())));
    }
    Ok(path)
}

/// Sends the sources in as few requests as sensible; the answers are in the order of the sources.
async fn send(
    given: Vec<Given>,
    template: &AddParams,
    context: &mut Context<'_, '_>,
) -> Result<Vec<Added>, Failure> {
    let mut answers: Vec<Option<Added>> = Vec::new();
    let mut waiting: Vec<(usize, Source)> = Vec::new();
    let mut bytes = 0;
    let mut lost: Option<ApiError> = None;
    for (place, Given { source, .. }) in given.into_iter().enumerate() {
        answers.push(None);
        match source {
            Err(failure) => {
                let error = ApiError::new(sources::kind_of(&failure), failure.to_string());
                answers[place] = Some(Added::failed(None, None, error));
            }
            Ok(source) => {
                let size = match &source {
                    Source::Torrent(text) | Source::Uri(text) => text.len(),
                };
                if !waiting.is_empty() && (bytes + size > REQUEST_BYTES || waiting.len() >= REQUEST_SOURCES) {
                    flush(&mut waiting, template, context, &mut answers, &mut lost).await;
                    bytes = 0;
                }
                bytes += size;
                waiting.push((place, source));
            }
        }
    }
    flush(&mut waiting, template, context, &mut answers, &mut lost).await;
    let nothing_done = answers.iter().flatten().all(|added| added.status == AddStatus::Failed);
    match lost {
        Some(error) if nothing_done => Err(error.into()),
        _ => Ok(answers.into_iter().flatten().collect()),
    }
}

/// One request. After a failure of the call itself nothing more is sent.
async fn flush(
    waiting: &mut Vec<(usize, Source)>,
    template: &AddParams,
    context: &Context<'_, '_>,
    answers: &mut [Option<Added>],
    lost: &mut Option<ApiError>,
) {
    if waiting.is_empty() {
        return;
    }
    let (places, sources): (Vec<usize>, Vec<Source>) = waiting.drain(..).unzip();
    let outcome = match lost {
        Some(error) => Err(error.clone()),
        None => {
            let call = context.client.add(AddParams { sources, ..template.clone() }).await;
            call.map_err(ApiError::from)
        }
    };
    let mut torrents = match outcome {
        Ok(result) => result.torrents.into_iter(),
        Err(error) => {
            *lost = Some(error);
            Vec::new().into_iter()
        }
    };
    for place in places {
        let answer = torrents.next().unwrap_or_else(|| {
            let error = lost.clone();
            Added::failed(
                None,
                None,
                error.unwrap_or_else(|| ApiError::new(Kind::Internal, "wgod gave no answer")),
            )
        });
        answers[place] = Some(answer);
    }
}

async fn wait(result: &AddResult, goal: WaitFor, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let wanted = result.torrents.iter().filter(|added| added.status != AddStatus::Failed);
    let ids: Vec<String> = wanted.filter_map(|added| added.info_hash.clone()).collect();
    // One limit for all of them, not one for each.
    let end = context.patience().map(|limit| Instant::now() + limit);
    for id in ids {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        wait_for(&id, goal, left, context).await?;
    }
    Ok(())
}

fn report(context: &mut Context<'_, '_>, result: &AddResult, labels: &[String]) -> Result<(), Failure> {
    context.answer(result, |result, terminal| {
        let mut text = String::new();
        for (added, label) in result.torrents.iter().zip(labels) {
            let name = clean(added.name.as_deref().unwrap_or(label));
            let which = format!("{}  {name}", added.info_hash.as_deref().unwrap_or_default());
            match added.status {
                AddStatus::Added => text.push_str(&fact("Added", 8, &which, Tone::Plain, terminal)),
                AddStatus::Present => text.push_str(&fact("Present", 8, &which, Tone::Plain, terminal)),
                AddStatus::Failed => {}
            }
        }
        text
    })?;
    for (added, label) in result.torrents.iter().zip(labels) {
        if added.status == AddStatus::Failed {
            let why = clean_lines(added.error.as_deref().unwrap_or("failed for no given reason"));
            let label = clean(label);
            let line = if why.contains(label.as_str()) { why } else { format!("{label}: {why}") };
            context.console.note(&format!("wgoctl: {line}"));
        }
    }
    Ok(())
}
