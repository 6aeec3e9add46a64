//! What we answer to the queries of others (BEP 5, 32, 33, 44, 51). A read-only node answers nothing (BEP 43).
//!
//! An answer can be longer than its question, and the question may carry another's address: so answers are
//! counted against limits, for each source and for all, before anything is done for them.
use std::net::SocketAddr;

use wgo_proto::compact::{self, Family};
use wgo_proto::krpc::response::Scrape;
use wgo_proto::krpc::{
    Body, Contact, ErrorCode, ErrorReply, Item, MAX_SENT, Method, Nodes, Packet, Query, Response, Samples,
    Values, Want,
};
use wgo_proto::{NodeId, WireHash};

use super::address::host;
use super::table::K;
use super::{Dht, VERSION};
use crate::Time;

/// Bytes of a peer in `values`: its compact form as a bencoded string.
const fn value_len(family: Family) -> usize {
    family.entry_len() + if family.entry_len() < 10 { 2 } else { 3 }
}

/// Bytes of `6:valuesle`, with some to spare.
const VALUES_LEN: usize = 16;

/// A refusal: what kind, and words for the other's log.
type Refused = (ErrorCode, &'static str);

const BAD_TOKEN: Refused = (ErrorCode::PROTOCOL, "bad token");

/// Someone who asks, and under which transaction.
#[derive(Clone, Copy)]
struct Asker<'a> {
    from: SocketAddr,
    family: Family,
    transaction: &'a [u8],
    own: NodeId,
}

/// Compact nodes of both families, where they are wanted and we have a table.
#[derive(Default)]
struct Closest {
    v4: Option<Vec<u8>>,
    v6: Option<Vec<u8>>,
}

impl Closest {
    fn put_into<'a>(&'a self, response: &mut Response<'a>) {
        response.nodes = self.v4.as_deref().map(|bytes| Nodes::new(bytes, Family::V4));
        response.nodes6 = self.v6.as_deref().map(|bytes| Nodes::new(bytes, Family::V6));
    }
}

/// Bytes of the answer at most, roughly.
fn cost(method: &Method<'_>) -> usize {
    match method {
        Method::Ping | Method::AnnouncePeer { .. } | Method::Put { .. } => 100,
        Method::Unknown { target: None, .. } => 100,
        Method::FindNode { want: None, .. } | Method::Unknown { want: None, .. } => 400,
        Method::FindNode { .. } | Method::Unknown { .. } => 700,
        Method::GetPeers { .. } | Method::SampleInfohashes { .. } | Method::Get { .. } => MAX_SENT,
    }
}

impl Dht {
    /// Somebody asks.
    pub(super) fn on_query(&mut self, now: Time, from: SocketAddr, transaction: &[u8], query: &Query<'_>) {
        let family = Family::of(&from);
        let Some(own) = self.id(family).filter(|own| *own != query.id) else { return };
        if self.config.read_only {
            return;
        }
        let cost = cost(&query.method);
        if !self.sources.admit_bytes(now, host(from), cost) || !self.answers.admit(now, cost) {
            self.counted.limited += 1;
            return;
        }
        self.counted.answered += 1;
        let contact = Contact { id: query.id, addr: from };
        let welcome = self.overlay_mut(family).is_some_and(|overlay| overlay.table.on_query(now, contact));
        if welcome && !query.read_only {
            self.verify(now, from);
        }
        let asker = Asker { from, family, transaction, own };
        if let Err((code, message)) = self.answer(now, asker, &query.method) {
            let error = ErrorReply { code, message: message.as_bytes() };
            self.reply(asker, Body::Error(error));
        }
    }

    fn answer(&mut self, now: Time, asker: Asker<'_>, method: &Method<'_>) -> Result<(), Refused> {
        match *method {
            Method::Ping => self.reply(asker, Body::Response(Response::new(asker.own))),
            Method::FindNode { target, want } | Method::Unknown { target: Some(target), want, .. } => {
                self.answer_nodes(asker, target, want);
            }
            Method::Unknown { target: None, .. } => {
                return Err((ErrorCode::UNKNOWN_METHOD, "method unknown"));
            }
            Method::GetPeers { info_hash, want, noseed, scrape } => {
                self.answer_peers(asker, info_hash, want, (noseed, scrape));
            }
            Method::SampleInfohashes { target, want } => self.answer_samples(now, asker, target, want),
            Method::Get { target, seq, want } => self.answer_item(asker, target, seq, want),
            Method::AnnouncePeer { info_hash, port, seed, token } => {
                self.check_token(asker, token, info_hash.into())?;
                let addr = SocketAddr::new(asker.from.ip(), port.unwrap_or(asker.from.port()));
                if !self.peers.announce(now, info_hash, (addr, seed), &mut self.rng) {
                    return Err((ErrorCode::SERVER, "no room for more peers"));
                }
                self.reply(asker, Body::Response(Response::new(asker.own)));
            }
            Method::Put { token, item, cas } => {
                self.check_token(asker, token, item.target())?;
                self.items
                    .put(now, (&item, cas), asker.from, asker.own, self.config.verify)
                    .map_err(|code| (code, "not stored"))?;
                self.reply(asker, Body::Response(Response::new(asker.own)));
            }
        }
        Ok(())
    }

