//! Bencode: the validator that every outside buffer passes, and whole `.torrent` files of a large torrent.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench")]
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use wgo_proto::bencode::{self, Encoder};
use wgo_proto::metainfo::Metainfo;

/// A `.torrent` of so many files and pieces, as BEP 3 has it.
fn torrent(files: u32, pieces: usize) -> Vec<u8> {
    let piece_len: i64 = 1 << 20;
    let file_len = pieces as i64 * piece_len / i64::from(files);
    let mut rng = fastrand::Rng::with_seed(1);
    let hashes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(pieces * 20).collect();
    let mut out = Vec::new();
    Encoder::new(&mut out).dict(|torrent| {
        torrent.entry("announce").bytes("http://tracker.invalid/announce");
        torrent.entry("info").dict(|info| {
            info.entry("files").list(|list| {
                for n in 0..files {
                    list.item().dict(|file| {
                        let last = i64::from(n + 1 == files) * (pieces as i64 * piece_len % i64::from(files));
                        file.entry("length").int(file_len + last);
                        file.entry("path").list(|path| {
                            path.item().bytes(format!("disc {}", n / 100));
                            path.item().bytes(format!("track number {n}.flac"));
                        });
                    });
                }
            });
            info.entry("name").bytes("a large torrent");
            info.entry("piece length").int(piece_len);
            info.entry("pieces").bytes(&hashes);
        });
    });
    out
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let shapes = [("one file, 100,000 pieces", 1, 100_000), ("20,000 files", 20_000, 4_000)];
    let mut group = c.benchmark_group("bencode");
    for (name, files, pieces) in shapes {
        let bytes = torrent(files, pieces);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("validate, {name}"), |b| {
            b.iter(|| bencode::parse(black_box(&bytes)).map(|value| value.span()).unwrap());
        });
        group.bench_function(format!("metainfo, {name}"), |b| {
            b.iter(|| Metainfo::parse(black_box(&bytes)).unwrap());
        });
    }
    group.finish();
    c.final_summary();
}
