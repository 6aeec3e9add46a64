//! A whole Swarm as the shell calls it, without I/O: CPU of the engine for each block of 16 KiB, and
//! what comes and goes and looks at it meanwhile.
//!
//! As in the shell, the next deadline is asked for after each call, and what is due is done.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench")]
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use wgo_core::peer::{CloseReason, Direction, Encryption, PeerInfo};
use wgo_core::status::Counters;
use wgo_core::swarm::{PieceOutcome, Start, Swarm, SwarmConfig};
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::layout::Layout;
use wgo_proto::wire::{Frame, Limits, Message, Reserved, next_frame};
use wgo_proto::{BLOCK_LEN, Bitfield, Block, PeerId, PieceIndex, WireHash};

const PIECES: u32 = 100_000;
/// Blocks of a piece.
const BLOCKS: u32 = 16;
/// Time in which a block comes: 100 MB/s.
const BLOCK_TIME: Duration = Duration::from_micros(164);
/// Blocks that an upload task pulls at a time, 256 KiB.
const BATCH: u64 = 16;

struct Rig {
    swarm: Swarm<u32>,
    now: Time,
    keys: Vec<PeerKey>,
    /// Requests that have left, of each peer.
    asked: Vec<Vec<Block>>,
    control: Vec<u8>,
    blocks: Vec<Block>,
    woken: Vec<PeerKey>,
}

impl Rig {
    fn new(have: Bitfield) -> Rig {
        let total = u64::from(PIECES * BLOCKS) * u64::from(BLOCK_LEN);
        let layout = Layout::v1(BLOCKS * BLOCK_LEN, &[total]).unwrap();
        let now = Time::from_start(Duration::from_secs(100));
        let start = Start {
            id: TorrentId(1),
            hash: WireHash([7; 20]),
            layout,
            have,
            selection: None,
            counters: Counters::default(),
            tiers: [vec!["http://tracker.invalid/announce".into()]].into(),
            seed: 3,
        };
        let config = SwarmConfig {
            peer_id: PeerId([1; 20]),
            listen_port: 6868,
            max_peers: 2_000,
            private: false,
            pex: true,
            metadata_len: 0,
        };
        let mut swarm = Swarm::new(now, config, start);
        swarm.set_memory(now, 1 << 20);
        let (keys, asked, control, blocks) = Default::default();
        Rig { swarm, now, keys, asked, control, blocks, woken: Vec::new() }
    }

    fn join(&mut self, n: u32) -> PeerKey {
        let addr = SocketAddr::from(([11, (n >> 16) as u8, (n >> 8) as u8, n as u8], 7000));
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let reserved = Reserved::FAST | Reserved::EXTENSIONS;
        let info = PeerInfo {
            addr,
            direction: Direction::Incoming,
            id: PeerId(id),
            reserved,
            encryption: Encryption::None,
        };
        let key = self.swarm.connect(self.now, info).unwrap();
        self.effects();
        key
    }

    fn hears(&mut self, key: PeerKey, message: &Message<'_>) {
        self.swarm.on_message(self.now, key, message).unwrap();
        self.effects();
    }

    /// `serving` seeds that unchoke us, then idle leechers up to `peers`.
    fn downloading(peers: u32, serving: u32) -> Rig {
        let mut rig = Rig::new(Bitfield::new(PIECES));
        let half = half(9);
        for n in 0..peers {
            let key = rig.join(n);
            if n < serving {
                rig.hears(key, &Message::HaveAll);
                rig.hears(key, &Message::Unchoke);
                rig.keys.push(key);
                rig.asked.push(Vec::new());
            } else {
                rig.hears(key, &Message::Bitfield(&half));
            }
        }
        rig
    }

