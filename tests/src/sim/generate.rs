//! Plans from seeds: small worlds mostly, of all classes, with all that can happen to them.
use std::time::Duration;

use wgo_core::ByteRate;
use wgo_core::choke_mgr::{Automatic, SlotCount};
use wgo_core::limiter::Direction;
use wgo_core::session::Check;
use wgod::files::Preallocate;

use crate::sim::content::Shape;
use crate::sim::disk::{Condition, Failing};
use crate::sim::keeping::STATE_DEVICE;
use crate::sim::node::Habits;
use crate::sim::plan::{Begin, Happening, Plan, Planned, PlannedNode, PlannedTorrent};
use crate::sim::rogue::Class;
use crate::sim::weather::Weather;

/// How large a world is.
struct Size {
    nodes: usize,
    torrents: usize,
    pieces: u32,
    bytes: u64,
    happenings: usize,
}

impl Size {
    fn any(rng: &mut fastrand::Rng) -> Size {
        match rng.u32(..20) {
            0 => Size { nodes: 18, torrents: 4, pieces: 400, bytes: 8 << 20, happenings: 80 },
            1..=4 => Size { nodes: 10, torrents: 3, pieces: 80, bytes: 3 << 20, happenings: 60 },
            _ => Size { nodes: 6, torrents: 2, pieces: 24, bytes: 1 << 20, happenings: 40 },
        }
    }
}

/// The plan of a seed.
pub fn generate(seed: u64) -> Plan {
    // Not the run's own randomness.
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5bd1_e995_9d1b_58d3);
    let size = Size::any(&mut rng);
    let torrents: Vec<_> = (0..rng.usize(1..=size.torrents)).map(|_| torrent(&mut rng, &size)).collect();
    let mut nodes: Vec<PlannedNode> = (0..torrents.len()).map(|torrent| origin(&mut rng, torrent)).collect();
    for _ in 0..rng.usize(1..=size.nodes) {
        nodes.push(leecher(&mut rng, torrents.len()));
    }
    for _ in 0..rng.usize(..=size.nodes / 3 + 1) {
        nodes.push(rascal(&mut rng, torrents.len()));
    }
    let weather = if rng.u32(..3) == 0 { Weather::default() } else { weather(&mut rng) };
    let mut happenings = happenings(&mut rng, &size, &nodes, torrents.len());
    stores(seed, &mut nodes, &mut happenings);
    Plan { seed, torrents, nodes, weather, happenings }
}

fn torrent(rng: &mut fastrand::Rng, size: &Size) -> PlannedTorrent {
    let piece_len = match rng.u32(..4) {
        0 => rng.u32(9_000..100_000),
        1 => 16 * 1024,
        _ => 16 * 1024 * rng.u32(1..8),
    };
    let most = (u64::from(size.pieces) * u64::from(piece_len)).min(size.bytes);
    let mut files: Vec<u64> = match rng.u32(..4) {
        0 => vec![rng.u64(1..=u64::from(piece_len))],
        1 => vec![rng.u64(1..=most)],
        _ => (0..rng.usize(1..7))
            .map(|_| [0, rng.u64(1..200), rng.u64(..most / 6 + 1)][rng.usize(..3)])
            .collect(),
    };
    if files.iter().sum::<u64>() == 0 {
        files.push(rng.u64(1..=most));
    }
    let private = rng.u32(..4) == 0;
    PlannedTorrent { shape: Shape { piece_len, files }, private, two_trackers: rng.u32(..4) == 0 }
}

fn habits(rng: &mut fastrand::Rng) -> Habits {
    let limit = |rng: &mut fastrand::Rng| (rng.u32(..5) == 0).then(|| ByteRate(rng.u64(10_000..300_000)));
    Habits {
        fast: rng.u32(..5) > 0,
        line: rng.u64(40_000..2_000_000),
        up_limit: limit(rng),
        down_limit: limit(rng),
        memory: if rng.bool() { 512 } else { rng.usize(4..40) },
        slots: match rng.u32(..4) {
            0 => SlotCount::Automatic(Automatic::default()),
            n => SlotCount::Fixed(n * 2 - 1),
        },
        max_peers: rng.u32(3..50),
        socket: if rng.bool() { 128 * 1024 } else { rng.usize(2_000..60_000) },
        nat: rng.u32(..5) == 0,
        pex: rng.u32(..4) > 0,
        clock: (Duration::from_secs(rng.u64(..1_000_000)), rng.i32(-300..300)),
        ..Habits::default()
    }
}

