//! 100,000 pieces and 1,000 peers. The bounds on time are generous, as they hold in debug builds on
//! busy machines: they catch a scan of all pieces per pick, not a slow constant. Built with
//! optimisation, the test prints what DESIGN promises.
use std::time::Instant;

use super::*;

const PIECES: u32 = 100_000;

fn timed(what: &str, times: u32, mut run: impl FnMut(u32)) -> Duration {
    let start = Instant::now();
    (0..times).for_each(&mut run);
    let each = start.elapsed() / times;
    println!("{what}: {each:?}");
    each
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
    timed("rebuild", 20, |n| {
        mgr.remove_peer(&peers[n as usize + 500]);
        mgr.add_peer(&peers[n as usize + 500]);
        mgr.candidates.refresh(&mgr.availability, PIECES);
    });
    mgr.check_invariants();
    timed("have", 100_000, |n| {
        mgr.peer_got(&mut peers[n as usize % 1000], index(n.wrapping_mul(7919) % PIECES));
    });
    let mut out = Vec::new();
    let mut open = |mgr: &mut PieceMgr<Buf>, name, ids: std::ops::Range<usize>, pace| {
        timed(name, 2000, |n| {
            let slot = ids.start + n as usize % ids.len();
            out.clear();
            mgr.pick(Time::ZERO, &Ask { pace, ..ask(slot as u32, &peers[slot], 16) }, &mut out);
        })
    };
    let each = [
        open(&mut mgr, "pick 16, peers that have nearly all", 900..1000, Pace::Medium),
        open(&mut mgr, "pick 16, peers that lack what is rare", 100..200, Pace::Medium),
        open(&mut mgr, "pick 16, peers that have very little", 1..10, Pace::Medium),
        open(&mut mgr, "pick 16, fast peers", 500..1000, Pace::Fast),
        open(&mut mgr, "pick 16, slow peers", 500..1000, Pace::Slow),
    ];
    assert!(each.iter().all(|each| *each < Duration::from_millis(5)), "{each:?}");
    mgr.check_invariants();
}