    /// What the shell does after each call.
    fn effects(&mut self) {
        if self.swarm.has_effects() {
            self.swarm.take_wakes(&mut self.woken);
            self.woken.clear();
            while let Some(action) = self.swarm.poll_action() {
                drop(black_box(action));
            }
        }
        while self.swarm.poll_timeout().is_some_and(|due| due <= self.now) {
            self.swarm.handle_timeout(self.now);
            self.swarm.take_wakes(&mut self.woken);
            self.woken.clear();
            while self.swarm.poll_action().is_some() {}
        }
    }

    /// The peer's task pulls; requests go to `asked`.
    fn pull(&mut self, n: usize) {
        self.control.clear();
        self.swarm.poll_transmit(self.now, self.keys[n], 0, &mut self.control, &mut self.blocks);
        self.effects();
        let (limits, mut at) = (Limits::new(Some(PIECES)), 0);
        while at < self.control.len() {
            let Frame::Message { message, consumed } = next_frame(&self.control[at..], &limits).unwrap()
            else {
                panic!("control bytes hold a block")
            };
            at += consumed;
            if let Message::Request(block) = message {
                self.asked[n].push(block);
            }
        }
    }

    /// Peers send blocks in turn, all that they were asked for; at least `wanted`. Time is that of the
    /// Swarm's calls, and of reading the requests that it makes.
    fn download(&mut self, wanted: u64) -> Duration {
        let (mut came, mut spent) = (0, Duration::ZERO);
        while came < wanted {
            let begun = Instant::now();
            let before = came;
            for n in 0..self.keys.len() {
                self.pull(n);
                let asked = std::mem::take(&mut self.asked[n]);
                came += asked.len() as u64;
                for block in &asked {
                    self.now += BLOCK_TIME;
                    let complete = self.swarm.on_block(self.now, self.keys[n], *block, 0).unwrap();
                    self.effects();
                    if let Some(complete) = complete {
                        self.swarm.on_piece(self.now, complete.piece, PieceOutcome::Stored);
                        self.effects();
                    }
                }
            }
            let counted = (came - before).min(wanted - before);
            spent += begun.elapsed().mul_f64(counted as f64 / (came - before) as f64);
            assert!(came > before, "nothing is asked for");
        }
        spent
    }
}

/// Half of the pieces, as on the wire.
fn half(seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bits = Bitfield::new(PIECES);
    (0..PIECES).filter(|_| rng.bool()).for_each(|piece| _ = bits.set(piece));
    bits.to_wire()
}

/// Blocks that one life of the torrent gives to a measurement: it must not become complete.
const LIFE: u64 = (PIECES * BLOCKS) as u64 * 9 / 10;

fn down(c: &mut Criterion) {
    let mut group = c.benchmark_group("swarm");
    group.throughput(Throughput::Elements(1));
    for (peers, serving) in [(1, 1), (50, 50), (1_000, 50)] {
        let mut rig = Rig::downloading(peers, serving);
        let mut left = LIFE;
        group.bench_function(format!("a block down, {serving} of {peers} peers send"), |b| {
            b.iter_custom(|mut wanted| {
                let mut spent = Duration::ZERO;
                while wanted > 0 {
                    if left == 0 {
                        rig = Rig::downloading(peers, serving);
                        left = LIFE;
                    }
                    let now = wanted.min(left).min(1 << 17);
                    spent += rig.download(now);
                    wanted -= now;
                    left = left.saturating_sub(now + (1 << 14));
                }
                spent
            });
        });
    }
    group.finish();
}