/// Who has everything of a torrent, and can be reached.
fn origin(rng: &mut fastrand::Rng, torrent: usize) -> PlannedNode {
    let habits = Habits { nat: false, max_peers: rng.u32(10..50), ..habits(rng) };
    let begins = vec![(torrent, Begin::Everything)];
    PlannedNode { habits, begins, origin: true, honest: true, absent: false }
}

fn leecher(rng: &mut fastrand::Rng, torrents: usize) -> PlannedNode {
    let mut begins = Vec::new();
    for torrent in 0..torrents {
        match rng.u32(..6) {
            0 => {}
            1 => begins.push((torrent, Begin::Some(rng.u32(2..5)))),
            2 if rng.bool() => begins.push((torrent, Begin::Everything)),
            _ => begins.push((torrent, Begin::Nothing)),
        }
    }
    PlannedNode { habits: habits(rng), begins, origin: false, honest: true, absent: false }
}

/// Who is up to no good, an engine or none.
fn rascal(rng: &mut fastrand::Rng, torrents: usize) -> PlannedNode {
    let mut habits = habits(rng);
    let begin = match rng.u32(..6) {
        0 => {
            habits.poison = rng.u32(1..12);
            if rng.bool() { Begin::Everything } else { Begin::Nothing }
        }
        1 => {
            habits.stalls = true;
            Begin::Everything
        }
        2 => {
            habits.slots = SlotCount::Fixed(0);
            Begin::Nothing
        }
        _ => {
            habits.rogue = Some(Class::ALL[rng.usize(..Class::ALL.len())]);
            Begin::Everything
        }
    };
    let begins = vec![(rng.usize(..torrents), begin)];
    PlannedNode { habits, begins, origin: false, honest: false, absent: false }
}

fn weather(rng: &mut fastrand::Rng) -> Weather {
    let some = |rng: &mut fastrand::Rng, most: u32| if rng.bool() { 0 } else { rng.u32(..most) };
    Weather {
        jitter: Duration::from_millis(u64::from(some(rng, 200))),
        spike_one_in: some(rng, 300),
        spike: Duration::from_millis(rng.u64(..4000)),
        loss: some(rng, 20_000),
        refused: some(rng, 30),
        dials_lost: some(rng, 40),
    }
}

/// What happens, over minutes or hours.
fn happenings(rng: &mut fastrand::Rng, size: &Size, nodes: &[PlannedNode], torrents: usize) -> Vec<Planned> {
    let longest = [20_000, 200_000, 4_000_000][rng.usize(..3)];
    let mut times: Vec<u64> = (0..rng.usize(..=size.happenings)).map(|_| rng.u64(..longest)).collect();
    times.sort_unstable();
    let planned = |(number, at): (usize, u64)| {
        let what = happening(rng, nodes, torrents);
        Planned { number, at: Duration::from_millis(at), what }
    };
    times.into_iter().enumerate().map(planned).collect()
}

