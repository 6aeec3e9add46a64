//! `scrape`: asks trackers how large swarms are (BEP 15, 48), also those of torrents that are stopped or wait.
//!
//! Torrents that share a tracker's URL share requests. What is heard is shown by `trackers` and `show` until an
//! announce says something newer; nothing is decided by it.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::SelectParams;
use wgo_api::result::{ScrapeResult, Scraped, ScrapedTracker, Tracker};
use wgo_core::tracker::MAX_TRACKERS;
use wgo_core::{Time, TorrentId};
use wgo_proto::WireHash;
use wgo_proto::tracker::SwarmCounts;
use wgo_proto::tracker::udp::MAX_SCRAPE;

use super::{Driver, Entry, Event};
use crate::engine::Engine;
use crate::tracker::TrackerError;

/// Trackers that have not answered by then are reported so: less than callers wait for the answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Requests at once, of all trackers; the others wait.
const AT_ONCE: usize = 64;

/// The answer to a call.
type Reply = oneshot::Sender<Result<ScrapeResult, ApiError>>;

/// What a tracker said of a torrent when it was scraped.
#[derive(Clone, Debug)]
pub struct Told {
    url: Arc<str>,
    counts: SwarmCounts,
    at: Time,
}

/// A torrent's tracker in a result: which of the result's torrents, and which of its trackers.
#[derive(Clone, Copy)]
struct Place {
    torrent: usize,
    tracker: usize,
}

/// What one request names: torrents in the order of the hashes that it asks for.
struct Batch {
    url: Arc<str>,
    places: Vec<Place>,
    hashes: Vec<WireHash>,
}

/// What came of it.
type Answer = (Batch, Result<Vec<Option<SwarmCounts>>, TrackerError>);

impl Driver {
    pub(super) fn scrape(&mut self, params: &SelectParams, reply: Reply) {
        let selected = match self.select(&params.ids, params.all) {
            Ok(selected) => selected,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let mut torrents = Vec::new();
        let mut ids = Vec::new();
        let mut wanted: BTreeMap<Arc<str>, Vec<(Place, WireHash)>> = BTreeMap::new();
        for (given, found) in selected {
            let torrent = torrents.len();
            ids.push(found.as_ref().ok().copied());
            let gone = || ApiError::new(Kind::NoMatch, "it is being removed");
            let entry = found.and_then(|id| self.entries.get(&id).ok_or_else(gone));
            torrents.push(match entry {
                Err(error) => Scraped::failed(given, error),
                Ok(entry) => {
                    // What its peers and trackers know it by: the first, as for announces.
                    let hash = entry.settings.hashes.wire().next();
                    let urls = entry.tiers.iter().flatten().take(MAX_TRACKERS);
                    for ((tracker, url), hash) in urls.clone().enumerate().zip(std::iter::repeat(hash)) {
                        let asked = hash.map(|hash| (Place { torrent, tracker }, hash));
                        wanted.entry(url.clone()).or_default().extend(asked);
                    }
                    unanswered(given, entry, urls)
                }
            });
        }
        let engine = self.engine.clone();
        self.replies.spawn(async move {
            let told = ask_all(&engine, batches(wanted), &mut torrents).await;
            let told = told.into_iter().filter_map(|(torrent, told)| Some(((*ids.get(torrent)?)?, told)));
            engine.tell(Event::Scraped(told.collect()));
            torrents.iter_mut().for_each(judge);
            // Whoever asked may have hung up.
            drop(reply.send(Ok(ScrapeResult { torrents })));
        });
    }

    /// Keeps what was heard of torrents, of those trackers that they still have.
    pub(super) fn on_scraped(&mut self, told: Vec<(TorrentId, Told)>) {
        for (id, told) in told {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let tiers = entry.tiers.clone();
            let stays = |url: &str| tiers.iter().flatten().any(|other| **other == *url);
            entry.told.retain(|old| old.url != told.url && stays(&old.url));
            if stays(&told.url) {
                entry.told.push(told);
            }
        }
    }
}

impl Entry {
    /// Puts what was scraped into trackers as they are shown, where no announce was answered since.
    pub(super) fn show_scraped(&self, trackers: &mut [Tracker], now: Time) {
        for tracker in trackers {
            let Some(told) = self.told.iter().find(|told| *told.url == *tracker.url) else { continue };
            if tracker.last_announce_secs.is_some_and(|ago| ago < now.since(told.at).as_secs()) {
                continue;
            }
            tracker.seeds = told.counts.seeders.or(tracker.seeds);
            tracker.leeches = told.counts.leechers.or(tracker.leeches);
            tracker.completed = told.counts.completed.or(tracker.completed);
        }
    }
}

/// A torrent of the result before anybody has answered.
fn unanswered<'a>(given: String, entry: &Entry, urls: impl Iterator<Item = &'a Arc<str>>) -> Scraped {
    let late = || Some(format!("no answer within {} s", PATIENCE.as_secs()));
    let tracker =
        |url: &Arc<str>| ScrapedTracker { url: url.to_string(), error: late(), ..ScrapedTracker::default() };
    Scraped {
        id: given,
        info_hash: Some(entry.hash_text()),
        name: Some(entry.settings.name.clone()),
        trackers: urls.map(tracker).collect(),
        ..Scraped::default()
    }
}