    fn reply(&mut self, asker: Asker<'_>, body: Body<'_>) {
        let ip = Some(asker.from);
        self.send(asker.from, &Packet { transaction: asker.transaction, version: Some(VERSION), ip, body });
    }

    fn check_token(&mut self, asker: Asker<'_>, token: &[u8], target: NodeId) -> Result<(), Refused> {
        if self.tokens.accepts(token, asker.from.ip(), target) {
            return Ok(());
        }
        self.counted.bad_tokens += 1;
        Err(BAD_TOKEN)
    }

    /// The closest nodes to a point, of the families that are wanted: by default that of the query (BEP 32).
    fn closest(&self, asker: Asker<'_>, target: NodeId, want: Option<Want>) -> Closest {
        let want = want.unwrap_or(Want::only(asker.family));
        let of = |family| {
            let overlay = self.overlay(family).filter(|_| want.includes(family))?;
            let mut bytes = Vec::with_capacity(K * Contact::compact_len(family));
            overlay.table.closest(target, K).iter().for_each(|contact| contact.put(&mut bytes));
            Some(bytes)
        };
        Closest { v4: of(Family::V4), v6: of(Family::V6) }
    }

    fn answer_nodes(&mut self, asker: Asker<'_>, target: NodeId, want: Option<Want>) {
        let closest = self.closest(asker, target, want);
        let mut response = Response::new(asker.own);
        closest.put_into(&mut response);
        self.reply(asker, Body::Response(response));
    }

    fn answer_peers(
        &mut self,
        asker: Asker<'_>,
        info_hash: WireHash,
        want: Option<Want>,
        (noseed, scrape): (bool, bool),
    ) {
        let filters = if scrape { self.peers.scrape(info_hash) } else { None };
        // With the filters there is room for the nodes that must be there only (BEP 33).
        let want = want.filter(|_| filters.is_none());
        let closest = self.closest(asker, info_hash.into(), want);
        let token = self.tokens.issue(asker.from.ip(), info_hash.into());
        let mut response = Response::new(asker.own);
        closest.put_into(&mut response);
        response.token = Some(&token[..]).filter(|_| self.peers.accepts(info_hash, asker.from));
        response.scrape = filters.as_ref().map(|(seeds, peers)| Scrape { seeds: &seeds.0, peers: &peers.0 });
        let room = MAX_SENT.saturating_sub(len_of(asker, &response) + VALUES_LEN) / value_len(asker.family);
        let peers = self.peers.choose(info_hash, asker.family, noseed, room, &mut self.rng);
        let mut packed = Vec::with_capacity(peers.len() * asker.family.entry_len());
        peers.iter().for_each(|peer| compact::put(peer, &mut packed));
        response.values = (!peers.is_empty()).then(|| Values::packed(&packed, asker.family));
        self.reply(asker, Body::Response(response));
    }

    fn answer_samples(&mut self, now: Time, asker: Asker<'_>, target: NodeId, want: Option<Want>) {
        let closest = self.closest(asker, target, want);
        let total = self.peers.torrents() as u64;
        let (bytes, interval) = self.peers.sample(now, &mut self.rng);
        let bytes = bytes.to_vec();
        let mut response = Response::new(asker.own);
        closest.put_into(&mut response);
        response.samples = Some(Samples { bytes: &bytes, interval: interval.as_secs() as u32, total });
        self.reply(asker, Body::Response(response));
    }

    fn answer_item(&mut self, asker: Asker<'_>, target: NodeId, newer_than: Option<i64>, want: Option<Want>) {
        let closest = self.closest(asker, target, want);
        let token = self.tokens.issue(asker.from.ip(), target);
        let mut response = Response::new(asker.own);
        closest.put_into(&mut response);
        response.token = Some(&token);
        let stored = self.items.get(target).cloned();
        let seq = stored.as_ref().and_then(|stored| stored.seq());
        let is_known = seq.zip(newer_than).is_some_and(|(seq, known)| seq <= known);
        response.seq = seq;
        response.item = stored.as_ref().filter(|_| !is_known).map(|stored| {
            let item = stored.as_item();
            Item { signed: item.signed.map(|signed| wgo_proto::krpc::Signed { salt: b"", ..signed }), ..item }
        });
        // The longest items are longer than BEP 32 has datagrams; alone they still fit into the smallest packet
        // that every IPv6 link carries.
        if response.item.is_some() && len_of(asker, &response) > MAX_SENT {
            (response.nodes, response.nodes6) = (None, None);
        }
        self.reply(asker, Body::Response(response));
    }
}

fn len_of(asker: Asker<'_>, response: &Response<'_>) -> usize {
    let mut bytes = Vec::with_capacity(MAX_SENT);
    let body = Body::Response(response.clone());
    let ip = Some(asker.from);
    Packet { transaction: asker.transaction, version: Some(VERSION), ip, body }.encode(&mut bytes);
    bytes.len()
}
