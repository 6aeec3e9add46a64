//! 100,000 pieces and 1,000 peers. The bounds on time are generous, as they hold in debug builds on
//! busy machines: they catch a scan of all pieces per pick, not a slow constant. Built with
//! optimisation, the test prints what DESIGN promises.
use std::time::Instant;

use super::*;

const PIECES: u32 = 100_000;

fn timed(what: &str, times: u32, mut run: impl FnMut(u32)) -> Duration {
    let mut all: Vec<Duration> = (0..times)
        .map(|n| {
            let start = Instant::now();
            run(n);
            start.elapsed()
        })
        .collect();
    all.sort_unstable();
    let median = all[all.len() / 2];
    println!("{what}: {median:?}, at worst {:?}", all[all.len() - 1]);
    median
}

#[test]
fn a_hundred_thousand_pieces_and_a_thousand_peers_stay_cheap() {
    let mut mgr = torrent(PIECES, 16);
    let mut rng = fastrand::Rng::with_seed(1);
    // Peer n has about 7 in 8 of the pieces in the first n thousandths: some pieces are rare.
    let mut peers: Vec<PeerHave> = (0..1000usize)
        .map(|n| {
            let byte = |at: usize| if at % 125 * 8 < n { !(1 << rng.u8(..8)) } else { 0 };
            let wire: Vec<u8> = (0..Bitfield::wire_len(PIECES)).map(byte).collect();
            PeerHave::from_bitfield(Bitfield::from_wire(&wire, PIECES).unwrap())
        })
        .collect();
    timed("add_peer", 1000, |n| mgr.add_peer(&peers[n as usize]));
    timed("remove_peer and add_peer", 200, |n| {
        mgr.remove_peer(&peers[n as usize + 500]);
        mgr.add_peer(&peers[n as usize + 500]);
    });
    timed("levels", 20, |_| {
        (0..1000).for_each(|_| mgr.candidates.skip_peer());
        mgr.candidates.refresh(&mgr.availability);
    });
    mgr.check_invariants();
    timed("have", 100_000, |n| {
        mgr.peer_got(&mut peers[n as usize % 1000], index(n.wrapping_mul(7919) % PIECES));
    });
    // Few of a thousand may come and go unseen by the levels.
    peers[990..].iter().for_each(|has| mgr.remove_peer(has));
    mgr.peer_got(&mut peers[0], index(0));
    mgr.check_invariants();
    let mut out = Vec::new();
    let mut open = |mgr: &mut PieceMgr<Buf>, name, ids: std::ops::Range<usize>, pace| {
        timed(name, 2000, |n| {
            let slot = ids.start + n as usize % ids.len();
            out.clear();
            mgr.pick(Time::ZERO, &Ask { pace, ..ask(slot as u32, &peers[slot], 16) }, &mut out);
        })
    };
    let each = [
        open(&mut mgr, "pick 16, peers that have nearly all", 900..990, Pace::Medium),
        open(&mut mgr, "pick 16, peers that lack what is rare", 100..200, Pace::Medium),
        open(&mut mgr, "pick 16, peers that have very little", 1..10, Pace::Medium),
        open(&mut mgr, "pick 16, fast peers", 500..990, Pace::Fast),
        open(&mut mgr, "pick 16, slow peers", 500..990, Pace::Slow),
    ];
    assert!(each.iter().all(|each| *each < Duration::from_millis(5)), "{each:?}");
    mgr.check_invariants();
}
