//! Encrypted connections: what they carry, what is refused, and what strangers can't make of them.
use std::net::{Ipv4Addr, SocketAddr};

use wgo_api::params::ShowParams;
use wgo_api::result::PeerEncryption;
use wgo_proto::PeerId;
use wgo_proto::mse::{self, Initiated, Initiator, KeyPair, Methods, Responded, Responder};
use wgo_proto::wire::{HANDSHAKE_LEN, Handshake, Reserved};

use super::*;
use crate::config::Encryption as Mode;
use crate::encryption::chance;
use crate::outlet::Outlet;
use crate::session::Command;
use crate::transport::{Listener, Transport, dial};

fn hello(hash: WireHash, id: u8) -> [u8; HANDSHAKE_LEN] {
    Handshake { reserved: Reserved::FAST, hash, peer_id: PeerId([id; 20]) }.encode()
}

/// Dials the daemon and shakes hands with encryption; `first` goes along. The connection is at what the daemon says
/// then. `None` when it hangs up.
async fn encrypt(
    addr: SocketAddr,
    hash: WireHash,
    provide: Methods,
    first: &[u8],
) -> Option<(Peer, mse::Method)> {
    let transport = dial(&Outlet::default(), addr, SOON).await.expect("it listens");
    let chance = chance().expect("random bytes");
    let keys = KeyPair::new(chance.private);
    let mut end = Initiator::new(hash, provide, first, chance);
    transport.write_all(&end.first(&keys), SOON).await.ok()?;
    loop {
        let mut bytes = vec![0; end.wants()];
        transport.read_exact(&mut bytes, SOON).await.ok()?;
        match end.receive(&bytes).expect("the daemon knows the protocol") {
            Initiated::More => {}
            Initiated::Agree(theirs) => {
                transport.write_all(&end.agreed(&keys.secret(&theirs)), SOON).await.ok()?;
            }
            Initiated::Done(session) => {
                let method = session.method;
                return Some((Peer::new(transport, Some(session)), method));
            }
        }
    }
}

/// A peer that has shaken hands, encrypted.
async fn encrypted_peer(rig: &Rig, hash: WireHash, id: u8) -> Peer {
    let (peer, method) = encrypt(rig.addr, hash, Methods::ALL, &hello(hash, id)).await.expect("it is taken");
    assert_eq!(method, mse::Method::Rc4);
    assert_eq!(answer(&peer).await.hash, hash);
    peer
}

async fn answer(peer: &Peer) -> Handshake {
    let bytes = peer.read(HANDSHAKE_LEN).await.expect("an answer");
    Handshake::decode(bytes[..].try_into().expect("as many bytes")).expect("a handshake")
}

/// Answers a connection of the daemon's: an encrypted handshake up to the end of the daemon's own.
async fn respond(transport: Transport, hash: WireHash, accept: Methods) -> Peer {
    let mut end = Responder::new(accept, mse::Method::Rc4, chance().expect("random bytes"));
    loop {
        let mut bytes = vec![0; end.wants()];
        transport.read_exact(&mut bytes, SOON).await.expect("the daemon goes on");
        match end.receive(&bytes).expect("the daemon knows the protocol") {
            Responded::More => {}
            Responded::Agree(theirs) => {
                let keys = KeyPair::new(end.private());
                let secret = keys.secret(&theirs);
                transport.write_all(&end.agreed(&keys.public, secret), SOON).await.expect("it reads");
            }
            Responded::Find(name) => {
                assert_eq!(name, mse::obfuscated(&hash));
                end.found(&hash);
            }
            Responded::Done { session, reply, payload } => {
                assert_eq!(usize::from(payload), HANDSHAKE_LEN, "it goes along, and costs no round trip");
                transport.write_all(&reply, SOON).await.expect("it reads");
                let peer = Peer::new(transport, Some(session));
                assert_eq!(answer(&peer).await.hash, hash);
                return peer;
            }
        }
    }
}

