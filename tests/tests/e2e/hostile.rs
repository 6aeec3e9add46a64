//! Peers that do wrong: each hurts itself only. In every test an honest peer is served meanwhile.
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use wgo_api::State;
use wgo_proto::bitfield::Bitfield;
use wgo_proto::units::{Block, PieceIndex};
use wgo_proto::wire::Reserved;
use wgo_proto::wire::message::Message;
use wgo_tests::leecher::Leecher;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::wait::{SOON, pause, until};
use wgo_tests::wire::{Got, Wire, dial, peer_id};
use wgo_tests::{Daemon, Maker, Net, Payload, Torrent, procfs};

const PIECE: u32 = 65_536;

/// A daemon that seeds one torrent, and the means to meet it.
struct Seeding {
    net: Net,
    daemon: Daemon,
    torrent: Torrent,
    to: SocketAddr,
}

fn seeding() -> Seeding {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("bait.bin", 8 * PIECE as usize, PIECE);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    let to = daemon.listens(net.home());
    Seeding { net, daemon, torrent, to }
}

impl Seeding {
    fn wire(&mut self) -> Wire {
        Wire::connect(self.net.ip(), self.to, self.torrent.hash).unwrap()
    }

    /// # Panics
    /// When an honest peer isn't served.
    fn assert_serves(&mut self) {
        let honest = Leecher::start(self.net.ip(), self.to, self.torrent.hash, self.torrent.pieces, PIECE);
        until("an honest peer is served", SOON, || (honest.bytes() >= 8 * u64::from(PIECE)).then_some(()));
        assert!(!self.daemon.log().contains("panicked"), "nothing panicked");
    }
}

#[test]
fn illegal_messages_end_the_connection_that_sent_them() {
    let mut set = seeding();
    let frame = |len: u32, rest: &[u8]| [&len.to_be_bytes(), rest].concat();
    let illegal: [(&str, Vec<u8>); 9] = [
        ("a length of 2^32-1", frame(u32::MAX, &[7])),
        ("a choke with a body", frame(5, &[0, 1, 2, 3, 4])),
        ("a bitfield that is too short", frame(1, &[5])),
        ("a bitfield that is too long", frame(100, &[[5].as_slice(), &[0xff; 99]].concat())),
        ("a have of a piece that does not exist", frame(5, &[4, 0xff, 0xff, 0xff, 0xff])),
        ("a request with a body of 3", frame(4, &[6, 0, 0, 0])),
        ("a piece of a huge length", frame(0x7fff_ffff, &[7, 0, 0, 0, 0])),
        ("an extended message that is deeply nested", {
            let body = [vec![20, 0], vec![b'l'; 50_000], vec![b'e'; 50_000]].concat();
            frame(body.len() as u32, &body)
        }),
        ("a hash request of no sense", frame(2, &[21, 0])),
    ];
    for (what, bytes) in illegal {
        let mut wire = set.wire();
        // It may hang up before everything is sent.
        let _ = wire.send_raw(&bytes);
        assert!(wire.is_closed_within(SOON), "{what}: still connected");
    }
    set.assert_serves();
}

#[test]
fn requests_out_of_range_are_not_served() {
    let mut set = seeding();
    let block = |piece, offset, len| Block { piece: PieceIndex(piece), offset, len };
    let bad = [
        block(8, 0, 16_384),
        block(u32::MAX, 0, 16_384),
        block(0, PIECE, 16_384),
        block(0, u32::MAX, 16_384),
        block(0, 0, u32::MAX),
        block(0, 0, 0),
        block(0, PIECE - 1, 2),
        block(0, 0, 1 << 20),
    ];
    for block in bad {
        let mut wire = set.wire();
        wire.send(&Message::Interested).unwrap();
        wire.until("unchoke", SOON, |got| *got == Got::Unchoke);
        wire.send(&Message::Request(block)).unwrap();
        let answer = wire.next(Duration::from_millis(500));
        assert!(!matches!(answer, Ok(Some(Got::Piece(..)))), "{block:?} was served");
    }
    set.assert_serves();
}

