//! What is taken over of a torrent, of a session that may be damaged in any way: for whoever proves that none does
//! harm.
use std::path::{Path, PathBuf};

use wgo_api::params::Known;
use wgo_proto::Bitfield;
use wgo_proto::bencode::{self, Dict};
use wgo_proto::metainfo::Metainfo;

use super::found::{Found, Left};
use super::pickle::Pickle;
use super::{aria2, deluge, libtorrent, qbittorrent, rtorrent, transmission};

/// A torrent as it would be added.
#[derive(Debug)]
pub struct Taken {
    /// With the paths that its files have in the client.
    pub metainfo: Metainfo,
    /// Where its files are.
    pub folder: PathBuf,
    /// The pieces that the client had, if it says so.
    pub have: Option<Bitfield>,
    /// The rest.
    pub known: Known,
}

/// Takes what a client keeps of a torrent.
type Fill = fn(&mut Found, Dict<'_>) -> Result<(), Left>;

/// Reads `state` as what each client in turn keeps beside `torrent`; what it makes of it.
pub fn taken(torrent: &[u8], state: &[u8]) -> Vec<Taken> {
    let dict = bencode::parse(state).ok().and_then(|value| value.as_dict());
    let mut all = vec![aria2_of(torrent, state), deluge_of(torrent, state)];
    let readers: [Fill; 4] = [
        |found, dict| transmission::fill(found, dict, 1),
        |found, dict| {
            libtorrent::fill(found, dict, 1, qbittorrent::rank)?;
            qbittorrent::own(found, dict);
            Ok(())
        },
        |found, dict| libtorrent::fill(found, dict, 1, deluge::rank),
        |found, dict| {
            rtorrent::fill(found, dict)?;
            rtorrent::take_progress(found, dict, 1, None);
            found.known.trackers = rtorrent::trackers(found, dict);
            Ok(())
        },
    ];
    for reader in readers {
        let read = dict.zip(Found::of_bytes(torrent.to_vec()).ok()).and_then(|(dict, mut found)| {
            reader(&mut found, dict).ok()?;
            Some(found)
        });
        all.push(read);
    }
    all.into_iter().flatten().filter_map(named).collect()
}

fn aria2_of(torrent: &[u8], state: &[u8]) -> Option<Box<Found>> {
    let mut found = Found::of_bytes(torrent.to_vec()).ok()?;
    aria2::fill(&mut found, state, Path::new("t.aria2")).ok()?;
    Some(found)
}

fn deluge_of(torrent: &[u8], state: &[u8]) -> Option<Box<Found>> {
    let mut found = Found::of_bytes(torrent.to_vec()).ok()?;
    let pickle = Pickle::parse(state)?;
    let options = pickle.root().get("torrents").and_then(|torrents| torrents.item(0));
    deluge::take_options(&mut found, options.unwrap_or(pickle.root()));
    Some(found)
}

fn named(mut found: Box<Found>) -> Option<Taken> {
    found.apply_names().ok()?;
    let Found { metainfo, folder, have, known, .. } = *found;
    Some(Taken { metainfo, folder, have, known })
}