/// Returns when one peer is shown, and this of it: what is encrypted.
async fn until_shown(rig: &Rig, encryption: PeerEncryption) {
    let shown = async || {
        let params = ShowParams { id: "t".into(), peers: true, ..ShowParams::default() };
        let shown = rig.session.ask(|reply| Command::Show(params, reply)).await;
        let peers = shown.expect("it answers").expect("it is there").peers.expect("asked for");
        peers.iter().map(|peer| peer.encryption).collect::<Vec<_>>()
    };
    let begun = std::time::Instant::now();
    loop {
        let found = shown().await;
        if found == [encryption] {
            return;
        }
        assert!(begun.elapsed() < SOON, "{found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_is_fetched_over_an_encrypted_connection() {
    let payload = noise(60 * PIECE + 777);
    let (rig, hash) = wanting(&payload).await;
    rig.engine.set_encryption(Mode::Require);
    let peer = encrypted_peer(&rig, hash, 1).await;
    until_shown(&rig, PeerEncryption::Rc4).await;
    serve_in_rows(&rig, &peer, &payload).await;
    assert_eq!(rig.engine.counters.handshakes.totals(), [0, 0, 1]);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_is_served_over_an_encrypted_connection() {
    let payload = noise(40 * PIECE);
    let (rig, hash) = seeding(&payload).await;
    rig.engine.set_encryption(Mode::Prefer);
    let peer = encrypted_peer(&rig, hash, 1).await;
    read_late(&rig, &peer, &payload).await;
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payload_is_plain_where_the_peer_wants_it_so() {
    let payload = noise(2 * PIECE);
    let (rig, hash) = wanting(&payload).await;
    rig.engine.set_encryption(Mode::Prefer);
    // More than the handshake goes along, encrypted; what follows is plain.
    let mut first = hello(hash, 1).to_vec();
    Message::HaveAll.encode(&mut first);
    first.extend([0, 0, 0, 4, 99]);
    let (peer, method) = encrypt(rig.addr, hash, Methods(0x01), &first).await.expect("it is taken");
    assert_eq!(method, mse::Method::Plaintext);
    assert_eq!(answer(&peer).await.hash, hash);
    until_shown(&rig, PeerEncryption::Handshake).await;
    peer.send(&[1, 2, 3]).await;
    peer.says(&[Message::Unchoke]).await;
    let mut served = 0;
    while served < payload.len() {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        served += asked.len as usize;
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    rig.until_row("t", |row| row.completed_at.is_some()).await;
    rig.engine.set_encryption(Mode::Require);
    assert!(encrypt(rig.addr, hash, Methods(0x01), &first).await.is_none(), "required is more than that");
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_may_wait_for_the_answer_before_it_says_who_it_is() {
    let payload = noise(PIECE);
    let (rig, hash) = seeding(&payload).await;
    rig.engine.set_encryption(Mode::Prefer);
    for known in [0, 20] {
        let hello = hello(hash, known);
        let (first, rest) = hello.split_at(known.into());
        let (peer, _) = encrypt(rig.addr, hash, Methods::ALL, first).await.expect("it is taken");
        peer.send(rest).await;
        assert_eq!(answer(&peer).await.hash, hash);
    }
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_setting_excludes_are_refused_and_counted() {
    let payload = noise(PIECE);
    let (rig, hash) = seeding(&payload).await;
    let refused = async |plain: bool| match plain {
        true => {
            let transport = dial(&Outlet::default(), rig.addr, SOON).await.expect("it listens");
            transport.write_all(&hello(hash, 9), SOON).await.expect("it reads");
            transport.read_exact(&mut [0; 1], SOON).await.is_err()
        }
        false => encrypt(rig.addr, hash, Methods::ALL, &hello(hash, 9)).await.is_none(),
    };
    assert!(refused(false).await, "off takes no encrypted ones");
    rig.engine.set_encryption(Mode::Require);
    assert!(refused(true).await, "required takes no plain ones");
    assert!(!refused(false).await);
    rig.engine.set_encryption(Mode::Prefer);
    assert!(!refused(true).await && !refused(false).await);
    rig.engine.set_encryption(Mode::Off);
    assert!(refused(false).await, "off again");
    let unknown = WireHash([9; 20]);
    rig.engine.set_encryption(Mode::Prefer);
    assert!(encrypt(rig.addr, unknown, Methods::ALL, &hello(unknown, 9)).await.is_none());
    // For one torrent outside, and for another inside.
    assert!(encrypt(rig.addr, hash, Methods::ALL, &hello(unknown, 9)).await.is_none());
    let failures = || rig.engine.counters.handshakes.failures();
    while failures().iter().sum::<u64>() < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(failures(), [0, 2, 1, 1, 0, 1, 0]);
    rig.quit().await;
}

/// A daemon that wants `payload` and has heard of a peer at the listener.
async fn dialling(payload: &[u8], mode: Mode) -> (Rig, WireHash, Listener) {
    let rig = Rig::new().await;
    rig.engine.set_encryption(mode);
    let listener = Listener::bind(&Outlet::default(), (Ipv4Addr::LOCALHOST, 0).into()).expect("loopback");
    let file = torrent_file("t", payload, PIECE);
    let metainfo = wgo_proto::metainfo::Metainfo::parse(&file).expect("ours");
    let hash = metainfo.hashes.canonical();
    let mut request = request(&rig, metainfo, &file);
    request.peers = vec![listener.local_addr().expect("it is bound")];
    let added = rig.session.ask(|reply| Command::Add(Box::new(request), reply)).await.expect("it answers");
    assert_eq!(added.error.map(|e| e.to_string()), None);
    (rig, hash, listener)
}

async fn accept(listener: &Listener) -> Transport {
    tokio::time::timeout(SOON, listener.accept()).await.expect("it dials").expect("a connection").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_dialled_encrypted_and_serves() {
    let payload = noise(3 * PIECE);
    for (mode, accept_methods) in [(Mode::Require, Methods::ALL), (Mode::Prefer, Methods(0x01))] {
        let (rig, hash, listener) = dialling(&payload, mode).await;
        let peer = respond(accept(&listener).await, hash, accept_methods).await;
        peer.send(&hello(hash, 5)).await;
        serve(&peer, &payload).await;
        rig.until_row("t", |row| row.completed_at.is_some()).await;
        rig.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_allows_encryption_takes_any_connection_and_leaves_payload_plain_where_it_may() {
    let payload = noise(PIECE);
    let (rig, hash) = seeding(&payload).await;
    rig.engine.set_encryption(Mode::Allow);
    rig.peer(hash, 1).await;
    for (provide, chosen) in [
        (Methods::ALL, mse::Method::Plaintext),
        (Methods(0x01), mse::Method::Plaintext),
        (Methods::RC4, mse::Method::Rc4),
    ] {
        let (peer, method) = encrypt(rig.addr, hash, provide, &hello(hash, 2)).await.expect("it is taken");
        assert_eq!(method, chosen);
        assert_eq!(answer(&peer).await.hash, hash);
    }
    while rig.engine.counters.handshakes.totals() != [1, 2, 1] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(rig.engine.counters.handshakes.failures(), [0; 7]);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_allows_encryption_dials_plainly_and_whoever_hangs_up_again_encrypted() {
    let payload = noise(3 * PIECE);
    let (rig, hash, listener) = dialling(&payload, Mode::Allow).await;
    let first = accept(&listener).await;
    let mut bytes = [0; HANDSHAKE_LEN];
    first.read_exact(&mut bytes, SOON).await.expect("a handshake");
    assert_eq!(Handshake::decode(&bytes).expect("a plain one").hash, hash);
    // As a client does that requires encryption.
    drop(first);
    let peer = respond(accept(&listener).await, hash, Methods::RC4).await;
    peer.send(&hello(hash, 5)).await;
    until_shown(&rig, PeerEncryption::Rc4).await;
    serve(&peer, &payload).await;
    rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!(rig.engine.counters.handshakes.totals(), [0, 0, 1]);
    assert_eq!(rig.engine.counters.handshakes.failures(), [1, 0, 0, 0, 0, 0, 0]);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_knows_no_encryption_is_dialled_again_at_once_without() {
    let payload = noise(3 * PIECE);
    let (rig, hash, listener) = dialling(&payload, Mode::Prefer).await;
    let first = accept(&listener).await;
    let mut bytes = [0; HANDSHAKE_LEN];
    first.read_exact(&mut bytes, SOON).await.expect("a key");
    assert!(Handshake::decode(&bytes).is_err());
    // As a client does to whom it makes no sense.
    drop(first);
    let second = accept(&listener).await;
    second.read_exact(&mut bytes, SOON).await.expect("a handshake");
    assert_eq!(Handshake::decode(&bytes).expect("a plain one").hash, hash);
    let peer = Peer::new(second, None);
    peer.send(&hello(hash, 5)).await;
    serve(&peer, &payload).await;
    rig.until_row("t", |row| row.completed_at.is_some()).await;
    assert_eq!(rig.engine.counters.handshakes.totals(), [1, 0, 0]);
    assert_eq!(rig.engine.counters.handshakes.failures(), [0, 0, 0, 0, 1, 0, 0]);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_knows_no_encryption_is_not_dialled_without_where_that_is_required() {
    let payload = noise(PIECE);
    let (rig, _, listener) = dialling(&payload, Mode::Require).await;
    drop(accept(&listener).await);
    while rig.engine.counters.handshakes.failures()[4] == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It backs off for half a minute, as from any peer that fails.
    let again = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await;
    assert!(again.is_err());
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_with_half_a_handshake_keep_nobody_out() {
    let payload = noise(PIECE);
    let (rig, hash) = seeding(&payload).await;
    rig.engine.set_encryption(Mode::Prefer);
    let key = KeyPair::new([7; mse::PRIVATE_LEN]);
    let (mut strangers, mut answered) = (Vec::new(), 0);
    for n in 0..300 {
        let transport = dial(&Outlet::default(), rig.addr, SOON).await.expect("it listens");
        // Part of a key, or all of it and a part of the rest.
        let bytes = [&key.public.bytes()[..], &[1; 300]].concat();
        transport.write_all(&bytes[..[1, 95, 96, 300][n % 4]], SOON).await.expect("it reads");
        strangers.push(transport);
    }
    let peer = encrypted_peer(&rig, hash, 1).await;
    peer.says(&[Message::HaveNone, Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    let plain = rig.peer(hash, 2).await;
    plain.says(&[Message::HaveNone, Message::Interested]).await;
    plain.expect(id::UNCHOKE).await;
    for stranger in strangers {
        let mut bytes = Vec::new();
        while let Ok(n) = stranger.read_some(&mut [0; 4096]).await {
            bytes.resize(bytes.len() + n, 0);
        }
        assert!(bytes.is_empty() || (mse::KEY_LEN..mse::KEY_LEN + mse::MAX_PAD).contains(&bytes.len()));
        answered += usize::from(!bytes.is_empty());
    }
    assert!(rig.engine.counters.handshakes.failures()[6] > 0, "some made room");
    assert!(answered > 0, "whole keys are answered, and then what follows is waited for in vain");
    rig.quit().await;
}
