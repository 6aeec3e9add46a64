//! HTTP trackers: the URLs to ask and the bencoded answers (BEP 3, 7, 21, 23, 24, 31, 48).
//!
//! The shell's driver fetches what [`announce_url`] and [`scrape_url`] name and decodes the body. The
//! other directions ([`query_pairs`], [`encode_announce`]) are for the trackers of the tests.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{
    Announce, AnnounceReply, Event, MAX_INTERVAL, MAX_TEXT, Retry, SwarmCounts, TrackerError, interval,
    keep_peers,
};
use crate::bencode::{self, Dict, DictEncoder, Encoder, Value};
use crate::compact::{self, Family};
use crate::text;
use crate::units::WireHash;

/// Bytes of the longest tracker id that we send back; a longer one is forgotten.
pub const MAX_TRACKER_ID: usize = 256;

/// Bytes of an unreadable answer that the error shows.
const SHOWN_OF_NONSENSE: usize = 60;

/// What an announce over HTTP says beside the [`Announce`].
#[derive(Clone, Copy, Debug)]
pub struct AnnounceQuery<'a> {
    /// The torrent and our state of it.
    pub announce: &'a Announce,
    /// What the last reply gave as `tracker id` (BEP 3).
    pub tracker_id: Option<&'a [u8]>,
    /// Our address, if not the one that the request comes from (BEP 3).
    pub ip: Option<IpAddr>,
    /// A further address of ours; BEP 7 discourages it.
    pub ipv4: Option<Ipv4Addr>,
    /// A further address of ours; BEP 7 discourages it.
    pub ipv6: Option<Ipv6Addr>,
}

/// The URL of an announce: `base`, the tracker's URL with the query that it may have already, without
/// fragment, and our parameters. Asks for the compact form without peer ids (BEP 23).
pub fn announce_url(base: &str, query: &AnnounceQuery<'_>) -> String {
    let announce = query.announce;
    let mut url = Url::new(base);
    url.put("info_hash", &announce.hash.0);
    url.put("peer_id", &announce.peer_id.0);
    url.put_shown("port", Some(announce.port));
    url.put_shown("uploaded", Some(announce.uploaded));
    url.put_shown("downloaded", Some(announce.downloaded));
    url.put_shown("left", Some(announce.left));
    url.put_shown("compact", Some(1));
    url.put_shown("no_peer_id", Some(1));
    url.put_shown("key", Some(format_args!("{:08X}", announce.key)));
    url.put_shown("numwant", announce.num_want);
    url.put_shown("event", announce.event.map(event_name));
    if let Some(id) = query.tracker_id {
        url.put("trackerid", id);
    }
    url.put_shown("ip", query.ip);
    url.put_shown("ipv4", query.ipv4);
    url.put_shown("ipv6", query.ipv6);
    url.text
}

/// The URL of a scrape for `hashes`, by the convention that the path of `base` has a component that
/// begins with `announce`; the last such becomes `scrape` (BEP 48). `None` without one.
pub fn scrape_url(base: &str, hashes: &[WireHash]) -> Option<String> {
    let authority = base.find("://")? + 3;
    let path_end = base[authority..].find(['?', '#']).map_or(base.len(), |at| authority + at);
    let at = authority + base[authority..path_end].rfind("/announce")?;
    let rest = &base[at + "/announce".len()..];
    let mut url = Url::new(&format!("{}/scrape{rest}", &base[..at]));
    hashes.iter().for_each(|hash| url.put("info_hash", &hash.0));
    Some(url.text)
}

/// The parameters of a URL, percent-decoded, in order: what a tracker reads.
pub fn query_pairs(url: &str) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(before, _)| before);
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (String::from_utf8_lossy(&percent_decode(key)).into_owned(), percent_decode(value))
    })
}

/// Reads the body of the answer to an announce.
///
/// A refusal is an error with the tracker's reason; so is a body that isn't a bencoded dictionary.
/// Bytes after it are ignored, some trackers add a line end. Numbers that can't be count as absent,
/// peers given by name instead of address are left out.
pub fn decode_announce(body: &[u8]) -> Result<AnnounceReply, TrackerError> {
    let dict = accepted(body)?;
    let mut peers = Vec::new();
    match dict.get("peers").map(|peers| (peers.as_bytes(), peers.as_list())) {
        Some((Some(packed), _)) => keep_peers(&mut peers, compact::addrs(packed, Family::V4)),
        Some((_, Some(list))) => keep_peers(&mut peers, list.iter().filter_map(peer_of_dict)),
        _ => {}
    }
    keep_peers(&mut peers, compact::addrs(dict.bytes("peers6").unwrap_or(&[]), Family::V6));
    let tracker_id = dict.bytes("tracker id").filter(|id| id.len() <= MAX_TRACKER_ID);
    let warning = dict.bytes("warning message").map(|bytes| text::printable(bytes, MAX_TEXT));
    Ok(AnnounceReply {
        interval: dict.int("interval").and_then(interval),
        min_interval: dict.int("min interval").and_then(interval),
        counts: counts(dict),
        peers,
        tracker_id: tracker_id.map(<[u8]>::to_vec),
        warning: warning.filter(|text| !text.is_empty()),
        external_ip: dict.bytes("external ip").and_then(compact::ip),
    })
}

