//! The exchange of all shapes of payload with one real peer, in either direction.
//!
//! Each side has a tracker of its own, which names the other side or nobody: that decides who dials.
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use wgo_proto::tracker::Event;

use crate::daemon::{Daemon, Settings};
use crate::maker::{Maker, Torrent};
use crate::net::Net;
use crate::payload::Payload;
use crate::peers::{Client, Encryption, Kind, wait_complete};
use crate::tracker::{Over, Tracker};
use crate::wait::{SOON, TRANSFER, until};

/// Who connects to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dials {
    /// wgod to the peer.
    Wgod,
    /// The peer to wgod.
    Peer,
}

/// By which addresses the two talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, trackers included: a peer bound to an address reaches no tracker of the other family.
    V6,
}

/// One way to meet a peer.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The test, for messages.
    pub test: &'static str,
    /// The peer.
    pub kind: Kind,
    /// Who connects.
    pub dials: Dials,
    /// By which addresses.
    pub family: Family,
    /// How wgod asks its tracker.
    pub over: Over,
}

/// Both sides, running, with nothing added yet.
struct Stage {
    dials: Dials,
    over: Over,
    shapes: Vec<Payload>,
    daemon: Daemon,
    peer: Box<dyn Client>,
    our_tracker: Tracker,
    their_tracker: Tracker,
    ours: TempDir,
    theirs: TempDir,
}

/// The settings of both sides.
#[derive(Clone, Copy, Debug)]
pub struct Encrypted {
    /// `[network] encryption`; empty for the default.
    pub wgod: &'static str,
    /// The peer's.
    pub peer: Encryption,
}

/// The default of ours, and a peer without encryption, as far as it can be without.
pub const PLAIN: Encrypted = Encrypted { wgod: "", peer: Encryption::Off };

impl Stage {
    fn set(scenario: Scenario, encrypted: Encrypted) -> Option<Stage> {
        let mut net = Net::required(scenario.test)?;
        let (peer_ip, our_ip, their_ip) = match scenario.family {
            Family::V4 => (net.ip(), net.ip(), net.ip()),
            Family::V6 => (net.ip6(), net.ip6(), net.ip6()),
        };
        let peer = scenario.kind.start_with(scenario.test, peer_ip, encrypted.peer)?;
        let daemon = Daemon::with(Settings {
            ips: vec![net.home(), net.home6()],
            network: match encrypted.wgod {
                "" => String::new(),
                mode => format!("encryption = \"{mode}\""),
            },
            ..Settings::default()
        });
        let (at_peer, at_wgod) = (peer.addr(), daemon.listens(peer_ip));
        let named = |by: Dials, addr: SocketAddr| if scenario.dials == by { vec![addr] } else { vec![] };
        Some(Stage {
            dials: scenario.dials,
            over: scenario.over,
            shapes: Payload::shapes(),
            daemon,
            peer,
            our_tracker: Tracker::start(our_ip, &named(Dials::Wgod, at_peer)),
            their_tracker: Tracker::start(their_ip, &named(Dials::Peer, at_wgod)),
            ours: tempfile::tempdir().unwrap(),
            theirs: tempfile::tempdir().unwrap(),
        })
    }

    /// Adds all torrents to both, with files that the peer has, so that who dials finds the other.
    fn add_to_both(&mut self) {
        if self.dials == Dials::Peer {
            self.add_here();
            self.add_there();
        } else {
            self.add_there();
            self.wait_there();
            self.add_here();
        }
    }

    fn our_torrents(&self) -> Vec<Torrent> {
        let url = self.our_tracker.url(self.over);
        self.shapes.iter().map(|payload| Maker::new(payload).tier([&url]).make()).collect()
    }

    /// Adds all torrents to wgod.
    fn add_here(&self) {
        for torrent in self.our_torrents() {
            self.daemon.add(&torrent, self.ours.path(), &[]);
        }
    }

    /// Adds all torrents to the peer. Over HTTP: aria2 knows no other without DHT.
    fn add_there(&mut self) {
        let url = self.their_tracker.url(Over::Http);
        for payload in &self.shapes {
            let torrent = Maker::new(payload).tier([&url]).make();
            self.peer.add(&torrent, self.theirs.path());
        }
    }

    fn wait_there(&mut self) {
        for torrent in self.our_torrents() {
            wait_complete(self.peer.as_mut(), &torrent);
        }
    }

    fn wait_here(&self) {
        for torrent in self.our_torrents() {
            self.daemon.wait_seeding(&torrent.id());
        }
    }

    /// Each torrent's tracker heard `event` so often.
    fn assert_heard(&self, event: Event, times: usize) {
        for torrent in self.our_torrents() {
            let count = || self.our_tracker.count(torrent.hash, event);
            let what = format!("{event:?} of {} is announced {times} times, now {}", torrent.name, count());
            until(&what, SOON, || (count() >= times).then_some(()));
            assert_eq!(count(), times, "{event:?} of {}", torrent.name);
        }
    }

    /// Stops wgod; its tracker has then heard everything that it should.
    fn end(mut self, completed: usize, left: u64) {
        let status = self.daemon.terminate();
        assert!(status.success(), "wgod ended with {status}");
        self.assert_heard(Event::Started, 1);
        self.assert_heard(Event::Completed, completed);
        self.assert_heard(Event::Stopped, 1);
        let heard = self.our_tracker.heard();
        assert!(heard.iter().all(|heard| heard.over == self.over), "over {:?} only", self.over);
        let last = heard.iter().filter(|heard| heard.announce.event == Some(Event::Stopped));
        assert!(last.clone().all(|heard| heard.announce.left == left), "{last:#?}");
    }
}

