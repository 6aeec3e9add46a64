//! `wgoctl events`: what happens to torrents, as lines of JSON for programs to read.
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use wgo_api::params::ListParams;
use wgo_api::result::ListResult;
use wgo_api::torrent::{Filter, Torrent};
use wgo_api::{ApiClient, ApiError};

use crate::clean::{JsonSafe, clean_lines};
use crate::console::{Console, reader_is_gone};
use crate::context::Context;
use crate::failure::Failure;
use crate::feed::{Feed, News};
use crate::list::filter;

mod differences;
use differences::{What, differences};

/// Which events.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line is one JSON object: \"event\", \"at\" in Unix seconds, the \"torrent\" as `wgoctl --json list` has it, and:
  present                     was there when this began; without --follow that is all
  connected  \"torrents\"       all that were there have been told
  added, removed              \"torrent\" is what was last known of it
  state      \"from\", \"to\"     one of the states of a torrent
  metadata                    what a magnet link's torrent consists of is known
  completed                   all of it is safe on disk
  error      \"error\", \"kind\"  something is in its way; it may go on as far as it can
  recovered                   nothing is any more
  changed    \"changes\"        {FIELD: {\"from\", \"to\"}}: name, folder, labels, limits and the like
  progress                    bytes, rates or peers; only with --progress
  disconnected  \"error\"       the daemon is gone, and is looked for until it is back

Changes are told once a second; what comes and goes in between is not seen. After the daemon was away, what
happened meanwhile is told before it is \"connected\" again. With --filter come events of torrents that pass it
before or after the change.

Examples:
  wgoctl events --follow
  wgoctl events --follow --filter label=tv | jq -r 'select(.event == \"completed\").torrent.name'
  wgoctl events --follow --no-reconnect || echo 'wgod is gone'")]
pub struct Args {
    /// Go on with what changes, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// state=…, label=… or text in the name; may be repeated
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Tell of transferred bytes and rates too
    #[arg(long, requires = "follow")]
    progress: bool,
    /// Exit with 3 when the daemon goes away; else --timeout says how long to look for it
    #[arg(long, requires = "follow")]
    no_reconnect: bool,
}

/// How often to look whether anybody still reads: where nothing happens, nothing is written that would tell.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let filter = filter(&args.filter)?;
    if !args.follow {
        let list = context.client.list(ListParams { filter, ..ListParams::default() }).await?;
        let mut teller = Teller::new(Filter::default(), false);
        teller.tell_list(list, context.console)?;
        return Ok(0);
    }
    let mut feed = Feed::open(context).await?;
    let mut teller = Teller::new(filter, args.progress);
    let mut connected = false;
    loop {
        match next(&mut feed).await {
            None => return Ok(0),
            Some(Ok(News::List(list))) => {
                teller.tell_list(list, context.console)?;
                if !connected {
                    teller.tell_connected(context.console)?;
                    connected = true;
                }
            }
            Some(Ok(News::Lost(error))) => {
                connected = false;
                teller.tell_disconnected(&error, context.console)?;
                if args.no_reconnect {
                    return Ok(gone(&error, context));
                }
                let line = format!("wgoctl: {}; waiting for it to return", clean_lines(&error.message));
                context.console.note(&line);
            }
            Some(Err(error)) => return Ok(gone(&error, context)),
        }
    }
}

/// Ends a run whose lines are out: a document about the failure would not be one of them.
fn gone(error: &ApiError, context: &mut Context<'_, '_>) -> u8 {
    let failure = Failure::Api(error.clone());
    context.console.complain(&failure, false);
    failure.exit_code()
}

/// The next piece of news, or `None` when nobody reads us any more.
async fn next(feed: &mut Feed) -> Option<Result<News, ApiError>> {
    let mut news = pin!(feed.next());
    loop {
        tokio::select! {
            news = &mut news => return Some(news),
            () = tokio::time::sleep(LOOK) => if reader_is_gone() { return None },
        }
    }
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    what: What,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    torrent: Option<&'a Torrent>,
}

/// Knows what was last told of each torrent.
struct Teller {
    filter: Filter,
    progress: bool,
    /// By info-hash; `None` before the first list.
    held: Option<BTreeMap<String, Torrent>>,
}

impl Teller {
    fn new(filter: Filter, progress: bool) -> Self {
        Self { filter, progress, held: None }
    }

