//! The limiter under load: every flow backlogged, asking for a block at a time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench")]
use std::time::Duration;

use criterion::{Criterion, Throughput};
use wgo_core::limiter::{Direction, FlowId, Grant, Limiter};
use wgo_core::{ByteRate, Time, TorrentId};
use wgo_proto::BLOCK_LEN;

/// Flows that ask again as soon as they were granted something, by the limiter's own clock.
struct Load {
    limiter: Limiter,
    flows: Vec<FlowId>,
    now: Time,
    grants: Vec<(FlowId, u32)>,
}

impl Load {
    /// `flows` over `torrents`, under a rate that gives each a block a second or so.
    fn new(flows: u64, torrents: u64) -> Load {
        let mut limiter = Limiter::new();
        let rate = ByteRate(flows * u64::from(BLOCK_LEN) + 1_000_000);
        limiter.set_global(Time::ZERO, Direction::Down, Some(rate));
        let flows = (0..flows).map(|n| limiter.open(TorrentId(n % torrents), Direction::Down)).collect();
        let mut load = Load { limiter, flows, now: Time::ZERO, grants: Vec::new() };
        for flow in load.flows.clone() {
            load.ask(flow);
        }
        load
    }

    fn ask(&mut self, flow: FlowId) {
        while let Grant::Granted(_) = self.limiter.request(self.now, flow, BLOCK_LEN) {}
    }

    /// One wake-up and the requests that follow it; returns the grants.
    fn wake(&mut self) -> u64 {
        self.now = self.limiter.next_timeout().expect("all are queued");
        let mut grants = std::mem::take(&mut self.grants);
        self.limiter.poll(self.now, &mut grants);
        let count = grants.len() as u64;
        for (flow, _) in grants.drain(..) {
            self.ask(flow);
        }
        self.grants = grants;
        count
    }
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let mut group = c.benchmark_group("limiter");
    group.throughput(Throughput::Elements(1));
    for (flows, torrents) in [(1, 1), (30, 3), (1_000, 30)] {
        let mut load = Load::new(flows, torrents);
        group.bench_function(format!("request, wait, grant: {flows} flows"), |b| {
            b.iter_custom(|wanted| {
                let (mut granted, mut spent) = (0, Duration::ZERO);
                while granted < wanted {
                    let begun = std::time::Instant::now();
                    let more = (0..8).map(|_| load.wake()).sum::<u64>();
                    let time = begun.elapsed();
                    // Only the share of those that were asked for counts.
                    let counted = more.min(wanted - granted);
                    spent += time.mul_f64(counted as f64 / more.max(1) as f64);
                    granted += more;
                }
                spent
            });
        });
    }
    group.finish();
    let mut limiter = Limiter::new();
    limiter.set_global(Time::ZERO, Direction::Down, Some(ByteRate(u64::MAX / 4)));
    let flow = limiter.open(TorrentId(1), Direction::Down);
    let mut now = Time::ZERO;
    c.bench_function("limiter/granted at once", |b| {
        b.iter(|| {
            now += Duration::from_micros(1);
            limiter.request(now, flow, BLOCK_LEN)
        });
    });
    c.final_summary();
}
