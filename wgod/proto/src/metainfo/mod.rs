//! Torrent files: v1 (BEP 3), v2 and hybrid (BEP 52), with trackers (BEP 12), web seeds (BEP 17, BEP 19),
//! nodes (BEP 5), the private flag (BEP 27), and pad files, attributes and links (BEP 47).
//!
//! [`Metainfo::parse`] reads a whole torrent file, [`Metainfo::from_info`] the `info` dictionary that
//! peers send for a magnet link (BEP 9). What they return is consistent: lengths add up, every piece has
//! its hash, paths are safe and distinct, piece layers are verified against the files' roots, and the two
//! halves of a hybrid agree. Unknown keys are passed over. The other way, from files to a torrent, goes
//! through a [`draft`].
pub mod draft;
mod entry;
mod error;
mod hashes;
mod info;
mod outer;
mod parts;
mod rename;
mod suffix;
#[cfg(test)]
mod tests;
mod tree;
mod v1;

use crate::bencode::{self, BencodeError, Dict, Encoder, Fault};
use crate::host_port::HostPort;
use crate::units::{InfoHashV1, InfoHashV2, InfoHashes};
pub use entry::FileEntry;
pub use error::MetainfoError;
pub use hashes::{PieceCheck, PieceHashes, SubtreeCheck};
pub use info::Info;
use outer::Outer;
pub use parts::{PartSpans, Parts};
pub use rename::RenameError;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::ops::Range;
pub use suffix::{PartSuffix, SuffixError, Suffixed};

/// Bytes of all paths of a torrent together. A torrent of a million files stays below; a small one that
/// is made to grow in memory does not.
pub const MAX_PATHS_LEN: usize = 64 << 20;

/// A torrent file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// The info-hashes: SHA-1 and SHA-256 of the `info` dictionary's bytes as they came.
    pub hashes: InfoHashes,
    /// What is downloaded.
    pub info: Info,
    /// Where the `info` dictionary lies in the bytes that were parsed.
    pub info_span: Range<usize>,
    /// Tracker URLs in their tiers, the preferred tier first (BEP 12): `http`, `https` and `udp`, each
    /// once; others are dropped.
    pub tiers: Vec<Vec<String>>,
    /// `url-list`: `http` and `https` URLs of the content (BEP 19).
    pub web_seeds: Vec<String>,
    /// `httpseeds`: scripts that hand out pieces (BEP 17).
    pub http_seeds: Vec<String>,
    /// Nodes of the DHT (BEP 5).
    pub nodes: Vec<HostPort>,
    /// Free text of the maker.
    pub comment: Option<String>,
    /// The program that made the torrent.
    pub created_by: Option<String>,
    /// When, in Unix seconds; 0 to the end of the year 9999.
    pub creation_date: Option<i64>,
}

impl Metainfo {
    /// Reads a torrent file. Line breaks and blanks after its end are let pass, other bytes are not.
    pub fn parse(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        let value = bencode::parse_prefix(bytes)?;
        let end = value.span().end;
        let rest = bytes.get(end..).unwrap_or_default();
        if !rest.iter().all(u8::is_ascii_whitespace) {
            return Err(BencodeError { fault: Fault::Trailing { count: rest.len() }, at: end }.into());
        }
        let torrent = value.as_dict().ok_or(MetainfoError::NotDict)?;
        let [info, layers] = torrent.pick(["info", "piece layers"])?;
        let info = info.ok_or(MetainfoError::Missing { key: "info", at: 0 })?;
        let wrong = |key, at| MetainfoError::Invalid { key, at, expected: "a dictionary" };
        let dict = info.as_dict().ok_or(wrong("info", info.span().start))?;
        let layers = match layers {
            Some(layers) => Some(layers.as_dict().ok_or(wrong("piece layers", layers.span().start))?),
            None => None,
        };
        Metainfo::build(dict, layers, Outer::read(torrent))
    }

    /// Reads an `info` dictionary alone, without trackers and piece layers. The caller compares
    /// [`Metainfo::hashes`] with what it asked for.
    pub fn from_info(info: &[u8]) -> Result<Metainfo, MetainfoError> {
        let dict = bencode::parse(info)?.as_dict().ok_or(MetainfoError::NotDict)?;
        Metainfo::build(dict, None, Outer::default())
    }

    /// Both hashes of bytes that are said to be an `info` dictionary, whether they are one or not.
    pub fn hashes_of(info: &[u8]) -> InfoHashes {
        InfoHashes {
            v1: Some(InfoHashV1(Sha1::digest(info).into())),
            v2: Some(InfoHashV2(Sha256::digest(info).into())),
        }
    }

    /// What is known of a torrent before its metadata has come (BEP 9): its hashes, and a name to show.
    pub fn unknown(hashes: InfoHashes, name: String) -> Metainfo {
        Metainfo {
            hashes,
            info: Info::unknown(name),
            info_span: 0..0,
            tiers: Vec::new(),
            web_seeds: Vec::new(),
            http_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    /// A torrent file of an `info` dictionary that came from peers, and the trackers that a magnet link named.
    /// `info` is one bencoded dictionary, as [`from_info`](Metainfo::from_info) has found.
    pub fn file_of(info: &[u8], tiers: &[Vec<String>]) -> Vec<u8> {
        let urls = tiers.iter().flatten().map(|url| url.len() + 16).sum::<usize>();
        let mut file = Vec::with_capacity(info.len() + urls + 64);
        Encoder::new(&mut file).dict(|torrent| {
            if let Some(first) = tiers.iter().flatten().next() {
                torrent.entry("announce").bytes(first);
            }
            if tiers.iter().flatten().nth(1).is_some() {
                torrent.entry("announce-list").list(|list| {
                    for tier in tiers {
                        list.item().list(|tier_list| {
                            tier.iter().for_each(|url| tier_list.item().bytes(url));
                        });
                    }
                });
            }
            torrent.entry("info").raw(info);
        });
        file
    }

    fn build(info: Dict<'_>, layers: Option<Dict<'_>>, outer: Outer) -> Result<Metainfo, MetainfoError> {
        let info_span = info.value().span();
        let (hashes, info) = info::read(info, layers)?;
        let Outer { tiers, web_seeds, http_seeds, nodes, comment, created_by, creation_date } = outer;
        Ok(Metainfo {
            hashes,
            info,
            info_span,
            tiers,
            web_seeds,
            http_seeds,
            nodes,
            comment,
            created_by,
            creation_date,
        })
    }
}