fn happening(rng: &mut fastrand::Rng, nodes: &[PlannedNode], torrents: usize) -> Happening {
    let (node, torrent) = (rng.usize(..nodes.len()), rng.usize(..torrents));
    let origin = nodes[node].origin;
    match rng.u32(..32) {
        0 | 1 => Happening::Join(node, torrent),
        2 if !origin => Happening::Remove(node, torrent, rng.bool()),
        3 => Happening::Stop(node, torrent),
        4..=6 => Happening::Start(node, torrent),
        7 => Happening::Verify(node, torrent),
        8 if !origin => Happening::Leave(node),
        9 | 10 => Happening::Return(node),
        11 => Happening::Crash(node),
        12 | 13 => Happening::Restart(node, [Check::None, Check::Full, Check::Suspects][rng.usize(..3)]),
        14 => Happening::Trackers { first_down: rng.u32(..3) == 0, other_down: rng.u32(..3) == 0 },
        15 => Happening::AnswersLost(rng.u32(..60)),
        16 | 17 => Happening::Weather(if rng.bool() { Weather::default() } else { weather(rng) }),
        18 => Happening::Part(rng.u64(..)),
        19 => Happening::Heal,
        20 | 21 => Happening::Resets(rng.u32(1..6)),
        22 => Happening::HalfOpen(rng.u32(1..4)),
        23 => Happening::Stall(rng.u32(1..4), Duration::from_millis(rng.u64(100..120_000))),
        24 | 25 => {
            let direction = if rng.bool() { Direction::Up } else { Direction::Down };
            let rate = [None, Some(ByteRate(0)), Some(ByteRate(rng.u64(3_000..400_000)))][rng.usize(..3)];
            Happening::Limit(node, direction, rate)
        }
        26 => {
            let limit = |rng: &mut fastrand::Rng| rng.bool().then(|| rng.u32(..3));
            Happening::Queue(node, limit(rng), limit(rng))
        }
        27 => Happening::Jump(node, Duration::from_secs(rng.u64(1..40_000))),
        28 | 29 => Happening::Suspend(node, Duration::from_millis(rng.u64(100..900_000)), rng.bool()),
        30 if !origin => Happening::Disk(node, Condition::Full),
        31 => Happening::Disk(node, Condition::Well),
        _ => Happening::Resets(1),
    }
}

/// Gives some honest nodes of some worlds the daemon's own store, and disks that lose what no sync has covered.
fn stores(seed: u64, nodes: &mut [PlannedNode], happenings: &mut Vec<Planned>) {
    // What else a seed is stays as it is.
    let rng = &mut fastrand::Rng::with_seed(seed ^ 0x2545_f491_4f6c_dd1d);
    if rng.bool() {
        return;
    }
    let mut keepers = Vec::new();
    for (number, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.honest && !node.origin) {
        if rng.u32(..3) > 0 {
            keepers.push(number);
            node.habits = Habits {
                store: true,
                disk_millis: [5, 40, 400][rng.usize(..3)],
                preallocate: [Preallocate::None, Preallocate::Sparse, Preallocate::Full][rng.usize(..3)],
                ..node.habits.clone()
            };
        }
    }
    let longest = happenings.last().map_or(20_000, |last| last.at.as_millis() as u64);
    let first = happenings.len();
    for number in first..first + rng.usize(..=first / 3 + 2) {
        let Some(&node) = keepers.get(rng.usize(..keepers.len().max(1))) else { break };
        let at = Duration::from_millis(rng.u64(..=longest));
        happenings.push(Planned { number, at, what: misfortune(rng, node) });
        // It begins again some time.
        let back = at + Duration::from_millis(rng.u64(..20_000));
        happenings.push(Planned { number, at: back, what: Happening::Return(node) });
    }
    happenings.sort_by_key(|planned| planned.at);
    happenings.iter_mut().enumerate().for_each(|(number, planned)| planned.number = number);
}

fn misfortune(rng: &mut fastrand::Rng, node: usize) -> Happening {
    match rng.u32(..6) {
        0 | 1 => Happening::PowerCut(node, None),
        2 => {
            Happening::PowerCut(node, Some([rng.u64(..12), rng.u64(..100), rng.u64(..1000)][rng.usize(..3)]))
        }
        3 => Happening::Crash(node),
        _ => {
            let device = if rng.u32(..3) == 0 { STATE_DEVICE } else { 0 };
            // The store reads its own pages all the time; what it can't read at a start keeps it from starting.
            let what = match rng.u32(..4) {
                0 if device != STATE_DEVICE => Failing::Reads,
                0 | 1 => Failing::Writes,
                _ => Failing::Syncs,
            };
            Happening::Fail(node, device, what, rng.u32(1..4))
        }
    }
}
