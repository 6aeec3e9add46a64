//! Magnet links (BEP 9), with the hash of v2 torrents (BEP 52) and the choice of files (BEP 53).
//!
//! `xt` must name a torrent; everything else is optional, and what is unusable of it is passed over:
//! unknown parameters, trackers and seeds that nobody here serves, peers that are no address.
use crate::host_port::HostPort;
use crate::path::safe_component;
use crate::units::{InfoHashV1, InfoHashV2, InfoHashes};
use crate::urls;
use std::fmt::{self, Write};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Bytes of a link; the longest in use have a few dozen trackers.
pub const MAX_MAGNET_LEN: usize = 64 * 1024;

/// What a magnet link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// The torrent.
    pub hashes: InfoHashes,
    /// `dn`: a name to show until the torrent's own is known, made a safe file name.
    pub name: Option<String>,
    /// `xl`: bytes of the content, as the link claims.
    pub len: Option<u64>,
    /// `tr`: usable tracker URLs, each once.
    pub trackers: Vec<String>,
    /// `ws`: usable web seed URLs, each once (BEP 19).
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers to begin with, each once.
    pub peers: Vec<HostPort>,
    /// `so`: the only files to download, as ascending ranges with gaps between them; empty for all.
    pub select: Vec<RangeInclusive<u32>>,
}

/// Why a text is no usable magnet link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MagnetError {
    /// It does not begin with `magnet:?`.
    #[error("not a magnet link: it does not begin with `magnet:?`")]
    NotMagnet,
    /// Above [`MAX_MAGNET_LEN`].
    #[error("the magnet link has {found} bytes; at most {MAX_MAGNET_LEN} are possible")]
    TooLong {
        /// Bytes.
        found: usize,
    },
    /// No `xt` names a torrent.
    #[error("the magnet link names no torrent: it has no `xt=urn:btih:…` or `xt=urn:btmh:…`")]
    NoHash,
    /// An info-hash that is none.
    #[error("the magnet link's info-hash {text:?} is not {expected}")]
    Hash {
        /// What came.
        text: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Two different info-hashes of one kind.
    #[error("the magnet link names two torrents, {first} and {second}")]
    TwoTorrents {
        /// The first hash.
        first: String,
        /// The second one.
        second: String,
    },
}

impl Magnet {
    /// A link with nothing but the torrent's hashes.
    pub fn new(hashes: InfoHashes) -> Magnet {
        Magnet {
            hashes,
            name: None,
            len: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: Vec::new(),
        }
    }

    /// Reads a link. `xt.1`, `tr.2` and the like count as `xt` and `tr`; `&amp;` between parameters, from
    /// a link copied out of HTML, is let pass.
    pub fn parse(text: &str) -> Result<Magnet, MagnetError> {
        let text = text.trim();
        if text.len() > MAX_MAGNET_LEN {
            return Err(MagnetError::TooLong { found: text.len() });
        }
        let prefix = text.get(..8).filter(|prefix| prefix.eq_ignore_ascii_case("magnet:?"));
        let query = text.strip_prefix(prefix.ok_or(MagnetError::NotMagnet)?).unwrap_or_default();
        let mut hashes = InfoHashes { v1: None, v2: None };
        let mut magnet = Magnet::new(hashes);
        let (mut trackers, mut web_seeds) = (Vec::new(), Vec::new());
        for parameter in query.split('&') {
            let parameter = parameter.strip_prefix("amp;").unwrap_or(parameter);
            let (key, raw) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = decode(raw);
            match without_number(key).to_ascii_lowercase().as_str() {
                "xt" => topic(&mut hashes, &value)?,
                // Some writers encode a name as HTML forms do.
                "dn" if !raw.is_empty() => {
                    magnet.name = Some(safe_component(decode(&raw.replace('+', " ")).as_bytes()));
                }
                "xl" => magnet.len = value.parse().ok(),
                "tr" => trackers.push(value),
                "ws" => web_seeds.push(value),
                "x.pe" => magnet.peers.extend(value.parse::<HostPort>()),
                "so" => magnet.select.extend(value.split(',').filter_map(file_range)),
                _ => {}
            }
        }
        if hashes.v1.is_none() && hashes.v2.is_none() {
            return Err(MagnetError::NoHash);
        }
        magnet.hashes = hashes;
        magnet.trackers = urls::tiers([trackers]).concat();
        magnet.web_seeds = urls::web_seeds(web_seeds);
        keep_first(&mut magnet.peers);
        magnet.select = joined(magnet.select);
        Ok(magnet)
    }

