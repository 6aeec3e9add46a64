//! Faults that come again and again: the first is logged, the next of the same minute are counted.
//!
//! Two warnings or errors are the same when they come from the same place in the code, with the same
//! message, for the same torrent; other fields may differ. What is below a warning is a change of
//! state or was asked for, and always logged; but for the faults of peers, which are news of a torrent
//! and nobody's to write the log full with.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The target of the reports themselves, which are never counted.
pub(super) const REPORTS: &str = "wgod::repeats";

/// How long a fault is counted before it is reported: an operator's "still going on" once a minute.
const PERIOD: Duration = Duration::from_secs(60);

/// Different faults counted at once. Further ones are logged each time they come.
const MAX_FAULTS: usize = 1024;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Fault {
    place: Identifier,
    message: String,
    torrent: Option<Arc<str>>,
}

struct Count {
    since: Instant,
    times: u64,
    level: Level,
}

/// A fault that came again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) message: String,
    pub(super) torrent: Option<String>,
    /// An error, a warning, or news.
    pub(super) level: Level,
    /// How often after the first time.
    pub(super) times: u64,
    pub(super) period: Duration,
}

/// The faults of the last minute.
#[derive(Default)]
pub(super) struct Repeats(Mutex<HashMap<Fault, Count>>);

impl Repeats {
    /// Whether the fault is new and to be logged; else it is counted.
    fn is_new(&self, now: Instant, fault: Fault, level: Level) -> bool {
        // The counts are right after every statement, so a panic elsewhere does not spoil them.
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = faults.get_mut(&fault) {
            count.times += 1;
            return false;
        }
        if faults.len() < MAX_FAULTS {
            faults.insert(fault, Count { since: now, times: 0, level });
        }
        true
    }

    /// Forgets the faults whose minute is over and returns those that came again.
    pub(super) fn due(&self, now: Instant) -> Vec<Report> {
        self.take(now, PERIOD)
    }

    /// Forgets all faults and returns those that came again.
    pub(super) fn all(&self, now: Instant) -> Vec<Report> {
        self.take(now, Duration::ZERO)
    }

    fn take(&self, now: Instant, age: Duration) -> Vec<Report> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = faults.extract_if(|_, count| now.saturating_duration_since(count.since) >= age);
        let again = old.filter(|(_, count)| count.times > 0);
        let report = |(fault, count): (Fault, Count)| Report {
            message: fault.message,
            torrent: fault.torrent.map(|torrent| torrent.to_string()),
            level: count.level,
            times: count.times,
            period: now.saturating_duration_since(count.since),
        };
        again.map(report).collect()
    }
}

/// The layer that holds back repeated faults from the layers that write.
pub(super) struct Collapse(pub(super) Arc<Repeats>);

/// The name of a torrent, kept with its span.
struct Torrent(Arc<str>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collapse {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() == super::TORRENT_SPAN
            && let Some(span) = context.span(id)
        {
            let mut name = Text { field: "name", text: String::new() };
            attributes.record(&mut name);
            span.extensions_mut().insert(Torrent(name.text.into()));
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !may_repeat(metadata) {
            return true;
        }
        let mut message = Text { field: "message", text: String::new() };
        event.record(&mut message);
        let torrent = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| span.extensions().get::<Torrent>().map(|torrent| torrent.0.clone()))
        });
        let fault = Fault { place: metadata.callsite(), message: message.text, torrent };
        self.0.is_new(Instant::now(), fault, *metadata.level())
    }
}

/// Whether it is a fault, of ours or (by the name of its field) a peer's.
fn may_repeat(metadata: &Metadata<'_>) -> bool {
    let of_peer = || *metadata.level() == Level::INFO && metadata.fields().field("fault").is_some();
    metadata.target() != REPORTS && (*metadata.level() <= Level::WARN || of_peer())
}

/// Picks the text of one field.
struct Text {
    field: &'static str,
    text: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.field {
            self.text = value.to_owned();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == self.field {
            self.text = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;
    use wgo_proto::WireHash;

    use super::*;
    use crate::logging::torrent_span;

    /// Counts what gets through.
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut message = Text { field: "message", text: String::new() };
            event.record(&mut message);
            self.0.lock().unwrap().push(message.text);
        }
    }

    fn logged(work: impl FnOnce()) -> (Vec<String>, Arc<Repeats>) {
        let (seen, repeats) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Repeats::default()));
        let subscriber =
            tracing_subscriber::registry().with(Collapse(repeats.clone())).with(Seen(seen.clone()));
        tracing::subscriber::with_default(subscriber, work);
        let seen = seen.lock().unwrap().clone();
        (seen, repeats)
    }

    #[test]
    fn a_repeated_fault_is_logged_once_and_reported_with_its_number() {
        let (seen, repeats) = logged(|| (0..38).for_each(|n| tracing::warn!(n, "no answer")));
        assert_eq!(seen, ["no answer"]);
        let now = Instant::now();
        assert_eq!(repeats.due(now), [], "the minute isn't over");
        let reports = repeats.due(now + PERIOD);
        assert_eq!((reports.len(), reports[0].times, reports[0].message.as_str()), (1, 37, "no answer"));
        assert_eq!(repeats.due(now + 2 * PERIOD), [], "reported once");
    }

    #[test]
    fn another_torrent_or_message_is_another_fault() {
        let (seen, repeats) = logged(|| {
            for name in ["a", "b", "a"] {
                let _span = torrent_span(&WireHash([1; 20]), name).entered();
                for disk in ["/x", "/y"] {
                    tracing::error!("can't write {disk}");
                }
            }
        });
        assert_eq!(seen.len(), 4);
        let mut reports = repeats.all(Instant::now());
        reports.sort_by(|x, y| x.message.cmp(&y.message));
        assert_eq!(reports.len(), 2);
        assert_eq!(
            (reports[0].torrent.as_deref(), reports[0].times, reports[0].level),
            (Some("a"), 1, Level::ERROR)
        );
    }

    #[test]
    fn changes_of_state_are_never_held_back() {
        let (seen, _) = logged(|| (0..3).for_each(|_| tracing::info!("started")));
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn peers_that_misbehave_do_not_write_the_log_full() {
        let (seen, repeats) = logged(|| {
            for n in 0..5000 {
                let _span = torrent_span(&WireHash([1; 20]), "a").entered();
                tracing::info!(fault = %format!("of kind {n}"), "closed");
            }
        });
        assert_eq!(seen, ["closed"]);
        let reports = repeats.all(Instant::now());
        assert_eq!((reports[0].times, reports[0].level), (4999, Level::INFO));
    }

    #[test]
    fn counting_is_bounded() {
        let (_, repeats) = logged(|| (0..2 * MAX_FAULTS).for_each(|n| tracing::warn!("fault {n}")));
        assert_eq!(repeats.0.lock().unwrap().len(), MAX_FAULTS);
    }
}
