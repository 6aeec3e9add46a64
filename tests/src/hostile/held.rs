//! Torrents whose content is zeros: as large as is wanted, with one hash for all pieces and files that take no room.
use std::fs::File;
use std::path::Path;

use sha1::{Digest, Sha1};
use wgo_proto::bencode::Encoder;
use wgo_proto::units::WireHash;

use crate::maker::Torrent;

/// A torrent of one file.
#[derive(Clone, Debug)]
pub struct Held {
    /// The torrent file and its hash.
    pub torrent: Torrent,
    /// Bytes of a piece; all are whole.
    pub piece_len: u32,
}

impl Held {
    /// A torrent of `pieces` pieces, announced to `trackers`.
    pub fn new(name: &str, pieces: u32, piece_len: u32, trackers: &[String]) -> Held {
        let hash: [u8; 20] = Sha1::digest(vec![0; piece_len as usize]).into();
        let mut info = Vec::new();
        Encoder::new(&mut info).dict(|dict| {
            dict.entry("length").int(i64::from(pieces) * i64::from(piece_len));
            dict.entry("name").bytes(name);
            dict.entry("piece length").int(piece_len.into());
            dict.entry("pieces").bytes(hash.repeat(pieces as usize));
        });
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes).dict(|dict| {
            if !trackers.is_empty() {
                dict.entry("announce-list").list(|list| {
                    trackers.iter().for_each(|url| list.item().list(|tier| tier.item().bytes(url)));
                });
            }
            dict.entry("info").raw(&info);
        });
        let hash = WireHash(Sha1::digest(&info).into());
        Held { torrent: Torrent { bytes, hash, name: name.to_owned(), pieces }, piece_len }
    }

    /// The hash that names it on the wire.
    pub fn hash(&self) -> WireHash {
        self.torrent.hash
    }

    /// How many pieces it has.
    pub fn pieces(&self) -> u32 {
        self.torrent.pieces
    }

    /// Puts its file into `folder`.
    pub fn write(&self, folder: &Path) {
        let file = File::create(folder.join(&self.torrent.name)).unwrap();
        file.set_len(u64::from(self.pieces()) * u64::from(self.piece_len)).unwrap();
    }

    /// The message with which a peer says that it has everything.
    pub fn full_bitfield(&self) -> Vec<u8> {
        let mut bits = vec![0xff; self.pieces().div_ceil(8) as usize];
        if let Some(last) = bits.last_mut() {
            *last = 0xff << (self.pieces().div_ceil(8) * 8 - self.pieces());
        }
        super::flood::frame(5, &bits)
    }
}