/// wgod downloads everything from the peer.
pub fn leech_from(scenario: Scenario) {
    leech_encrypted(scenario, PLAIN);
}

/// The same with encryption.
pub fn leech_encrypted(scenario: Scenario, encrypted: Encrypted) {
    let Some(mut stage) = Stage::set(scenario, encrypted) else { return };
    stage.shapes.iter().for_each(|payload| payload.write(stage.theirs.path()));
    stage.add_to_both();
    stage.wait_here();
    stage.shapes.iter().for_each(|payload| payload.assert_equals(stage.ours.path()));
    stage.assert_heard(Event::Completed, 1);
    stage.end(1, 0);
}

/// wgod uploads everything to the peer.
pub fn seed_to(scenario: Scenario) {
    seed_encrypted(scenario, PLAIN);
}

/// The same with encryption.
pub fn seed_encrypted(scenario: Scenario, encrypted: Encrypted) {
    let Some(mut stage) = Stage::set(scenario, encrypted) else { return };
    stage.shapes.iter().for_each(|payload| payload.write(stage.ours.path()));
    if stage.dials == Dials::Wgod {
        stage.add_there();
        stage.add_here();
    } else {
        stage.add_here();
        stage.wait_here();
        stage.add_there();
    }
    stage.wait_there();
    for payload in &stage.shapes {
        let payload = payload.clone().without_empty();
        until_equal(&payload, stage.theirs.path());
    }
    for (payload, torrent) in stage.shapes.iter().zip(stage.our_torrents()) {
        let uploaded = stage.daemon.torrent(&torrent.id()).uploaded_bytes;
        assert!(uploaded >= payload.len() as u64, "{}: {uploaded} uploaded", payload.name);
    }
    stage.end(0, 0);
}

/// How a magnet link's torrent finds its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// By the tracker that the link names.
    Tracker,
    /// The link names them (`x.pe`).
    Link,
}

/// wgod gets everything from a peer that seeds, with nothing but magnet links.
pub fn fetch_from(scenario: Scenario, found: Found) {
    let Some(mut stage) = Stage::set(scenario, PLAIN) else { return };
    stage.shapes.iter().for_each(|payload| payload.write(stage.theirs.path()));
    stage.add_there();
    stage.wait_there();
    for torrent in stage.our_torrents() {
        let link = match found {
            Found::Tracker => torrent.magnet(&[&stage.our_tracker.url(stage.over)], &[]),
            Found::Link => torrent.magnet(&[], &[stage.peer.addr()]),
        };
        let added = stage.daemon.add_link(&link, stage.ours.path());
        assert_eq!(added.info_hash, Some(torrent.id()), "{:?}", added.error);
    }
    stage.wait_here();
    stage.shapes.iter().for_each(|payload| payload.assert_equals(stage.ours.path()));
    if found == Found::Tracker {
        stage.assert_heard(Event::Completed, 1);
        stage.end(1, 0);
    }
}

/// A peer gets everything from wgod, with nothing but magnet links.
pub fn tell_to(scenario: Scenario, found: Found) {
    let Some(mut stage) = Stage::set(scenario, PLAIN) else { return };
    stage.shapes.iter().for_each(|payload| payload.write(stage.ours.path()));
    stage.add_here();
    stage.wait_here();
    for torrent in stage.our_torrents() {
        let link = match found {
            Found::Tracker => torrent.magnet(&[&stage.their_tracker.url(Over::Http)], &[]),
            Found::Link => torrent.magnet(&[], &[stage.daemon.listens(stage.peer.addr().ip())]),
        };
        assert!(stage.peer.add_magnet(&link, &torrent, stage.theirs.path()), "it takes {link}");
    }
    stage.wait_there();
    for payload in &stage.shapes {
        until_equal(&payload.clone().without_empty(), stage.theirs.path());
    }
}

/// Both sides try to meet, and their settings don't allow it: each goes on without the other.
pub fn refuse(scenario: Scenario, encrypted: Encrypted) {
    let Some(mut stage) = Stage::set(scenario, encrypted) else { return };
    stage.shapes.iter().for_each(|payload| payload.write(stage.theirs.path()));
    stage.add_to_both();
    until("wgod has met the peer in vain", SOON, || {
        stage
            .daemon
            .log()
            .contains(match (stage.dials, encrypted.wgod) {
                (Dials::Peer, "off") => "not a BitTorrent handshake",
                (Dials::Peer, _) => "not encrypted, which [network] encryption requires",
                (Dials::Wgod, _) => "not connected",
            })
            .then_some(())
    });
    for torrent in stage.our_torrents() {
        let shown = stage.daemon.torrent(&torrent.id());
        assert_eq!((shown.peers, shown.downloaded_bytes), (0, 0), "{}", torrent.name);
    }
    let status = stage.daemon.terminate();
    assert!(status.success(), "wgod ended with {status}");
}

/// A peer may call a torrent complete a moment before the last byte is in the file.
fn until_equal(payload: &Payload, folder: &Path) {
    until(&format!("the peer's files of {} are right", payload.name), TRANSFER, || {
        payload.difference(folder).is_none().then_some(())
    });
}
