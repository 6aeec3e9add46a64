//! Result of `scrape`: how large swarms are.
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};

/// What one tracker says of a swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrapedTracker {
    /// Its URL.
    pub url: String,
    /// Peers with everything; `null` when it doesn't say.
    pub seeds: Option<u32>,
    /// Peers that lack something.
    pub leeches: Option<u32>,
    /// Completed downloads.
    pub completed: Option<u32>,
    /// Why it says nothing, for people; `null` when it answered.
    pub error: Option<String>,
}

/// One torrent of `scrape`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scraped {
    /// The id as it was given; with `all`, the info-hash.
    pub id: String,
    /// 40 hexadecimal digits; `null` when no single torrent matched.
    pub info_hash: Option<String>,
    /// The torrent's name.
    pub name: Option<String>,
    /// Its trackers, tier by tier.
    pub trackers: Vec<ScrapedTracker>,
    /// Why nobody was asked or nobody answered, for people; `null` when a tracker did.
    pub error: Option<String>,
    /// What kind of failure, for programs; `null` when it did not fail.
    pub kind: Option<Kind>,
}

impl Scraped {
    /// An id for which the call failed.
    pub fn failed(id: impl Into<String>, error: ApiError) -> Scraped {
        let kind = Some(error.kind());
        Scraped { id: id.into(), error: Some(error.message), kind, ..Scraped::default() }
    }
}

/// Result of `scrape`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrapeResult {
    /// One per id in their order, or one per torrent with `all`.
    pub torrents: Vec<Scraped>,
}
