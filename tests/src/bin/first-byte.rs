//! How long it takes from `wgoctl add MAGNET` to the first payload byte, from the peers that people run, found by a
//! tracker or named in the link (`x.pe`).
//!
//! `cargo run -p wgo-tests --bin first-byte [RUNS] [PEER…]` prints a table, and ends with 1 if a time is over its
//! bound. All times are wgod's: the clock begins before `wgoctl` is run, and `show` is asked every few milliseconds
//! for what has come; so each is an upper bound. A peer that isn't installed is left out, loudly.
//!
//! The bound is a second. For Transmission, which unchokes in rounds of ten seconds, it begins with its UNCHOKE.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it prints a table; what goes wrong ends it")]
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wgo_api::params::ShowParams;
use wgo_api::{ApiClient, State};
use wgo_tests::peers::{Kind, wait_complete};
use wgo_tests::tracker::Over;
use wgo_tests::wait::pause;
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Torrent, Tracker, ctl};

/// Torrents of each peer and way, without an argument.
const RUNS: usize = 5;
const LEN: usize = 4 << 20;
const PIECE_LEN: u32 = 256 << 10;

/// The time from the command, or of Transmission from its UNCHOKE, to the first byte.
const BOUND: Duration = Duration::from_secs(1);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Three rounds of Transmission's.
const PATIENCE: Duration = Duration::from_secs(30);

const KINDS: [(&str, Kind); 5] = [
    ("libtorrent", Kind::Libtorrent),
    ("rqbit", Kind::Rqbit),
    ("qbittorrent", Kind::Qbittorrent),
    ("rtorrent", Kind::Rtorrent),
    ("transmission", Kind::Transmission),
];

/// How the link leads to the peer.
#[derive(Clone, Copy)]
enum Way {
    Tracker,
    Link,
}

/// One torrent's times since the command.
#[derive(Clone, Copy, Default)]
struct Times {
    metadata: Option<Duration>,
    unchoked: Option<Duration>,
    first_byte: Duration,
}

impl Times {
    /// From the UNCHOKE to the first byte, which may have come before it (BEP 6).
    fn since_unchoke(&self) -> Duration {
        self.unchoked.map_or(Duration::ZERO, |at| self.first_byte.saturating_sub(at))
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    let runs = args.peek().and_then(|first| first.parse().ok());
    let runs = runs.inspect(|_| drop(args.next())).unwrap_or(RUNS);
    let wanted: Vec<String> = args.collect();
    println!("| peer | found by | runs | ms to metadata | ms to first byte | ms from UNCHOKE | worst |");
    println!("|---|---|---|---|---|---|---|");
    let mut in_time = true;
    for (name, kind) in KINDS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            in_time &= measure(name, kind, runs);
        }
    }
    if in_time { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the rows of one peer; whether all its times are within the bound.
fn measure(name: &str, kind: Kind, runs: usize) -> bool {
    let Some(mut net) = Net::required("first-byte") else { return true };
    let Some(mut peer) = kind.start("first-byte", net.ip()) else { return true };
    let folder = tempfile::tempdir().unwrap();
    let tracker = Tracker::start(net.ip(), &[peer.addr()]);
    // rTorrent starts no torrent that has neither tracker nor DHT; and rqbit, named to itself, lets nobody else in.
    let their_tracker = Tracker::start(net.ip(), &[]);
    let daemon = Daemon::with(Settings { ips: vec![net.home()], ..Settings::default() });
    let mut in_time = true;
    for (found, way) in [("tracker", Way::Tracker), ("x.pe", Way::Link)] {
        let payloads: Vec<Payload> =
            (0..runs).map(|run| Payload::single(&format!("{found} {run}.bin"), LEN, PIECE_LEN)).collect();
        let (url, theirs) = (tracker.url(Over::Http), their_tracker.url(Over::Http));
        let torrents: Vec<Torrent> =
            payloads.iter().map(|payload| Maker::new(payload).tier([&theirs]).make()).collect();
        for (payload, torrent) in payloads.iter().zip(&torrents) {
            payload.write(folder.path());
            peer.add(torrent, folder.path());
        }
        torrents.iter().for_each(|torrent| wait_complete(peer.as_mut(), torrent));
        let link = |torrent: &Torrent| match way {
            Way::Tracker => torrent.magnet(&[&url], &[]),
            Way::Link => torrent.magnet(&[], &[peer.addr()]),
        };
        let times: Vec<Times> =
            torrents.iter().map(|torrent| time(&daemon, torrent, &link(torrent))).collect();
        in_time &= print(name, kind, found, &times);
    }
    in_time
}

/// Runs the command and looks until the first byte is there.
fn time(daemon: &Daemon, torrent: &Torrent, link: &str) -> Times {
    let (id, socket) = (torrent.id(), daemon.socket());
    let mut times = Times::default();
    std::thread::scope(|scope| {
        let began = Instant::now();
        scope.spawn(|| ctl::at(&socket, &["add", link], &[]).expect(0));
        times.first_byte = loop {
            if let Some(now) = look(daemon, &id, began, &mut times) {
                break now;
            }
            assert!(began.elapsed() < PATIENCE, "no byte of {} in {PATIENCE:?}", torrent.name);
            pause(LOOK);
        };
    });
    daemon.wait_seeding(&id);
    times
}

/// Notes what has come; the time of the first byte.
fn look(daemon: &Daemon, id: &str, began: Instant, times: &mut Times) -> Option<Duration> {
    let params = ShowParams { id: id.to_owned(), peers: true, ..ShowParams::default() };
    // It is not there before the command has come through.
    let shown = daemon.call(async |client| client.show(params).await).ok()?;
    let now = began.elapsed();
    if shown.torrent.torrent.state != State::Metadata {
        times.metadata.get_or_insert(now);
    }
    if shown.peers.iter().flatten().any(|peer| !peer.we_choked) {
        times.unchoked.get_or_insert(now);
    }
    (shown.torrent.torrent.downloaded_bytes > 0).then_some(now)
}

fn print(name: &str, kind: Kind, found: &str, times: &[Times]) -> bool {
    let from_unchoke = kind == Kind::Transmission;
    let judged = |times: &Times| if from_unchoke { times.since_unchoke() } else { times.first_byte };
    let median = |of: &dyn Fn(&Times) -> Duration| {
        let mut all: Vec<Duration> = times.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).map_or(0, Duration::as_millis)
    };
    let worst = times.iter().map(judged).max().unwrap_or_default();
    let in_time = worst <= BOUND;
    println!(
        "| {name} | {found} | {} | {} | {} | {} | {} {} |",
        times.len(),
        median(&|times| times.metadata.unwrap_or(times.first_byte)),
        median(&|times| times.first_byte),
        if from_unchoke { median(&Times::since_unchoke).to_string() } else { "–".to_owned() },
        worst.as_millis(),
        if in_time { "" } else { "OVER THE BOUND" },
    );
    in_time
}
