//! The limiter under flows that behave as the shell's do: what came is read as far as the credit goes,
//! a flow that has nothing to move gives its credit back, and what was read beyond a grant is a debt.
use super::*;

/// Bytes that a connection's socket holds for us: what its peer sent while we did not read.
const SOCKET: u64 = 64 * 1024;
/// Most that is read at once.
const READ: u32 = 128 * KIB;
/// Read beyond a grant to find the messages between the blocks; on average a tenth of it is payload.
const AHEAD: u64 = 64;

struct Connection {
    id: FlowId,
    torrent: u64,
    credit: i64,
    queued: bool,
    /// Payload that has come and was not read.
    ready: u64,
    /// Room for payload that its peer has not used yet.
    room: u64,
    moved: u64,
}

/// Connections whose peers send as soon as there is room.
struct Shell {
    limiter: Limiter,
    rng: fastrand::Rng,
    flows: Vec<Connection>,
    by_id: BTreeMap<FlowId, usize>,
    /// When payload comes, for whom, how much.
    arrivals: BTreeSet<(Time, usize, u64)>,
    now: Time,
    /// Time from a read to the arrival of what takes its place: the path, and the peer's own slowness.
    path: Duration,
    /// Bytes that a peer sends at a time.
    burst: u64,
}

impl Shell {
    fn new(rate: u64, path_us: u64, burst: u64) -> Shell {
        let mut limiter = Limiter::new();
        limiter.set_global(Time::ZERO, Direction::Down, Some(ByteRate(rate)));
        Shell {
            limiter,
            rng: fastrand::Rng::with_seed(11),
            flows: Vec::new(),
            by_id: BTreeMap::new(),
            arrivals: BTreeSet::new(),
            now: Time::ZERO,
            path: Duration::from_micros(path_us),
            burst,
        }
    }

    fn add(&mut self, torrent: u64, count: usize) {
        for _ in 0..count {
            let id = self.limiter.open(TorrentId(torrent), Direction::Down);
            self.by_id.insert(id, self.flows.len());
            self.arrivals.insert((self.now, self.flows.len(), SOCKET));
            self.flows.push(Connection {
                id,
                torrent,
                credit: 0,
                queued: false,
                ready: 0,
                room: 0,
                moved: 0,
            });
        }
    }

    /// `peer/receive.rs` with `shaper.rs`: reads until there is no credit or nothing left.
    fn pump(&mut self, number: usize) {
        loop {
            let flow = &mut self.flows[number];
            if flow.credit <= 0 && !flow.queued {
                let owed = u32::try_from(-flow.credit).unwrap();
                match self.limiter.request(self.now, flow.id, owed + READ) {
                    Grant::Granted(bytes) => flow.credit += i64::from(bytes),
                    Grant::Queued => flow.queued = true,
                }
            }
            let allowed = u64::try_from(flow.credit.max(0)).unwrap().min(u64::from(READ));
            if allowed == 0 {
                return;
            }
            let ahead = self.rng.u64(..10) / 9 * AHEAD;
            let read = flow.ready.min(allowed + ahead);
            if read == 0 {
                self.limiter.give_back(flow.id, u32::try_from(flow.credit).unwrap());
                flow.credit = 0;
                return;
            }
            flow.credit -= read as i64;
            flow.ready -= read;
            flow.moved += read;
            flow.room += read;
            let sent = flow.room / self.burst * self.burst;
            flow.room -= sent;
            if sent > 0 {
                let late = self.path.mul_f64(0.5 + self.rng.f64());
                self.arrivals.insert((self.now + late, number, sent));
            }
        }
    }

    fn run(&mut self, end: Time) {
        let mut grants = Vec::new();
        loop {
            // The timer is late by up to a millisecond, as tokio's is.
            let late = Duration::from_micros(self.rng.u64(..1_100));
            let wake = self.limiter.next_timeout().map(|at| (at + late).max(self.now));
            let arrival = self.arrivals.first().map(|arrival| arrival.0);
            let Some(next) = [wake, arrival].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = next;
            if arrival == Some(next) {
                let Some((_, number, bytes)) = self.arrivals.pop_first() else { break };
                self.flows[number].ready += bytes;
                self.pump(number);
                continue;
            }
            self.limiter.poll(next, &mut grants);
            for (id, bytes) in grants.drain(..) {
                let number = self.by_id[&id];
                self.flows[number].credit += i64::from(bytes);
                self.flows[number].queued = false;
                self.pump(number);
            }
        }
        self.now = end;
        self.limiter.check_invariants();
    }

    fn total(&self) -> u64 {
        self.flows.iter().map(|flow| flow.moved).sum()
    }

