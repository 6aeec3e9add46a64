//! Files that another program changes while they are seeded: no peer is served from what is gone, and
//! what changed is hashed again before anything more is served.
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wgo_api::State;
use wgo_proto::units::{Block, PieceIndex};
use wgo_proto::wire::message::Message;
use wgo_tests::leecher::Leecher;
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::wire::{Got, Wire};
use wgo_tests::{Daemon, Maker, Net, Payload, Torrent};

const PIECE: u32 = 65_536;

struct Set {
    net: Net,
    daemon: Daemon,
    payload: Payload,
    torrent: Torrent,
}

/// A daemon that seeds files `a` and `b` of eight pieces each.
fn seeding() -> Set {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let len = 8 * PIECE as usize;
    let payload = Payload::multi("watched", PIECE, &[("a", len), ("b", len)]);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    daemon.wait_seeding(&daemon.add(&torrent, &daemon.downloads(), &[]));
    until("completion is durable", TRANSFER, || daemon.torrent(&torrent.id()).completed_at);
    Set { net, daemon, payload, torrent }
}

impl Set {
    fn path(&self, name: &str) -> PathBuf {
        self.daemon.downloads().join("watched").join(name)
    }

    /// A connection that was unchoked.
    fn wire(&mut self) -> Wire {
        let to = self.daemon.listens(self.net.home());
        let mut wire = Wire::connect(self.net.ip(), to, self.torrent.hash).unwrap();
        wire.send(&Message::Interested).unwrap();
        wire.until("unchoke", SOON, |got| *got == Got::Unchoke);
        wire
    }

    /// Asks for a block and returns what comes: `None` when it is refused, or the connection ends.
    fn ask(&self, wire: &mut Wire, piece: u32) -> Option<Vec<u8>> {
        let block = Block { piece: PieceIndex(piece), offset: 0, len: 16_384 };
        wire.send(&Message::Request(block)).ok()?;
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            match wire.next(Duration::from_millis(200)) {
                Ok(Some(Got::Piece(_, bytes))) => return Some(bytes),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn right(&self, piece: u32) -> Vec<u8> {
        let start = (piece * PIECE) as usize;
        self.payload.stream()[start..start + 16_384].to_vec()
    }

    /// The change was found: the daemon has what the disk has, and nothing else.
    #[track_caller]
    fn assert_rechecked(&self, left: usize) {
        until("it downloads what is not right", TRANSFER, || {
            (self.daemon.torrent(&self.torrent.id()).state == State::Downloading).then_some(())
        });
        let there = self.payload.pieces_on_disk(&self.daemon.downloads());
        assert_eq!(there.iter().filter(|there| **there).count(), left, "the test changed what it meant to");
        assert_eq!(self.daemon.pieces(&self.torrent.id()), there);
    }
}

#[test]
fn a_file_that_is_cut_short_is_not_served_and_what_is_left_is() {
    let mut set = seeding();
    let mut wire = set.wire();
    assert_eq!(set.ask(&mut wire, 13), Some(set.right(13)));
    let file = fs::OpenOptions::new().write(true).open(set.path("b")).unwrap();
    file.set_len(3 * u64::from(PIECE)).unwrap();
    assert_eq!(set.ask(&mut wire, 14), None, "nothing is made up for bytes that are gone");
    set.assert_rechecked(11);
    let mut wire = set.wire();
    assert_eq!(set.ask(&mut wire, 9), Some(set.right(9)));
}

#[test]
fn a_file_that_changed_is_not_served_when_it_is_opened() {
    let mut set = seeding();
    // Nothing is open after this.
    set.daemon.terminate();
    set.daemon.run();
    set.daemon.wait_seeding(&set.torrent.id());
    let mut wire = set.wire();
    assert_eq!(set.ask(&mut wire, 2), Some(set.right(2)));
    fs::write(set.path("b"), vec![7; 8 * PIECE as usize]).unwrap();
    assert_eq!(set.ask(&mut wire, 12), None);
    set.assert_rechecked(8);
}

#[test]
fn a_file_that_is_written_to_in_place_is_found_before_long() {
    let mut set = seeding();
    let mut wire = set.wire();
    assert_eq!(set.ask(&mut wire, 10), Some(set.right(10)));
    let mut file = fs::OpenOptions::new().write(true).open(set.path("b")).unwrap();
    file.seek(SeekFrom::Start(2 * u64::from(PIECE))).unwrap();
    file.write_all(&[7; 100]).unwrap();
    drop(file);
    // Keeps it awake: it must find this by itself, and not because it is opened again.
    let to = set.daemon.listens(set.net.home());
    let _takes = Leecher::start(set.net.ip(), to, set.torrent.hash, 8, PIECE);
    set.assert_rechecked(15);
}

#[test]
fn a_file_that_is_replaced_is_served_from_the_old_one_or_hashed() {
    let mut set = seeding();
    let mut wire = set.wire();
    assert_eq!(set.ask(&mut wire, 10), Some(set.right(10)));
    let new = set.daemon.home().join("new");
    fs::write(&new, vec![9; 8 * PIECE as usize]).unwrap();
    fs::rename(&new, set.path("b")).unwrap();
    // The file that is open still holds the right bytes.
    let got = set.ask(&mut wire, 11);
    assert!(got.is_none() || got == Some(set.right(11)));
    set.assert_rechecked(8);
}

#[test]
fn a_file_that_comes_back_with_other_bytes_is_hashed_before_it_is_served() {
    let mut set = seeding();
    set.daemon.terminate();
    set.daemon.run();
    set.daemon.wait_seeding(&set.torrent.id());
    let mut wire = set.wire();
    fs::remove_file(set.path("b")).unwrap();
    assert_eq!(set.ask(&mut wire, 12), None);
    let id = set.torrent.id();
    until("it tells of its file", SOON, || {
        let torrent = set.daemon.torrent(&id);
        torrent.error.filter(|error| error.contains("watched/b")).map(drop)
    });
    let mut other = set.payload.files[1].1.clone();
    other[5 * PIECE as usize] ^= 1;
    fs::write(set.path("b"), other).unwrap();
    set.assert_rechecked(15);
}