/// A leecher keeps 500 requests with us; its task pulls 256 KiB at a time.
fn up(c: &mut Criterion) {
    let mut rig = Rig::new(Bitfield::full(PIECES));
    let key = rig.join(1);
    rig.hears(key, &Message::HaveNone);
    rig.hears(key, &Message::Interested);
    rig.swarm.unchoke(rig.now, key, false);
    let mut number = 0;
    let mut request = move || {
        number = (number + 1) % (PIECES * BLOCKS);
        Block { piece: PieceIndex(number / BLOCKS), offset: number % BLOCKS * BLOCK_LEN, len: BLOCK_LEN }
    };
    (0..500).for_each(|_| rig.hears(key, &Message::Request(request())));
    let mut group = c.benchmark_group("swarm");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("blocks up, 16 of 500 requests", |b| {
        b.iter(|| {
            rig.control.clear();
            rig.blocks.clear();
            let budget = rig.swarm.upload_backlog(key).min(BATCH * u64::from(BLOCK_LEN));
            rig.effects();
            rig.swarm.poll_transmit(rig.now, key, budget, &mut rig.control, &mut rig.blocks);
            rig.effects();
            rig.now += BLOCK_TIME;
            rig.swarm.on_uploaded(rig.now, key, BATCH * u64::from(BLOCK_LEN));
            rig.effects();
            for _ in 0..rig.blocks.len() {
                rig.hears(key, &Message::Request(request()));
            }
        });
    });
    group.finish();
}

fn comings_and_goings(c: &mut Criterion) {
    let mut rig = Rig::downloading(1_000, 50);
    rig.download(1 << 14);
    let wire = half(10);
    let gone = || CloseReason::Gone("left".into());
    for (name, message) in [("half", Message::Bitfield(&wire)), ("have-all", Message::HaveAll)] {
        c.bench_function(&format!("swarm/connect, {name}, disconnect; 1,000 peers"), |b| {
            b.iter(|| {
                let key = rig.join(5_000);
                rig.hears(key, &message);
                rig.swarm.disconnect(rig.now, key, gone());
                rig.effects();
            });
        });
    }
    // One that serves us, with its requests out.
    let mut n = 6_000;
    let mut serve = |rig: &mut Rig| {
        n += 1;
        let key = rig.join(n);
        rig.hears(key, &Message::HaveAll);
        rig.hears(key, &Message::Unchoke);
        key
    };
    c.bench_function("swarm/disconnect one that serves; 1,000 peers", |b| {
        b.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                let key = serve(&mut rig);
                let begun = Instant::now();
                rig.swarm.disconnect(rig.now, key, gone());
                rig.effects();
                spent += begun.elapsed();
            }
            spent
        });
    });
    let mut rng = fastrand::Rng::with_seed(11);
    let quiet = rig.join(7_000_000);
    c.bench_function("swarm/have; 1,000 peers", |b| {
        b.iter_batched(
            || PieceIndex(rng.u32(..PIECES)),
            |piece| {
                rig.hears(quiet, &Message::Have(piece));
                rig.control.clear();
                rig.swarm.poll_transmit(rig.now, quiet, 0, &mut rig.control, &mut rig.blocks);
            },
            BatchSize::NumIterations(1_000),
        );
    });
    c.bench_function("swarm/one second's tick; 1,000 peers", |b| {
        b.iter(|| {
            rig.now += Duration::from_secs(1);
            for n in 0..rig.keys.len() {
                rig.swarm.heard(rig.now, rig.keys[n]);
            }
            rig.effects();
        });
    });
}

fn readers(c: &mut Criterion) {
    let mut rig = Rig::downloading(1_000, 50);
    rig.download(1 << 14);
    c.bench_function("swarm/view; 1,000 peers", |b| b.iter(|| rig.swarm.view(rig.now)));
    c.bench_function("swarm/peer views; 1,000 peers", |b| b.iter(|| rig.swarm.peer_views(rig.now)));
    c.bench_function("swarm/tracker statuses", |b| b.iter(|| rig.swarm.tracker_statuses()));
    c.bench_function("swarm/next deadline; 1,000 peers", |b| b.iter(|| rig.swarm.poll_timeout()));
    let mut candidates = Vec::new();
    c.bench_function("swarm/choke candidates; 1,000 peers", |b| {
        b.iter(|| {
            candidates.clear();
            rig.swarm.choke_candidates(rig.now, &mut candidates);
        });
    });
}

fn main() {
    let mut c = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    down(&mut c);
    up(&mut c);
    comings_and_goings(&mut c);
    readers(&mut c);
    c.final_summary();
}
