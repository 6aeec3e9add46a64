//! What trackers answer, and are asked (BEP 3, 7, 15, 23, 24, 41, 48).
use wgo_proto::WireHash;
use wgo_proto::compact::{self, Family};
use wgo_proto::tracker::http::{decode_announce, decode_scrape, encode_announce, query_pairs, scrape_url};
use wgo_proto::tracker::udp::{Request, Response, transaction_of, url_data};
use wgo_proto::urls;

use super::Reader;

/// Packets of a UDP tracker and to one.
pub(super) fn udp(data: &[u8]) {
    let mut written = Vec::new();
    if let Ok(request) = Request::decode(data) {
        request.encode(&mut written);
        assert_eq!(Request::decode(&written).as_ref(), Ok(&request));
        assert!(written.len() <= data.len() + 300);
    }
    for family in [Family::V4, Family::V6] {
        let Ok(response) = Response::decode(data, family) else { continue };
        written.clear();
        response.encode(&mut written);
        assert_eq!(Response::decode(&written, family).as_ref(), Ok(&response));
        // Characters that can't be shown become longer ones.
        assert!(written.len() <= 3 * data.len());
        let transaction = transaction_of(data).expect("it has been decoded");
        assert!(response.clone().into_connect(transaction.wrapping_add(1)).is_err());
        if let Ok(reply) = response.clone().into_announce(transaction) {
            assert!(reply.peers.len() * family.entry_len() <= data.len());
        }
        if let Ok(swarms) = response.into_scrape(transaction) {
            assert!(swarms.len() * 12 <= data.len());
        }
    }
}

/// Bodies of an HTTP tracker's answers.
pub(super) fn http(data: &[u8]) {
    let asked = [WireHash(*b"aaaaaaaaaaaaaaaaaaaa"), WireHash(*b"bbbbbbbbbbbbbbbbbbbb")];
    if let Ok(found) = decode_scrape(data, &asked) {
        assert_eq!(found.len(), asked.len());
    }
    let Ok(mut reply) = decode_announce(data) else { return };
    assert!(reply.peers.len() * 6 <= data.len());
    assert!(reply.peers.iter().all(|peer| peer.port() != 0));
    let mut written = Vec::new();
    encode_announce(&reply, &mut written);
    let mut again = decode_announce(&written).expect("what we write we read");
    // Those of both families are written one family after the other.
    reply.peers.sort_unstable();
    again.peers.sort_unstable();
    assert_eq!(again, reply);
}

/// Answers to scrapes: each torrent that was asked for has the numbers that it would have if it were asked for
/// alone, and none that the answer doesn't name.
pub(super) fn scrape(data: &[u8]) {
    let mut reader = Reader::new(data);
    let count = 1 + usize::from(reader.byte() % 5);
    let asked: Vec<_> = (0..count).map(|_| WireHash(reader.array())).collect();
    let body = reader.rest();
    if let Ok(found) = decode_scrape(body, &asked) {
        assert_eq!(found.len(), asked.len());
        for (hash, counts) in asked.iter().zip(&found) {
            assert_eq!(decode_scrape(body, &[*hash]), Ok(vec![*counts]));
            let named = body.windows(hash.0.len()).any(|bytes| bytes == hash.0);
            assert!(named || counts.is_none(), "{hash} isn't in the answer");
        }
    }
    // The same by UDP: as many as there is room for, in the order in which they came.
    let Ok(response) = Response::decode(body, Family::V4) else { return };
    let Some(transaction) = transaction_of(body) else { return };
    let Ok(swarms) = response.into_scrape(transaction) else { return };
    assert_eq!(swarms.len(), (body.len() - 8) / 12);
    for (swarm, bytes) in swarms.iter().zip(body[8..].chunks_exact(12)) {
        let number = |at: usize| bytes[at..at + 4].iter().fold(0, |n: u32, byte| n << 8 | u32::from(*byte));
        let numbers = [swarm.seeders, swarm.completed, swarm.leechers];
        // Signed numbers to many trackers, and none has fewer than no peers.
        assert_eq!(numbers, [0, 4, 8].map(|at| Some(number(at)).filter(|n| *n <= i32::MAX as u32)));
    }
}

/// Lists of addresses.
pub(super) fn compact_peers(data: &[u8]) {
    for family in [Family::V4, Family::V6] {
        let mut written = Vec::new();
        compact::addrs(data, family).for_each(|addr| compact::put(&addr, &mut written));
        assert_eq!(written, &data[..data.len() - data.len() % family.entry_len()]);
    }
    if let Some(ip) = compact::ip(data) {
        assert_eq!(compact::ip_bytes(ip), data);
    }
}

/// URLs of trackers as torrents have them.
pub(super) fn urls(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for tier in urls::tiers([text.lines()]) {
        for url in tier {
            assert!(url.is_ascii() || !url.contains(char::is_control), "{url:?}");
            assert!(url.contains(url_data(&url)));
            let pairs = query_pairs(&url).map(|(key, value)| key.len() + value.len()).sum::<usize>();
            assert!(pairs <= 3 * url.len());
            if let Some(scrape) = scrape_url(&url, &[WireHash([0xff; 20])]) {
                assert!(scrape.contains("/scrape") && scrape.contains("info_hash="), "{scrape}");
            }
        }
    }
    let mut reader = Reader::new(data);
    _ = url_data(&String::from_utf8_lossy(reader.sized()));
}