#[test]
fn handshakes_that_never_end_or_make_no_sense_cost_nothing() {
    let mut set = seeding();
    let ip = set.net.ip();
    let mut slow: Vec<_> = (0..50).map(|_| dial(Some(ip), set.to, false).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"\x13Bit").unwrap();
    }
    let mut http = dial(Some(ip), set.to, false).unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n and so on, to fill a handshake of 68 bytes").unwrap();
    let unknown = wgo_proto::units::WireHash([9; 20]);
    let stranger =
        Wire::open(dial(Some(ip), set.to, false).unwrap(), unknown, peer_id(), Reserved::default());
    assert!(stranger.is_err(), "a torrent that isn't here gets no handshake");
    set.assert_serves();
    for stream in &mut slow {
        // One more byte: what trickles must not hold anything up either.
        let _ = stream.write_all(b"T");
    }
    set.assert_serves();
}

#[test]
fn a_byte_now_and_then_and_floods_hold_up_nobody() {
    let mut set = seeding();
    let mut trickle = set.wire();
    let mut message = Vec::new();
    Message::Request(Block { piece: PieceIndex(0), offset: 0, len: 16_384 }).encode(&mut message);
    trickle.send_raw(&message[..3]).unwrap();
    let mut flood = set.wire();
    let before = procfs::resident(set.daemon.pid());
    flood.send(&Message::Interested).unwrap();
    // 200,000 requests that are never read: neither memory nor anybody's turn may suffer.
    let requests: Vec<u8> = (0..2000_u32)
        .flat_map(|n| {
            let mut bytes = Vec::new();
            Message::Request(Block { piece: PieceIndex(n % 8), offset: 0, len: 16_384 }).encode(&mut bytes);
            bytes
        })
        .collect();
    for _ in 0..100 {
        if flood.send_raw(&requests).is_err() {
            break;
        }
        trickle.send_raw(&[]).unwrap();
    }
    set.assert_serves();
    trickle.send_raw(&message[3..4]).unwrap();
    let grown = procfs::resident(set.daemon.pid()).saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes more after a flood of requests");
}

#[test]
fn unsolicited_blocks_are_not_stored() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("wanted.bin", 4 * PIECE as usize, PIECE);
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&id, State::Downloading, SOON);
    let to = daemon.listens(net.home());
    let mut pushy = Wire::connect(net.ip(), to, torrent.hash).unwrap();
    pushy.send_bitfield(&Bitfield::full(4)).unwrap();
    for piece in 0..4 {
        for offset in (0..PIECE).step_by(16_384) {
            let block = Block { piece: PieceIndex(piece), offset, len: 16_384 };
            // It may hang up on us for it.
            let _ = pushy.send_block(block, &[0; 16_384]);
        }
    }
    let mut seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    seeder.dial(to, torrent.hash);
    daemon.wait_seeding(&id);
    payload.assert_equals(&daemon.downloads());
}

#[test]
fn a_peer_that_sends_wrong_bytes_is_banned_and_the_download_ends_well() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("spoilt.bin", 16 * PIECE as usize, PIECE);
    let torrent = Maker::new(&payload).make();
    let liar_ip = net.ip();
    let spoil = Habits { spoil: (0..16).collect(), ..Habits::default() };
    let liar = Seeder::with(liar_ip, &[(&payload, &torrent)], spoil);
    let id = daemon.add(&torrent, &daemon.downloads(), &[liar.addr()]);
    until("its bytes are thrown away", SOON, || (daemon.torrent(&id).wasted_bytes > 0).then_some(()));
    until("it is thrown out", SOON, || (daemon.status().peers == 0).then_some(()));
    assert_eq!(daemon.torrent(&id).done_bytes, 0);
    let honest = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    daemon.try_add(&torrent, &daemon.downloads(), &[honest.addr(), liar.addr()]);
    daemon.wait_seeding(&id);
    payload.assert_equals(&daemon.downloads());

    // Nor does it come back by itself.
    let again = dial(Some(liar_ip), daemon.listens(net.home()), false);
    let admitted = again.is_ok_and(|stream| {
        let wire = Wire::open(stream, torrent.hash, peer_id(), Reserved::default());
        wire.is_ok_and(|mut wire| !wire.is_closed_within(Duration::from_secs(2)))
    });
    assert!(!admitted, "the banned address is let in again");
}

