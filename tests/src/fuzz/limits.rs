//! The limiter, beside the plainest token bucket for each limit.
use std::time::Duration;

use wgo_core::limiter::{Direction, FlowId, Grant, Limiter};
use wgo_core::{ByteRate, Time, TorrentId};

use super::Reader;

const FLOWS: usize = 8;
const TORRENTS: usize = 3;
const RATES: [Option<u64>; 8] =
    [None, Some(0), Some(1), Some(900), Some(4_000), Some(70_000), Some(3_000_000), Some(900_000_000)];
/// What may come at once on top of the rate: a tenth of a second of it, and a KiB.
const BURST: Duration = Duration::from_millis(100);
const SPARE: u64 = 1024;
/// Wake-ups until all that can be served was served, at the lowest rate.
const PATIENCE: usize = 20_000;
/// What a flow wants in the end: little enough to come at a byte a second.
const LAST_WANT: u32 = 64;

/// Full at first; what is granted must be in it.
struct Bucket {
    rate: Option<u64>,
    /// Billionths of a byte.
    level: u128,
    at: Time,
}

impl Bucket {
    fn new(now: Time, rate: Option<u64>) -> Bucket {
        let mut bucket = Bucket { rate, level: 0, at: now };
        bucket.level = bucket.capacity();
        bucket
    }

    fn capacity(&self) -> u128 {
        let rate = u128::from(self.rate.unwrap_or(0));
        rate * BURST.as_nanos() + u128::from(SPARE) * 1_000_000_000
    }

    fn take(&mut self, now: Time, bytes: u32) {
        let Some(rate) = self.rate else { return };
        self.level += u128::from(rate) * now.since(self.at).as_nanos();
        self.level = self.level.min(self.capacity());
        self.at = now;
        let cost = u128::from(bytes) * 1_000_000_000;
        assert!(
            cost <= self.level,
            "{bytes} bytes at {rate} B/s with {} in the bucket",
            self.level / 1_000_000_000
        );
        self.level -= cost;
    }

    fn give_back(&mut self, bytes: u32) {
        self.level = (self.level + u128::from(bytes) * 1_000_000_000).min(self.capacity());
    }
}

struct Model {
    limiter: Limiter,
    now: Time,
    flows: Vec<FlowId>,
    given: [u32; FLOWS],
    queued: [bool; FLOWS],
    global: Bucket,
    own: Vec<Bucket>,
}

/// Any requests, limits and time: no bucket overflows, nobody is granted what they didn't ask for, and whoever can be
/// served is.
pub(super) fn limiter(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut limiter = Limiter::new();
    let now = Time::ZERO;
    let flows = (0..FLOWS).map(|flow| limiter.open(torrent(flow), Direction::Up)).collect();
    let (global, own) = (Bucket::new(now, None), (0..TORRENTS).map(|_| Bucket::new(now, None)).collect());
    let mut model = Model { limiter, now, flows, given: [0; FLOWS], queued: [false; FLOWS], global, own };
    while !reader.is_empty() {
        model.step(&mut reader);
        model.limiter.check_invariants();
    }
    model.finish();
}

fn torrent(flow: usize) -> TorrentId {
    TorrentId((flow % TORRENTS) as u64)
}

impl Model {
    fn step(&mut self, reader: &mut Reader<'_>) {
        let op = reader.byte();
        let flow = usize::from(op >> 4) % FLOWS;
        let number = u32::from(reader.short());
        let rate = RATES[number as usize % RATES.len()];
        match op % 16 {
            0..=5 => self.request(flow, number * 3),
            6 => {
                let unused = number.min(self.given[flow]);
                self.given[flow] -= unused;
                self.limiter.give_back(self.flows[flow], unused);
                self.global.give_back(unused);
                self.own[flow % TORRENTS].give_back(unused);
            }
            7..=9 => self.now += Duration::from_micros(u64::from(number) * 8),
            10 => self.now += Duration::from_millis(u64::from(number)),
            11 | 12 => self.poll(),
            13 => {
                self.limiter.set_global(self.now, Direction::Up, rate.map(ByteRate));
                self.global = Bucket::new(self.now, rate);
            }
            14 => {
                self.limiter.set_torrent(self.now, torrent(flow), Direction::Up, rate.map(ByteRate));
                self.own[flow % TORRENTS] = Bucket::new(self.now, rate);
            }
            _ => {
                self.limiter.close(self.flows[flow]);
                self.flows[flow] = self.limiter.open(torrent(flow), Direction::Up);
                (self.given[flow], self.queued[flow]) = (0, false);
            }
        }
    }

    fn request(&mut self, flow: usize, want: u32) {
        match self.limiter.request(self.now, self.flows[flow], want) {
            Grant::Granted(bytes) => {
                assert!(bytes <= want && (bytes > 0 || want == 0));
                self.queued[flow] = false;
                self.granted(flow, bytes);
            }
            Grant::Queued => self.queued[flow] = want > 0,
        }
    }

    fn poll(&mut self) {
        let mut grants = Vec::new();
        self.limiter.poll(self.now, &mut grants);
        assert!(self.limiter.next_timeout().is_none_or(|at| at > self.now), "it would be polled for ever");
        for (id, bytes) in grants {
            let flow = self.flows.iter().position(|flow| *flow == id).expect("only open flows are granted");
            assert!(std::mem::take(&mut self.queued[flow]) && bytes > 0, "nobody asked");
            self.granted(flow, bytes);
        }
    }

    fn granted(&mut self, flow: usize, bytes: u32) {
        self.given[flow] = bytes;
        self.global.take(self.now, bytes);
        self.own[flow % TORRENTS].take(self.now, bytes);
    }

    /// Everybody asks for little more, and gets it unless a limit is zero.
    fn finish(&mut self) {
        for flow in 0..FLOWS {
            self.request(flow, LAST_WANT);
        }
        for _ in 0..PATIENCE {
            let Some(at) = self.limiter.next_timeout() else { break };
            self.now = self.now.max(at);
            self.poll();
        }
        for flow in (0..FLOWS).filter(|flow| self.queued[*flow]) {
            let shut = self.global.rate == Some(0) || self.own[flow % TORRENTS].rate == Some(0);
            assert!(shut, "flow {flow} waits for ever");
        }
    }
}
