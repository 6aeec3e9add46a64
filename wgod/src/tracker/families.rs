//! One announce by two address families at the same time, and what their answers come to (BEP 7).
use std::collections::HashSet;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wgo_proto::compact::Family;
use wgo_proto::tracker::{AnnounceReply, MAX_PEERS, SwarmCounts};

use super::TrackerError;
use super::resolve::family_of;

/// How long the second family may take after the first has answered: its answer matters to peers of that
/// family, but the first one's peers are waiting to be tried.
pub(super) const SECOND_FAMILY: Duration = Duration::from_secs(5);

/// The same of a family by which the tracker did not answer in time the last time. Where IPv6 leads nowhere,
/// which no error tells, thousands of announces would else hold their turns for seconds each.
pub(super) const LATE_FAMILY: Duration = Duration::from_millis(250);

/// Trackers remembered as late; when there are more, all are given the longer time again.
const MAX_LATE: usize = 1024;

/// What an announce came to.
pub(super) type Outcome = Result<AnnounceReply, TrackerError>;

/// Which trackers did not answer by which family the last time.
#[derive(Debug, Default)]
pub(super) struct Late(Mutex<HashSet<(String, Family)>>);

impl Late {
    /// Asks a tracker at two addresses, of one family each, at the same time. The second to answer has a while
    /// once the first has.
    pub(super) async fn ask_both<F: Future<Output = Outcome>>(
        &self,
        tracker: &str,
        [first, second]: [IpAddr; 2],
        ask: impl Fn(IpAddr) -> F,
    ) -> Outcome {
        let (mut by_first, mut by_second) = (pin!(ask(first)), pin!(ask(second)));
        tokio::select! {
            answer = &mut by_first => self.with_other(answer, tracker, second, by_second).await,
            answer = &mut by_second => self.with_other(answer, tracker, first, by_first).await,
        }
    }

    async fn with_other<F: Future<Output = Outcome>>(
        &self,
        answer: Outcome,
        tracker: &str,
        other: IpAddr,
        by_other: Pin<&mut F>,
    ) -> Outcome {
        if answer.is_err() {
            return merge(answer, by_other.await);
        }
        let key = (tracker.to_owned(), family_of(other));
        let patience = if self.lock().contains(&key) { LATE_FAMILY } else { SECOND_FAMILY };
        let by_other = tokio::time::timeout(patience, by_other).await;
        let mut late = self.lock();
        match by_other {
            Ok(second) => {
                late.remove(&key);
                merge(answer, second)
            }
            Err(_) => {
                if late.len() >= MAX_LATE {
                    late.clear();
                }
                late.insert(key);
                answer
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(String, Family)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What two families' results come to.
pub(super) fn merge(first: Outcome, second: Outcome) -> Outcome {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok(join(first, second)),
        (Ok(reply), Err(_)) | (Err(_), Ok(reply)) => Ok(reply),
        (Err(first), Err(second)) => Err(telling(first, second)),
    }
}

/// The failure that says more; the later one if it is at least as good.
pub(super) fn telling(first: TrackerError, second: TrackerError) -> TrackerError {
    if first.weight() > second.weight() { first } else { second }
}

/// Two answers of one tracker to the same announce: the peers of both, and in doubt the longer time to
/// wait and the larger count.
pub(super) fn join(first: AnnounceReply, second: AnnounceReply) -> AnnounceReply {
    let mut peers = first.peers;
    let room = MAX_PEERS.saturating_sub(peers.len());
    peers.extend(second.peers.into_iter().take(room));
    AnnounceReply {
        interval: first.interval.max(second.interval),
        min_interval: first.min_interval.max(second.min_interval),
        counts: SwarmCounts {
            seeders: first.counts.seeders.max(second.counts.seeders),
            leechers: first.counts.leechers.max(second.counts.leechers),
            completed: first.counts.completed.max(second.counts.completed),
            downloaders: first.counts.downloaders.max(second.counts.downloaders),
        },
        peers,
        tracker_id: first.tracker_id.or(second.tracker_id),
        warning: first.warning.or(second.warning),
        external_ip: first.external_ip.or(second.external_ip),
    }
}
