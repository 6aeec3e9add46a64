//! One tracker of a list: what it has heard from us, what it told us, when it is due.
use std::sync::Arc;
use std::time::Duration;

use super::{Event, Outcome, Retry, TrackerId};
use crate::Time;

/// Between regular announces, when the tracker does not say (BEP 3 leaves it open; half an hour is what
/// trackers commonly ask for).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// Least time between announces without an event, when the tracker does not say.
const DEFAULT_MIN_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// What a tracker may ask for: not to be asked every second, nor to be forgotten.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// After the first failure, doubled for each more.
const FIRST_RETRY: Duration = Duration::from_secs(15);
const LONGEST_RETRY: Duration = Duration::from_secs(30 * 60);

/// Longest text and tracker id that we keep of what a tracker sends; a longer text is cut, a longer id
/// ignored.
const MAX_TEXT: usize = 500;
const MAX_TRACKER_ID: usize = 500;

/// How a tracker does, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not asked yet, or since it was added again.
    Never,
    /// Its last answer was good.
    Working,
    /// An announce is under way.
    Updating,
    /// It failed `times` in a row.
    Failed {
        /// Why, the last time.
        message: String,
        /// How often.
        times: u32,
    },
    /// It told us never to come back, or its URL is of no use.
    Disabled {
        /// Why.
        message: String,
    },
}

/// One line of the operator's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerStatus {
    /// For commands that name the tracker.
    pub id: TrackerId,
    /// As the metainfo has it.
    pub url: Arc<str>,
    /// From 0.
    pub tier: usize,
    /// How it does.
    pub state: State,
    /// When the last announce was sent.
    pub last_announce: Option<Time>,
    /// When the next is due, unless it only stands by.
    pub next_announce: Option<Time>,
    /// Complete peers, by its last answer.
    pub seeders: Option<u32>,
    /// Incomplete peers.
    pub leechers: Option<u32>,
    /// Completed downloads.
    pub downloaded: Option<u32>,
    /// Peers in its last answer.
    pub peers: usize,
    /// Its `warning message`.
    pub warning: Option<String>,
}

#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) id: TrackerId,
    pub(super) url: Arc<str>,
    pub(super) heard: Heard,
    /// Boxed, as there is none for nearly all of the time, in which the torrent may sleep.
    pub(super) in_flight: Option<Box<Sent>>,
    /// Failures in a row.
    pub(super) fails: u32,
    pub(super) disabled: bool,
    /// Removed from the list; stays until it has heard `stopped`.
    pub(super) leaving: bool,
    /// Another one is used in its place; so until it has heard `stopped`.
    pub(super) left: bool,
    pub(super) tracker_id: Option<Arc<[u8]>>,
    attempts: u32,
    /// When the regular announce or the next try is due.
    next: Time,
    sent_at: Option<Time>,
    answered_at: Option<Time>,
    interval: Duration,
    min_interval: Duration,
    /// How often it was asked early since the Swarm last had peers enough.
    early: u32,
    answer: Answer,
    failure: Box<str>,
}

/// What is shown of a tracker's last answers.
#[derive(Debug, Default)]
struct Answer {
    seeders: Option<u32>,
    leechers: Option<u32>,
    downloaded: Option<u32>,
    peers: usize,
    warning: Option<Box<str>>,
}

/// What a tracker knows of us in this session, by its own answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    pub(super) started: bool,
    /// It has seen us with bytes left: only then does `completed` mean anything to it (BEP 3).
    incomplete: bool,
    completed: bool,
}

/// An announce under way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) attempt: u32,
    pub(super) deadline: Time,
    pub(super) event: Option<Event>,
    pub(super) left: u64,
    /// Sent as we leave: there is no second try.
    pub(super) farewell: bool,
}

impl Tracker {
    pub(super) fn new(id: TrackerId, url: Arc<str>) -> Tracker {
        Tracker {
            id,
            url,
            heard: Heard::default(),
            in_flight: None,
            fails: 0,
            disabled: false,
            leaving: false,
            left: false,
            tracker_id: None,
            attempts: 0,
            next: Time::ZERO,
            sent_at: None,
            answered_at: None,
            interval: DEFAULT_INTERVAL,
            min_interval: DEFAULT_MIN_INTERVAL,
            early: 0,
            answer: Answer::default(),
            failure: Box::default(),
        }
    }

    /// When it wants an announce, while we are in the swarm.
    pub(super) fn due(&self, finished: bool, hungry: bool) -> Time {
        if self.fails > 0 {
            return self.next;
        }
        if self.owes_completed(finished) {
            return Time::ZERO;
        }
        match self.answered_at {
            Some(at) if hungry => self.next.min(at + self.early_wait()),
            _ => self.next,
        }
    }

    /// What the next announce says.
    pub(super) fn event(&self, farewell: bool, finished: bool) -> Option<Event> {
        match self.heard.started {
            true if self.owes_completed(finished) => Some(Event::Completed),
            true if farewell => Some(Event::Stopped),
            true => None,
            false => Some(Event::Started),
        }
    }

    /// Notes that an announce is sent; returns the number that it was given.
    pub(super) fn send(&mut self, now: Time, sent: Sent) -> u32 {
        if self.fails == 0 && sent.event.is_none() && now < self.next {
            self.early += 1;
        }
        self.attempts += 1;
        self.sent_at = Some(now);
        self.in_flight = Some(Box::new(Sent { attempt: self.attempts, ..sent }));
        self.attempts
    }

