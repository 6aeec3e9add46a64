//! What the daemon logs and where: the journal when it holds our stderr, readable text otherwise.
//!
//! `main` calls [`start`] once; `reload` and `wgoctl log` change the levels of a running daemon
//! through [`Logging::set`]. A fault that repeats is counted instead of repeated.
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, reload};
use wgo_proto::WireHash;

use crate::config::{LogLevel, LogSpec};

mod fields;
mod repeats;

use fields::Fields;
use repeats::{REPORTS, Repeats};

/// The name of a torrent's span, by which faults are counted per torrent.
const TORRENT_SPAN: &str = "torrent";

/// Our own crates; the libraries below them are heard at `warn` at most, whatever level is set.
const OURS: &[&str] = &["wgod", "wgo_core", "wgo_api", "wgo_proto"];

/// The target of our spans. It belongs to no component and is always enabled, so that a lone error names its
/// torrent, too.
const SPANS: &str = "wgod::span";

/// The span of a torrent: every record inside it names the torrent, in the journal as INFO_HASH and NAME.
pub fn torrent_span(info_hash: &WireHash, name: &str) -> Span {
    // It may be made while something is done for the torrent.
    tracing::error_span!(target: SPANS, parent: None, TORRENT_SPAN, %info_hash, name)
}

/// The span of a connection, inside its torrent's one if that is known: in the journal, PEER.
///
/// It costs several hundred bytes and about a microsecond, and being entered costs at every poll. So while a
/// connection exchanges messages it has none; one is made when something is said of it, which is rare.
pub fn peer_span(peer: SocketAddr) -> Span {
    tracing::error_span!(target: SPANS, "connection", %peer)
}

/// The running log.
pub struct Logging {
    filter: reload::Handle<Targets, Registry>,
    repeats: Arc<Repeats>,
}

/// Begins to log, to the end of the process.
pub fn start(spec: &LogSpec) -> Result<Logging, TryInitError> {
    let (filter, handle) = reload::Layer::new(targets(spec));
    let repeats = Arc::new(Repeats::default());
    // Where the journal can't be reached, text on stderr still gets there.
    let journal = stderr_is_the_journal().then(|| tracing_journald::layer().ok()).flatten();
    // A field has the same name everywhere: `INFO_HASH`, not `F_INFO_HASH`.
    let journal = journal.map(|journal| journal.with_field_prefix(None));
    let text = journal.is_none().then(|| {
        let terminal = io::stderr().is_terminal();
        let colour = colour(terminal, std::env::var_os("NO_COLOR").as_deref());
        let fields = Fields { short: terminal };
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colour).fmt_fields(fields)
    });
    let counted = repeats::Collapse(repeats.clone());
    tracing_subscriber::registry().with(filter).with(counted).with(journal).with(text).try_init()?;
    Ok(Logging { filter: handle, repeats })
}

impl Logging {
    /// Changes what is logged from now on.
    pub fn set(&self, spec: &LogSpec) -> Result<(), reload::Error> {
        self.filter.reload(targets(spec))
    }

    /// Logs how often the faults came again whose time is up. To be called every few seconds.
    pub fn report_repeats(&self, now: Instant) {
        report(self.repeats.due(now));
    }

    /// Logs all that is counted, before the process ends.
    pub fn finish(&self) {
        report(self.repeats.all(Instant::now()));
    }
}

fn report(due: Vec<repeats::Report>) {
    for repeats::Report { message, torrent, level, times, period } in due {
        let secs = period.as_secs();
        let torrent = torrent.as_deref();
        match level {
            Level::ERROR => {
                tracing::error!(target: REPORTS, torrent, "repeated {times} times in {secs} s: {message}");
            }
            Level::WARN => {
                tracing::warn!(target: REPORTS, torrent, "repeated {times} times in {secs} s: {message}");
            }
            _ => tracing::info!(target: REPORTS, torrent, "repeated {times} times in {secs} s: {message}"),
        }
    }
}

/// The levels of modules that a specification means.
fn targets(spec: &LogSpec) -> Targets {
    let general = level(spec.level);
    let mut targets = Targets::new().with_default(general.min(LevelFilter::WARN));
    targets = targets.with_target(SPANS, LevelFilter::ERROR);
    for ours in OURS {
        targets = targets.with_target(*ours, general);
    }
    for (component, own) in spec.components() {
        for target in component.targets {
            targets = targets.with_target(*target, level(own));
        }
    }
    targets
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Colour on a terminal, unless <https://no-color.org> says no.
fn colour(terminal: bool, no_color: Option<&std::ffi::OsStr>) -> bool {
    terminal && no_color.is_none_or(|value| value.is_empty())
}

fn stderr_is_the_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| is_stream(stream.as_deref(), stat.st_dev, stat.st_ino))
}

/// Whether `$JOURNAL_STREAM` names this device and inode (systemd.exec(5)): it is inherited by
/// processes whose stderr went elsewhere.
fn is_stream(stream: Option<&str>, device: u64, inode: u64) -> bool {
    let named = stream.and_then(|stream| stream.split_once(':'));
    named.is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn components_differ_from_the_general_level_and_libraries_stay_quiet() {
        let targets = targets(&"debug,peer=trace,tracker=error".parse().unwrap());
        let cases = [
            (SPANS, Level::ERROR, true),
            ("wgod::session", Level::DEBUG, true),
            ("wgod::session", Level::TRACE, false),
            ("wgod::peer::send", Level::TRACE, true),
            ("wgod::tracker::http", Level::WARN, false),
            ("wgod::tracker::http", Level::ERROR, true),
            ("hyper::proto", Level::INFO, false),
            ("hyper::proto", Level::WARN, true),
        ];
        for (target, level, want) in cases {
            assert_eq!(targets.would_enable(target, &level), want, "{target} {level}");
        }
        let off = super::targets(&"off,peer=info".parse().unwrap());
        assert!(!off.would_enable("hyper", &Level::ERROR));
        assert!(!off.would_enable("wgod::session", &Level::ERROR));
        assert!(off.would_enable(SPANS, &Level::ERROR), "what a peer does is said with its torrent");
    }

    #[test]
    fn the_journal_is_used_only_when_it_holds_stderr() {
        assert!(is_stream(Some("8:17"), 8, 17));
        for other in [None, Some("8:18"), Some("9:17"), Some("8"), Some("")] {
            assert!(!is_stream(other, 8, 17), "{other:?}");
        }
    }

    #[test]
    fn colour_needs_a_terminal_and_nobody_who_minds() {
        assert!(colour(true, None) && colour(true, Some("".as_ref())));
        assert!(!colour(false, None) && !colour(true, Some("1".as_ref())));
    }
}
