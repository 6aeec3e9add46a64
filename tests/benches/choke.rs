//! A choke round over 10,000 peers of 1,000 torrents, and handing out one free slot.
use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use wgo_core::choke_mgr::{
    Automatic, Candidate, SeedingRule, Settings, SlotCount, Standing, Turn, fill, rank,
};
use wgo_core::{ByteRate, PeerKey, TorrentId};

const PEERS: u32 = 10_000;
const TORRENTS: u64 = 1_000;

fn candidates() -> Vec<Candidate> {
    let mut rng = fastrand::Rng::with_seed(1);
    let one = |slot| {
        let turn = Turn { age: Duration::from_secs(rng.u64(..90)), taken: rng.u64(..1 << 26) };
        let standing = match slot % 20 {
            0 => Standing::Regular(turn),
            1 => Standing::Optimistic(turn),
            _ => Standing::Waiting(turn.age),
        };
        let torrent = rng.u64(..TORRENTS);
        Candidate {
            key: (TorrentId(torrent), PeerKey { slot, generation: 0 }),
            seeding: !torrent.is_multiple_of(3),
            interested: true,
            standing,
            from_peer: ByteRate(rng.u64(..1_000_000)),
            to_peer: ByteRate(rng.u64(..1_000_000)),
            snubbed: rng.u8(..20) == 0,
            newcomer: rng.u8(..10) == 0,
            progress_permille: rng.u16(..1000),
        }
    };
    (0..PEERS).map(one).collect()
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let candidates = candidates();
    for seeding in [SeedingRule::RoundRobin, SeedingRule::FastestUpload] {
        let automatic = Automatic { rate: ByteRate(u64::MAX), ..Automatic::default() };
        let settings = Settings { slots: SlotCount::Automatic(automatic), optimistic: None, seeding };
        c.bench_function(&format!("choke/round, {seeding:?}"), |b| {
            b.iter(|| rank(black_box(&candidates), &settings, 7));
        });
        c.bench_function(&format!("choke/one free slot, {seeding:?}"), |b| {
            b.iter(|| fill(1, black_box(&candidates), &settings, 7));
        });
    }
    c.final_summary();
}