    /// The announce that this answers, if it is the one under way.
    pub(super) fn succeed(&mut self, now: Time, attempt: u32, outcome: &Outcome) -> Option<Box<Sent>> {
        let sent = self.in_flight.take_if(|sent| sent.attempt == attempt)?;
        self.heard.incomplete |= sent.left > 0;
        self.said(&sent);
        self.fails = 0;
        self.failure = Box::default();
        let asked = |wait: Option<Duration>| wait.map(|wait| wait.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL));
        let interval = asked(outcome.interval).unwrap_or(DEFAULT_INTERVAL);
        self.min_interval = asked(outcome.min_interval).unwrap_or(DEFAULT_MIN_INTERVAL.min(interval));
        self.interval = interval.max(self.min_interval);
        self.next = now + self.interval;
        self.answered_at = Some(now);
        if let Some(id) = outcome.tracker_id.as_deref().filter(|id| id.len() <= MAX_TRACKER_ID) {
            self.tracker_id = Some(id.into());
        }
        let warning = outcome.warning.as_deref().map(short);
        // A tracker that leaves out a count in one answer has not lost its peers.
        self.answer = Answer {
            seeders: outcome.seeders.or(self.answer.seeders),
            leechers: outcome.leechers.or(self.answer.leechers),
            downloaded: outcome.downloaded.or(self.answer.downloaded),
            peers: outcome.peers,
            warning,
        };
        Some(sent)
    }

    pub(super) fn fail(
        &mut self,
        now: Time,
        attempt: u32,
        reason: &str,
        retry: Retry,
        rng: &mut fastrand::Rng,
    ) {
        let Some(sent) = self.in_flight.take_if(|sent| sent.attempt == attempt) else { return };
        self.fails += 1;
        self.failure = short(reason);
        self.disabled = retry == Retry::Never;
        let wait = match retry {
            Retry::After(wait) => wait.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
            Retry::BackOff | Retry::Never => back_off(self.fails, rng),
        };
        self.next = now + wait;
        if sent.farewell {
            self.said(&sent);
        }
        if self.disabled {
            self.heard = Heard::default();
            self.left = false;
        }
    }

    /// A shortage of peers begins or is over.
    pub(super) fn reset_early(&mut self) {
        self.early = 0;
    }

    pub(super) fn hurry(&mut self, now: Time, floor: Duration) {
        let soonest = self.sent_at.map_or(now, |sent| now.max(sent + floor));
        self.next = self.next.min(soonest);
    }

    /// What was under way gets no answer, through no fault of the tracker. It has one chance to hear that we leave.
    pub(super) fn give_up(&mut self, now: Time) {
        let Some(sent) = self.in_flight.take() else { return };
        if sent.farewell {
            return self.said(&sent);
        }
        self.next = now;
    }

    pub(super) fn restart(&mut self, now: Time) {
        self.heard = Heard::default();
        self.left = false;
        self.fails = 0;
        self.early = 0;
        self.answered_at = None;
        self.next = now;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.leaving && !self.heard.started && self.in_flight.is_none()
    }

    pub(super) fn status(&self, tier: usize, next_announce: Option<Time>) -> TrackerStatus {
        let message = || self.failure.to_string();
        let state = match () {
            () if self.in_flight.is_some() => State::Updating,
            () if self.disabled => State::Disabled { message: message() },
            () if self.fails > 0 => State::Failed { message: message(), times: self.fails },
            () if self.answered_at.is_some() => State::Working,
            () => State::Never,
        };
        TrackerStatus {
            id: self.id,
            url: self.url.clone(),
            tier,
            state,
            last_announce: self.sent_at,
            next_announce,
            seeders: self.answer.seeders,
            leechers: self.answer.leechers,
            downloaded: self.answer.downloaded,
            peers: self.answer.peers,
            warning: self.answer.warning.as_deref().map(str::to_owned),
        }
    }

    fn owes_completed(&self, finished: bool) -> bool {
        finished && self.heard.incomplete && !self.heard.completed
    }

    /// The tracker knows what this announce said.
    fn said(&mut self, sent: &Sent) {
        match sent.event {
            Some(Event::Started) => self.heard.started = true,
            Some(Event::Completed) => self.heard.completed = true,
            Some(Event::Stopped) => {
                self.heard = Heard::default();
                self.left = false;
            }
            None => {}
        }
    }

    fn early_wait(&self) -> Duration {
        let doubled = self.min_interval.saturating_mul(1 << self.early.min(16));
        doubled.min(self.interval)
    }
}

/// Doubles from the first retry on, a quarter more or less, so that clients which failed together do
/// not come back together.
fn back_off(fails: u32, rng: &mut fastrand::Rng) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << fails.saturating_sub(1).min(16)).min(LONGEST_RETRY);
    (doubled * rng.u32(750..=1250) / 1000).min(LONGEST_RETRY)
}

/// Boxed: what is kept of thousands of torrents has no spare room.
fn short(text: &str) -> Box<str> {
    text.char_indices().nth(MAX_TEXT).map_or(text, |(end, _)| &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_tracker_stays_small_while_thousands_of_torrents_sleep() {
        assert!(size_of::<Tracker>() <= 256, "{}", size_of::<Tracker>());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(short(&"ä".repeat(MAX_TEXT + 1)), "ä".repeat(MAX_TEXT).into());
        assert_eq!(short("no"), "no".into());
    }
}
