//! The wire codec: streams of `piece`, `request` and `have` messages, both ways, and bitfields.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench")]
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use wgo_proto::wire::{
    ExtHandshake, ExtMessage, ExtensionIds, Frame, Limits, Message, block_header, next_frame,
};
use wgo_proto::{BLOCK_LEN, Bitfield, Block, PieceIndex};

const PIECES: u32 = 100_000;
/// Messages of a stream.
const COUNT: u32 = 1_000;

fn block(n: u32) -> Block {
    Block { piece: PieceIndex(n * 97 % PIECES), offset: n % 16 * BLOCK_LEN, len: BLOCK_LEN }
}

/// Message number so much.
type Make = fn(u32) -> Message<'static>;

/// Takes every message off a stream; returns how many there were.
fn parse(stream: &[u8], limits: &Limits) -> u32 {
    let (mut at, mut count) = (0, 0);
    while at < stream.len() {
        at += match next_frame(&stream[at..], limits).unwrap() {
            Frame::Message { message, consumed } => {
                black_box(message);
                consumed
            }
            Frame::Block { block, header_len } => header_len + block.len as usize,
            other => panic!("{other:?}"),
        };
        count += 1;
    }
    count
}

fn streams(c: &mut Criterion) {
    let limits = Limits::new(Some(PIECES));
    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(u64::from(COUNT)));
    let kinds: [(&str, Make); 2] =
        [("request", |n| Message::Request(block(n))), ("have", |n| Message::Have(block(n).piece))];
    for (name, message) in kinds {
        let encode = |out: &mut Vec<u8>| (0..COUNT).for_each(|n| message(n).encode(out));
        let mut stream = Vec::new();
        encode(&mut stream);
        assert_eq!(parse(&stream, &limits), COUNT);
        group.bench_function(format!("parse {name}s"), |b| b.iter(|| parse(black_box(&stream), &limits)));
        group.bench_function(format!("encode {name}s"), |b| {
            b.iter(|| {
                stream.clear();
                encode(&mut stream);
            });
        });
    }
    let mut stream = Vec::new();
    for n in 0..COUNT {
        stream.extend(block_header(block(n)));
        stream.resize(stream.len() + BLOCK_LEN as usize, 0);
    }
    group.bench_function("parse piece headers", |b| b.iter(|| parse(black_box(&stream), &limits)));
    group.bench_function("encode piece headers", |b| {
        b.iter(|| (0..COUNT).for_each(|n| _ = black_box(block_header(block(n)))));
    });
    group.finish();
}

fn single_messages(c: &mut Criterion) {
    let limits = Limits::new(Some(PIECES));
    let mut rng = fastrand::Rng::with_seed(1);
    let mut half = Bitfield::new(PIECES);
    (0..PIECES).filter(|_| rng.bool()).for_each(|piece| _ = half.set(piece));
    let wire = half.to_wire();
    c.bench_function("wire/bitfield of 100,000 pieces, parse", |b| {
        b.iter(|| Bitfield::from_wire(black_box(&wire), PIECES).unwrap());
    });
    c.bench_function("wire/bitfield of 100,000 pieces, encode", |b| b.iter(|| black_box(&half).to_wire()));
    let mut bytes = Vec::new();
    let handshake = ExtHandshake {
        client: Some("wgod".into()),
        port: Some(6868),
        reqq: Some(2048),
        ..ExtHandshake::default()
    };
    ExtMessage::Handshake(Box::new(handshake)).encode(&ExtensionIds::default(), &mut bytes);
    c.bench_function("wire/extension handshake, parse", |b| {
        b.iter(|| match next_frame(black_box(&bytes), &limits).unwrap() {
            Frame::Message { message: Message::Extended { id, body }, .. } => {
                ExtMessage::decode(id, body, &limits).unwrap()
            }
            other => panic!("{other:?}"),
        });
    });
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    streams(&mut c);
    single_messages(&mut c);
    c.final_summary();
}
