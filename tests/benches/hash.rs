//! Hashing: a piece of 1 MiB alone, and as many together as there are lanes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench")]
use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use wgo_hash::{Algorithm, MAX_LANES, Sha1, Sha256, Stream, update};

const PIECE: usize = 1 << 20;
/// What a piece lies in.
const BLOCK: usize = 16 * 1024;

fn together<A: Algorithm>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    for count in 1..=MAX_LANES {
        let pieces: Vec<Vec<u8>> = (0..count).map(|n| vec![n as u8; PIECE]).collect();
        group.throughput(Throughput::Bytes((count * PIECE) as u64));
        group.bench_function(format!("{name}, {count} together"), |b| {
            b.iter(|| {
                let mut streams: Vec<Stream<A>> = pieces.iter().map(|_| Stream::new()).collect();
                for at in (0..PIECE).step_by(BLOCK) {
                    let inputs: Vec<&[u8]> = pieces.iter().map(|piece| &piece[at..at + BLOCK]).collect();
                    update(&mut streams.iter_mut().collect::<Vec<_>>(), &inputs);
                }
                for stream in streams {
                    black_box(stream.finish());
                }
            });
        });
    }
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let mut group = c.benchmark_group("hash");
    together::<Sha1>(&mut group, "SHA-1");
    together::<Sha256>(&mut group, "SHA-256");
    group.finish();
    c.final_summary();
}
