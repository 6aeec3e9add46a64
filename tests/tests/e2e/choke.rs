//! The slots for uploads are global: 4 slots and 12 interested peers on 3 torrents.
use std::time::{Duration, Instant};

use wgo_tests::leecher::Leecher;
use wgo_tests::wait::pause;
use wgo_tests::{Daemon, Maker, Net, Payload, Settings};

const SLOTS: usize = 4;

/// Optimistic slots come on top of `SLOTS`.
const OPTIMISTIC: usize = 2;

/// Within this, each peer must have had a turn (issue 2).
const EACH_HAS_HAD_A_TURN: Duration = Duration::from_secs(180);

#[test]
fn four_slots_serve_twelve_peers_of_three_torrents_in_turn() {
    let mut net = Net::new();
    let settings =
        Settings { ips: vec![net.home()], slots: Some(SLOTS as u32), up: 400_000, ..Settings::default() };
    let daemon = Daemon::with(settings);
    let to = daemon.listens(net.home());
    let mut peers = Vec::new();
    let mut ids = Vec::new();
    for n in 0..3 {
        let payload = Payload::single(&format!("slots-{n}.bin"), 4 << 20, 65_536);
        payload.write(&daemon.downloads());
        let torrent = Maker::new(&payload).make();
        let id = daemon.add(&torrent, &daemon.downloads(), &[]);
        daemon.wait_seeding(&id);
        ids.push(id);
        for _ in 0..4 {
            peers.push(Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, 65_536));
        }
    }
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < EACH_HAS_HAD_A_TURN && peers.iter().any(|peer| peer.bytes() == 0) {
        // The torrents are looked at one after the other, and a slot may go from one to the next meanwhile:
        // too many are too many only if they are so at every look.
        let unchoked = (0..5).map(|_| {
            let shown = ids.iter().flat_map(|id| daemon.show(id).peers.unwrap());
            shown.filter(|peer| !peer.peer_choked).count()
        });
        let unchoked = unchoked.into_iter().find(|count| *count <= SLOTS + OPTIMISTIC);
        most = most.max(unchoked.expect("more are unchoked than there are slots"));
        assert!(peers.iter().all(|peer| !peer.is_over()), "a peer was thrown out");
        pause(Duration::from_millis(200));
    }
    let bytes: Vec<_> = peers.iter().map(Leecher::bytes).collect();
    eprintln!("after {:?}: {bytes:?}, at most {most} unchoked", begun.elapsed());
    assert!(most >= SLOTS, "only {most} unchoked: the slots are not used");
    assert!(bytes.iter().all(|bytes| *bytes > 0), "not each had a turn: {bytes:?}");
}
