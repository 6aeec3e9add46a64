//! What callers want added, read: torrent files and magnet links.
use std::path::PathBuf;

use wgo_api::error::{ApiError, Kind};
use wgo_api::params::{AddParams, Source};
use wgo_api::result::Added;
use wgo_proto::magnet::Magnet;
use wgo_proto::metainfo::Metainfo;

use crate::control::Defaults;
use crate::session::{AddRequest, goals_of_add, rank};

/// Peers of a link that are tried; links in use name a few.
const MAX_LINK_PEERS: usize = 100;

/// Those of them that are looked up, whose hosts are names.
const MAX_LINK_HOSTS: usize = 10;

/// What the session is to do for one source; `folder` is where it goes, or why it may not; `defaults` are for what
/// the parameters leave open.
pub(super) fn request(
    source: &Source,
    params: &AddParams,
    folder: &Result<PathBuf, ApiError>,
    defaults: &Defaults,
) -> Result<Box<AddRequest>, Box<Added>> {
    let plain = |error| Box::new(Added::failed(None, None, error));
    let mut peers = params.peers.clone();
    let mut hosts = Vec::new();
    let (metainfo, raw, select) = match source {
        Source::Uri(uri) => {
            let magnet = read_magnet(uri, params)?;
            let addrs = magnet.peers.iter().filter_map(|peer| peer.socket_addr());
            peers.extend(addrs.filter(|peer| !params.peers.contains(peer)).take(MAX_LINK_PEERS));
            let names = magnet.peers.iter().filter(|peer| peer.socket_addr().is_none());
            hosts.extend(names.take(MAX_LINK_HOSTS).cloned());
            (of_magnet(&magnet), Vec::new(), magnet.select)
        }
        Source::Torrent(_) => {
            let raw = source.bytes().map_err(plain)?.unwrap_or_default();
            let metainfo = Metainfo::parse(&raw)
                .map_err(|error| plain(ApiError::new(Kind::BadTorrent, error.to_string())))?;
            (metainfo, raw, Vec::new())
        }
    };
    Ok(Box::new(AddRequest {
        metainfo,
        raw,
        select,
        folder: folder.clone().map_err(plain)?,
        paused: params.paused || defaults.paused,
        labels: wgo_api::labels::distinct(&params.labels).map_err(plain)?,
        check: params.check,
        peers,
        hosts,
        fail_if_exists: params.fail_if_exists,
        sequential: params.sequential,
        choose: params.choose.clone(),
        first_last: params.first_last,
        priority: params.priority.map(rank).or(defaults.priority).unwrap_or_default(),
        goals: goals_of_add(params).map_err(plain)?,
        known: params.known.clone(),
    }))
}

/// What is known of a torrent that a magnet link names.
fn of_magnet(magnet: &Magnet) -> Metainfo {
    let name = magnet.name.clone().unwrap_or_else(|| magnet.hashes.canonical().to_string());
    // Each a tier of its own: links put what works beside what has been dead for years.
    let tiers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
    Metainfo { tiers, ..Metainfo::unknown(magnet.hashes, name) }
}

/// The link, or why it can't be added.
fn read_magnet(uri: &str, params: &AddParams) -> Result<Magnet, Box<Added>> {
    let refuse = |kind, message: &str| Box::new(Added::failed(None, None, ApiError::new(kind, message)));
    let magnet = match Magnet::parse(uri) {
        Ok(magnet) => magnet,
        Err(error) if uri.trim_start().to_ascii_lowercase().starts_with("magnet:") => {
            let message = format!("not a magnet link that can be read: {error}");
            return Err(refuse(Kind::BadTorrent, &message));
        }
        Err(_) => {
            let message = "the daemon fetches no URLs: `wgoctl add URL` does, or send the file itself";
            return Err(refuse(Kind::Unsupported, message));
        }
    };
    if params.known.is_some() {
        let message =
            "`known` says what is on the disk of a torrent: give its .torrent file, not a magnet link";
        return Err(refuse(Kind::BadRequest, message));
    }
    Ok(magnet)
}