/// Reads the body of the answer to a scrape: for each of `asked` what the tracker knows, in that
/// order, `None` where it says nothing. What else it sends is passed over.
pub fn decode_scrape(body: &[u8], asked: &[WireHash]) -> Result<Vec<Option<SwarmCounts>>, TrackerError> {
    let mut found = vec![None; asked.len()];
    let Some(files) = accepted(body)?.get("files").and_then(|files| files.as_dict()) else {
        return Ok(found);
    };
    for (key, value) in files.iter() {
        let slots = asked.iter().zip(&mut found).filter(|(hash, slot)| hash.0 == key && slot.is_none());
        for (_, slot) in slots {
            *slot = value.as_dict().map(counts);
        }
    }
    Ok(found)
}

/// Appends the body that [`decode_announce`] reads, in compact form.
pub fn encode_announce(reply: &AnnounceReply, out: &mut Vec<u8>) {
    let put_int = |dict: &mut DictEncoder<'_>, key: &str, value: Option<i64>| {
        if let Some(value) = value {
            dict.entry(key).int(value);
        }
    };
    let put_bytes = |dict: &mut DictEncoder<'_>, key: &str, value: Option<&[u8]>| {
        if let Some(value) = value {
            dict.entry(key).bytes(value);
        }
    };
    let seconds = |duration: Option<Duration>| duration.map(|d| d.as_secs().cast_signed());
    let packed = |family| {
        let mut bytes = Vec::new();
        let peers = reply.peers.iter().filter(|peer| Family::of(peer) == family);
        peers.for_each(|peer| compact::put(peer, &mut bytes));
        bytes
    };
    Encoder::new(out).dict(|dict| {
        put_int(dict, "complete", reply.counts.seeders.map(i64::from));
        put_int(dict, "downloaded", reply.counts.completed.map(i64::from));
        put_int(dict, "downloaders", reply.counts.downloaders.map(i64::from));
        put_bytes(dict, "external ip", reply.external_ip.map(compact::ip_bytes).as_deref());
        put_int(dict, "incomplete", reply.counts.leechers.map(i64::from));
        put_int(dict, "interval", seconds(reply.interval));
        put_int(dict, "min interval", seconds(reply.min_interval));
        put_bytes(dict, "peers", Some(&packed(Family::V4)));
        put_bytes(dict, "peers6", Some(&packed(Family::V6)));
        put_bytes(dict, "tracker id", reply.tracker_id.as_deref());
        put_bytes(dict, "warning message", reply.warning.as_deref().map(str::as_bytes));
    });
}

/// The dictionary of an answer that isn't a refusal.
fn accepted(body: &[u8]) -> Result<Dict<'_>, TrackerError> {
    let start = || text::printable(body.get(..SHOWN_OF_NONSENSE).unwrap_or(body), SHOWN_OF_NONSENSE);
    let value =
        bencode::parse_prefix(body).map_err(|error| TrackerError::Nonsense { error, start: start() })?;
    let dict = value.as_dict().ok_or_else(|| TrackerError::NotDict { start: start() })?;
    match dict.bytes("failure reason") {
        None => Ok(dict),
        Some(reason) => {
            let reason = text::printable(reason, MAX_TEXT);
            Err(TrackerError::Refused { reason, retry: dict.get("retry in").and_then(retry) })
        }
    }
}

/// Minutes as an integer or as its digits, or `never` (BEP 31).
fn retry(value: Value<'_>) -> Option<Retry> {
    if value.as_bytes() == Some(b"never") {
        return Some(Retry::Never);
    }
    let minutes = value.as_int().or_else(|| value.as_str()?.trim().parse().ok())?;
    interval(minutes.checked_mul(60).unwrap_or(MAX_INTERVAL.as_secs().cast_signed())).map(Retry::After)
}

fn peer_of_dict(peer: Value<'_>) -> Option<SocketAddr> {
    let dict = peer.as_dict()?;
    let port = u16::try_from(dict.int("port")?).ok()?;
    let ip = dict.get("ip")?.as_str()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

fn counts(dict: Dict<'_>) -> SwarmCounts {
    let count = |key: &str| dict.int(key).and_then(|n| u32::try_from(n).ok());
    SwarmCounts {
        seeders: count("complete"),
        leechers: count("incomplete"),
        completed: count("downloaded"),
        downloaders: count("downloaders"),
    }
}

fn event_name(event: Event) -> &'static str {
    match event {
        Event::Started => "started",
        Event::Completed => "completed",
        Event::Stopped => "stopped",
        Event::Paused => "paused",
    }
}

/// A URL to which parameters are added.
struct Url {
    text: String,
}

impl Url {
    fn new(base: &str) -> Self {
        Self { text: base.split_once('#').map_or(base, |(before, _)| before).to_owned() }
    }

    fn put_shown(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.put(key, value.to_string().as_bytes());
        }
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        if !self.text.contains('?') {
            self.text.push('?');
        } else if !self.text.ends_with(['?', '&']) {
            self.text.push('&');
        }
        self.text.push_str(key);
        self.text.push('=');
        for &byte in value {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.text.push(char::from(byte));
            } else {
                let digits = b"0123456789ABCDEF";
                let hex = [byte >> 4, byte & 15].map(|digit| char::from(digits[usize::from(digit)]));
                self.text.extend(['%', hex[0], hex[1]]);
            }
        }
    }
}

/// `%XX` becomes a byte, everything else stays, a broken escape too.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16).map(|digit| digit as u8);
    let (mut rest, mut out) = (text.as_bytes(), Vec::with_capacity(text.len()));
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match after {
            [high, low, after @ ..] if byte == b'%' => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(byte),
            },
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests;