    fn per_torrent(&self) -> BTreeMap<u64, u64> {
        self.flows.iter().fold(BTreeMap::new(), |mut sums, flow| {
            *sums.entry(flow.torrent).or_default() += flow.moved;
            sums
        })
    }
}

/// Standard deviation of the samples, in parts of `of`.
fn deviation(samples: &[u64], of: u64) -> f64 {
    let mean = samples.iter().sum::<u64>() as f64 / samples.len() as f64;
    let squares = samples.iter().map(|sample| (*sample as f64 - mean).powi(2)).sum::<f64>();
    (squares / samples.len() as f64).sqrt() / of as f64
}

const RATES: [u64; 5] = [100_000, 500_000, 2_000_000, 20_000_000, 100_000_000];

fn each_shell(mut check: impl FnMut(Shell, u64, &str)) {
    for rate in RATES {
        for path_us in [50, 2_000, 30_000] {
            for burst in [1448, u64::from(16 * KIB)] {
                let what = format!("{rate} B/s, path {path_us} us, bursts of {burst}");
                check(Shell::new(rate, path_us, burst), rate, &what);
            }
        }
    }
}

/// What one connection can bring over its path at best bounds what a test may expect of it.
fn fits(shell: &Shell, connections: u64, rate: u64) -> bool {
    let each = SOCKET as f64 / (shell.path.as_secs_f64() * 1.5);
    each * connections as f64 > rate as f64 * 2.0
}

#[test]
fn ten_seconds_are_exact_and_each_second_is_close() {
    each_shell(|mut shell, rate, what| {
        if !fits(&shell, 1, rate) {
            return;
        }
        shell.add(1, 1);
        shell.run(secs(5));
        let mut before = shell.total();
        let begun = before;
        let samples: Vec<u64> = (6..=25)
            .map(|second| {
                shell.run(secs(second));
                let moved = shell.total() - before;
                before += moved;
                moved
            })
            .collect();
        let ten: u64 = samples[..10].iter().sum();
        assert_within(ten, rate * 10, 2, what);
        assert_within(before - begun, rate * 20, 2, what);
        let deviation = deviation(&samples, rate);
        assert!(deviation <= 0.02, "{what}: the seconds differ by {deviation:.4}");
    });
}

#[test]
fn ten_torrents_get_a_tenth_each() {
    each_shell(|shell, _, what| {
        for uneven in [false, true] {
            let (rate, path) = (shell.limiter.limit(TorrentId(0), Direction::Down), shell.path);
            let rate = rate.expect("it is limited").0;
            let path_us = u64::try_from(path.as_micros()).unwrap();
            let mut shell = Shell::new(rate, path_us, shell.burst);
            if !fits(&shell, 1, rate / 10) {
                continue;
            }
            (0..10).for_each(|torrent| shell.add(torrent, if uneven { 1 + torrent as usize * 3 } else { 1 }));
            shell.run(secs(5));
            let before = shell.per_torrent();
            shell.run(secs(15));
            let moved: BTreeMap<u64, u64> = shell
                .per_torrent()
                .into_iter()
                .map(|(torrent, moved)| (torrent, moved - before[&torrent]))
                .collect();
            let total: u64 = moved.values().sum();
            assert_within(total, rate * 10, 2, what);
            for (torrent, moved) in moved {
                assert_within(moved, total / 10, 100, &format!("torrent {torrent}, uneven {uneven}: {what}"));
            }
        }
    });
}

/// What the torrents' peers see: a block is asked for when another is whole.
#[test]
fn blocks_of_torrents_do_not_end_in_step() {
    for (path_us, rate) in [(50, 2_000_000), (2_000, 2_000_000), (30_000, 2_000_000), (2_000, 1_000_000)] {
        let mut shell = Shell::new(rate, path_us, u64::from(16 * KIB));
        (0..10).for_each(|torrent| shell.add(torrent, 1));
        shell.run(secs(5));
        let blocks = |shell: &Shell| -> u64 { shell.flows.iter().map(|flow| flow.moved / 16_384).sum() };
        // In the time of ten blocks each of ten torrents asks for one: five in each half of it.
        let mut half = Duration::from_secs(5);
        let samples: Vec<u64> = (0..400)
            .map(|_| {
                let before = blocks(&shell);
                half += Duration::from_secs_f64(5.0 * 16_384.0 / rate as f64);
                shell.run(Time::ZERO + half);
                blocks(&shell) - before
            })
            .collect();
        let deviation = deviation(&samples, 5);
        assert!(deviation < 0.35, "{rate} B/s, path {path_us} us: {deviation:.2}: {samples:?}");
    }
}