/// Requests of as many torrents as one takes.
fn batches(wanted: BTreeMap<Arc<str>, Vec<(Place, WireHash)>>) -> Vec<Batch> {
    let mut batches = Vec::new();
    for (url, torrents) in wanted {
        for some in torrents.chunks(MAX_SCRAPE) {
            let (places, hashes) = some.iter().copied().unzip();
            batches.push(Batch { url: url.clone(), places, hashes });
        }
    }
    batches
}

/// Sends the requests and fills in what they bring, until all are answered or patience ends. Returns what was
/// said of each torrent of the result.
async fn ask_all(engine: &Arc<Engine>, batches: Vec<Batch>, torrents: &mut [Scraped]) -> Vec<(usize, Told)> {
    let until = Instant::now() + PATIENCE;
    let mut batches = batches.into_iter();
    let mut asking: JoinSet<Answer> = JoinSet::new();
    let mut told = Vec::new();
    loop {
        while asking.len() < AT_ONCE
            && let Some(batch) = batches.next()
        {
            let engine = engine.clone();
            asking.spawn(async move {
                let answer = engine.trackers.scrape(&batch.url, &batch.hashes).await;
                (batch, answer)
            });
        }
        // What is under way when patience ends is broken off with the set.
        let Ok(Some(ended)) = timeout_at(until, asking.join_next()).await else { return told };
        if let Ok((batch, answer)) = ended {
            fill_in(&batch, &answer, torrents, |torrent, counts| {
                let at = engine.clock.now();
                told.push((torrent, Told { url: batch.url.clone(), counts, at }));
            });
        }
    }
}

fn fill_in(
    batch: &Batch,
    answer: &Result<Vec<Option<SwarmCounts>>, TrackerError>,
    torrents: &mut [Scraped],
    mut told: impl FnMut(usize, SwarmCounts),
) {
    for (at, place) in batch.places.iter().enumerate() {
        let shown =
            torrents.get_mut(place.torrent).and_then(|torrent| torrent.trackers.get_mut(place.tracker));
        let Some(shown) = shown else { continue };
        match answer.as_ref().map(|counts| counts.get(at).copied().flatten()) {
            Ok(Some(counts)) => {
                shown.error = None;
                (shown.seeds, shown.leeches) = (counts.seeders, counts.leechers);
                shown.completed = counts.completed;
                told(place.torrent, counts);
            }
            Ok(None) => shown.error = Some("it knows nothing of this torrent".to_owned()),
            Err(failure) => shown.error = Some(failure.to_string()),
        }
    }
}

/// A torrent of which no tracker said anything has failed.
fn judge(torrent: &mut Scraped) {
    if torrent.error.is_some() || torrent.trackers.iter().any(|tracker| tracker.error.is_none()) {
        return;
    }
    let (kind, why) = match torrent.trackers.is_empty() {
        true => (Kind::Conflict, "it has no trackers"),
        false => (Kind::Network, "no tracker said how large its swarm is"),
    };
    (torrent.kind, torrent.error) = (Some(kind), Some(why.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(seeders: u32) -> SwarmCounts {
        SwarmCounts { seeders: Some(seeders), ..SwarmCounts::default() }
    }

    fn result(trackers: usize) -> Scraped {
        let tracker = ScrapedTracker { error: Some("late".into()), ..ScrapedTracker::default() };
        Scraped { trackers: vec![tracker; trackers], ..Scraped::default() }
    }

    #[test]
    fn torrents_of_one_url_share_requests_and_each_gets_its_own_answer() {
        let url: Arc<str> = "http://t.example/announce".into();
        let each = (0..100).map(|n| (Place { torrent: n, tracker: 0 }, WireHash([n as u8; 20])));
        let wanted = BTreeMap::from([(url, each.collect())]);
        let batches = batches(wanted);
        assert_eq!(batches.iter().map(|batch| batch.hashes.len()).collect::<Vec<_>>(), [74, 26]);
        let mut torrents = vec![result(1); 100];
        let mut told = Vec::new();
        let answer = Ok((0..26).map(|n| (n != 3).then(|| counts(n))).collect());
        fill_in(&batches[1], &answer, &mut torrents, |torrent, counts| told.push((torrent, counts.seeders)));
        assert_eq!(told.len(), 25);
        assert_eq!((told[0], told[24]), ((74, Some(0)), (99, Some(25))));
        assert_eq!(torrents[75].trackers[0], ScrapedTracker { seeds: Some(1), ..ScrapedTracker::default() });
        assert_eq!(torrents[77].trackers[0].error.as_deref(), Some("it knows nothing of this torrent"));
        assert_eq!(torrents[0].trackers[0].error.as_deref(), Some("late"));
        // An answer that is too short says nothing of the rest.
        fill_in(&batches[0], &Ok(vec![Some(counts(7))]), &mut torrents, |_, _| {});
        assert_eq!(torrents[0].trackers[0].seeds, Some(7));
        assert_eq!(torrents[1].trackers[0].error.as_deref(), Some("it knows nothing of this torrent"));
    }

    #[test]
    fn a_torrent_fails_only_when_nobody_said_anything() {
        let mut some = result(2);
        some.trackers[1].error = None;
        let (mut none, mut without, mut unknown) =
            (result(2), result(0), Scraped::failed("x", ApiError::new(Kind::NoMatch, "no")));
        [&mut some, &mut none, &mut without, &mut unknown].into_iter().for_each(judge);
        let kinds = [some.kind, none.kind, without.kind, unknown.kind];
        assert_eq!(kinds, [None, Some(Kind::Network), Some(Kind::Conflict), Some(Kind::NoMatch)]);
    }
}