    /// Whether `so` allows a file, by its index in the torrent.
    pub fn selects(&self, file: u32) -> bool {
        self.select.is_empty() || self.select.iter().any(|range| range.contains(&file))
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        Magnet::parse(text)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("magnet:?")?;
        let v1 = self.hashes.v1.map(|hash| format!("xt=urn:btih:{hash}"));
        let v2 = self.hashes.v2.map(|hash| format!("xt=urn:btmh:1220{hash}"));
        f.write_str(&v1.into_iter().chain(v2).collect::<Vec<_>>().join("&"))?;
        let texts = |key, texts: &[String]| -> Vec<(&str, String)> {
            texts.iter().map(|text| (key, text.clone())).collect()
        };
        let mut rest: Vec<(&str, String)> = Vec::new();
        rest.extend(self.name.clone().map(|name| ("dn", name)));
        rest.extend(self.len.map(|len| ("xl", len.to_string())));
        rest.extend(texts("tr", &self.trackers));
        rest.extend(texts("ws", &self.web_seeds));
        for (key, value) in rest {
            write!(f, "&{key}=")?;
            encode(f, &value)?;
        }
        // Addresses and ranges are made of characters that need no encoding and read better without.
        self.peers.iter().try_for_each(|peer| write!(f, "&x.pe={peer}"))?;
        for (index, range) in self.select.iter().enumerate() {
            f.write_str(if index == 0 { "&so=" } else { "," })?;
            match range.start() == range.end() {
                true => write!(f, "{}", range.start())?,
                false => write!(f, "{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

/// Adds the info-hash of one `xt`; a topic that is no torrent is passed over.
fn topic(hashes: &mut InfoHashes, topic: &str) -> Result<(), MagnetError> {
    let wrong = |text: &str, expected| MagnetError::Hash { text: text.to_owned(), expected };
    if let Some(text) = strip_prefix(topic, "urn:btih:") {
        let hash = text.parse().ok().or_else(|| base32(text).map(InfoHashV1));
        let hash = hash.ok_or_else(|| wrong(text, "40 hexadecimal or 32 base32 digits"))?;
        set(&mut hashes.v1, hash)
    } else if let Some(text) = strip_prefix(topic, "urn:btmh:") {
        // A multihash: 0x12 is SHA-256, 0x20 its length.
        let hash: Option<InfoHashV2> = text.strip_prefix("1220").and_then(|digits| digits.parse().ok());
        set(&mut hashes.v2, hash.ok_or_else(|| wrong(text, "1220 and 64 hexadecimal digits"))?)
    } else {
        Ok(())
    }
}

fn set<H: Copy + PartialEq + fmt::Display>(slot: &mut Option<H>, hash: H) -> Result<(), MagnetError> {
    match slot.replace(hash) {
        Some(first) if first != hash => {
            Err(MagnetError::TwoTorrents { first: first.to_string(), second: hash.to_string() })
        }
        _ => Ok(()),
    }
}

fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// 20 bytes of 32 base32 digits (RFC 4648), in either case.
fn base32(text: &str) -> Option<[u8; 20]> {
    if text.len() != 32 {
        return None;
    }
    let mut out = [0; 20];
    for (bytes, digits) in out.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
        let mut group = 0u64;
        for digit in digits {
            let value = match digit.to_ascii_uppercase() {
                letter @ b'A'..=b'Z' => letter - b'A',
                number @ b'2'..=b'7' => number - b'2' + 26,
                _ => return None,
            };
            group = group << 5 | u64::from(value);
        }
        bytes.copy_from_slice(&group.to_be_bytes()[3..]);
    }
    Some(out)
}

/// `tr` of `tr.1`.
fn without_number(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((key, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => key,
        _ => key,
    }
}

/// `3` or `6-8`.
fn file_range(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// The same files as ascending ranges that neither overlap nor touch.
fn joined(mut ranges: Vec<RangeInclusive<u32>>) -> Vec<RangeInclusive<u32>> {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut joined: Vec<RangeInclusive<u32>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Drops every item that equals an earlier one.
fn keep_first(peers: &mut Vec<HostPort>) {
    let mut seen = std::collections::HashSet::new();
    peers.retain(|peer| seen.insert(peer.clone()));
}

/// Percent-decodes; a `%` that begins no code stays, bytes that are not UTF-8 become U+FFFD.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digit = |index: usize| tail.get(index).and_then(|&digit| (digit as char).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = &tail[2..];
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.bytes().try_for_each(|byte| match byte {
        b'-' | b'.' | b'_' | b'~' => f.write_char(char::from(byte)),
        _ if byte.is_ascii_alphanumeric() => f.write_char(char::from(byte)),
        _ => write!(f, "%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests;