    /// Tells what is new in `list`.
    fn tell_list(&mut self, list: ListResult, console: &mut Console<'_>) -> Result<(), Failure> {
        let first = self.held.is_none();
        let mut held = self.held.take().unwrap_or_default();
        let mut gone = list.removed;
        if list.full {
            let there: BTreeSet<&str> = list.torrents.iter().map(|row| &*row.torrent.info_hash).collect();
            gone = held.keys().filter(|hash| !there.contains(hash.as_str())).cloned().collect();
        }
        for hash in gone {
            if let Some(torrent) = held.remove(&hash) {
                self.tell(What::Removed, &torrent, console)?;
            }
        }
        for row in list.torrents {
            let now = row.torrent;
            let before = held.remove(&now.info_hash);
            match before {
                // Added again in between: another torrent, of the same files.
                Some(before) if before.added_at != now.added_at => {
                    self.tell(What::Removed, &before, console)?;
                    self.tell(What::Added, &now, console)?;
                }
                Some(before) => {
                    if self.filter.matches(&before) || self.filter.matches(&now) {
                        for what in differences(&before, &now, self.progress) {
                            write(what, Some(&now), console)?;
                        }
                    }
                }
                None => self.tell(if first { What::Present } else { What::Added }, &now, console)?,
            }
            held.insert(now.info_hash.clone(), now);
        }
        self.held = Some(held);
        console.out.flush().map_err(Failure::Output)
    }

    fn tell_connected(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        let held = self.held.iter().flat_map(BTreeMap::values);
        let torrents = held.filter(|torrent| self.filter.matches(torrent)).count();
        write(What::Connected { torrents }, None, console)?;
        console.out.flush().map_err(Failure::Output)
    }

    fn tell_disconnected(&self, error: &ApiError, console: &mut Console<'_>) -> Result<(), Failure> {
        write(What::Disconnected { error: error.message.clone() }, None, console)?;
        console.out.flush().map_err(Failure::Output)
    }

    fn tell(&self, what: What, torrent: &Torrent, console: &mut Console<'_>) -> Result<(), Failure> {
        if self.filter.matches(torrent) { write(what, Some(torrent), console) } else { Ok(()) }
    }
}

fn write(what: What, torrent: Option<&Torrent>, console: &mut Console<'_>) -> Result<(), Failure> {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut safe = JsonSafe::new(console.out);
    serde_json::to_writer(&mut safe, &Line { what, at, torrent })
        .map_err(|error| Failure::Output(error.into()))?;
    safe.end().map_err(Failure::Output)
}

#[cfg(test)]
mod tests {
    use wgo_api::torrent::{Row, State};

    use super::*;
    use crate::console::Terminal;

    fn torrent(hash: &str, state: State) -> Torrent {
        Torrent { info_hash: hash.into(), name: hash.into(), state, added_at: 1, ..Torrent::default() }
    }

    fn list(full: bool, torrents: Vec<Torrent>, removed: &[&str]) -> ListResult {
        let torrents = torrents.into_iter().map(|torrent| Row { torrent, fields: Default::default() });
        let removed = removed.iter().map(|hash| (*hash).to_owned()).collect();
        ListResult { version: 1, full, torrents: torrents.collect(), removed }
    }

    /// Events and torrents that the lists make, with a bar after each list.
    fn told(filter: Filter, lists: Vec<ListResult>) -> String {
        let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), &b""[..]);
        let mut console =
            Console { out: &mut out, err: &mut err, input: &mut input, terminal: Terminal::default() };
        let mut teller = Teller::new(filter, false);
        for list in lists {
            teller.tell_list(list, &mut console).unwrap();
            console.print("\"|\"\n").unwrap();
        }
        let lines = String::from_utf8(out).unwrap();
        let word = |line: &str| match serde_json::from_str::<serde_json::Value>(line).unwrap() {
            serde_json::Value::String(bar) => bar,
            event => format!(
                "{} {}",
                event["event"].as_str().unwrap(),
                event["torrent"]["info_hash"].as_str().unwrap()
            ),
        };
        lines.lines().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn lists_become_events_and_a_whole_one_tells_what_went_missing() {
        let lists = vec![
            list(true, vec![torrent("a", State::Queued), torrent("b", State::Queued)], &[]),
            list(false, vec![torrent("c", State::Queued)], &["a", "unheard of"]),
            list(true, vec![torrent("c", State::Seeding), torrent("d", State::Queued)], &["c"]),
            list(true, vec![Torrent { added_at: 2, ..torrent("d", State::Queued) }], &[]),
        ];
        assert_eq!(
            told(Filter::default(), lists),
            "present a, present b, |, removed a, added c, |, removed b, state c, added d, |, removed c, removed d, added d, |"
        );
    }

    #[test]
    fn a_filter_lets_through_what_passes_before_or_after() {
        let filter = Filter { states: vec![State::Queued], ..Filter::default() };
        let lists = vec![
            list(true, vec![torrent("a", State::Queued), torrent("b", State::Seeding)], &[]),
            list(false, vec![torrent("a", State::Seeding), torrent("b", State::Stopped)], &[]),
            list(false, vec![torrent("b", State::Queued)], &["a"]),
            list(false, vec![], &["b"]),
        ];
        assert_eq!(told(filter, lists), "present a, |, state a, |, state b, |, removed b, |");
    }
}