#[test]
fn a_peer_that_serves_nothing_does_not_stop_the_download() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("silent.bin", 16 * PIECE as usize, PIECE);
    let torrent = Maker::new(&payload).make();
    let mute = Seeder::with(net.ip(), &[(&payload, &torrent)], Habits { mute: true, ..Habits::default() });
    let crawl = Habits { pause: Duration::from_secs(20), ..Habits::default() };
    let slow = Seeder::with(net.ip(), &[(&payload, &torrent)], crawl);
    let id = daemon.add(&torrent, &daemon.downloads(), &[mute.addr(), slow.addr()]);
    until("both are connected", SOON, || (daemon.torrent(&id).peers == 2).then_some(()));
    pause(Duration::from_millis(500));
    let mut good = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    good.dial(daemon.listens(net.home()), torrent.hash);
    daemon.wait_seeding(&id);
    payload.assert_equals(&daemon.downloads());
}

#[test]
fn choke_and_unchoke_without_end_lose_nothing() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("fickle.bin", 8 * PIECE as usize, PIECE);
    let stream = payload.stream();
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&id, State::Downloading, SOON);
    let mut wire = Wire::connect(net.ip(), daemon.listens(net.home()), torrent.hash).unwrap();
    wire.send_bitfield(&Bitfield::full(8)).unwrap();
    let mut served = 0;
    wire.send(&Message::Unchoke).unwrap();
    until("all is served between chokes", SOON, || {
        // The daemon may hang up once it has everything.
        while let Ok(Some(got)) = wire.next(Duration::from_millis(5)) {
            let Got::Request(block) = got else { continue };
            let start = (block.piece.0 * PIECE + block.offset) as usize;
            if wire.send_block(block, &stream[start..start + block.len as usize]).is_err() {
                break;
            }
            served += 1;
            if served % 3 == 0 {
                let turned = wire.send(&Message::Choke).and_then(|()| wire.send(&Message::Unchoke));
                if turned.is_err() {
                    break;
                }
            }
        }
        (daemon.torrent(&id).state == State::Seeding).then_some(())
    });
    payload.assert_equals(&daemon.downloads());
}

#[test]
fn a_bitfield_that_comes_late_adds_to_what_the_peer_has() {
    // aria2 does so whenever that is shorter than its HAVEs.
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("late.bin", 4 * PIECE as usize, PIECE);
    let stream = payload.stream();
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&id, State::Downloading, SOON);
    let mut wire = Wire::connect(net.ip(), daemon.listens(net.home()), torrent.hash).unwrap();
    let mut have = Bitfield::new(4);
    wire.send_bitfield(&have).unwrap();
    wire.send(&Message::Unchoke).unwrap();
    for piece in 0..4 {
        have.set(piece);
        wire.send_bitfield(&have).unwrap();
        for _ in 0..PIECE / 16_384 {
            let asked = wire.until("a request", SOON, |got| matches!(got, Got::Request(_)));
            let Got::Request(block) = asked else { continue };
            assert_eq!(block.piece, PieceIndex(piece));
            let start = (block.piece.0 * PIECE + block.offset) as usize;
            wire.send_block(block, &stream[start..start + block.len as usize]).unwrap();
        }
    }
    daemon.wait_seeding(&id);
}
