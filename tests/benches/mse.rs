//! Message stream encryption: what a handshake costs, and what a byte costs afterwards.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench")]
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use wgo_proto::WireHash;
use wgo_proto::mse::{
    Chance, Cipher, Initiated, Initiator, KeyPair, Method, Methods, PRIVATE_LEN, RANDOM_LEN, Responded,
    Responder,
};

/// A batch of the size that a connection sends, which a core's caches hold.
const BATCH: usize = 64 * 1024;

/// What a connection encrypts with, after a handshake with ourselves.
fn cipher() -> Box<Cipher> {
    let hash = WireHash([7; 20]);
    let chances = [1, 2].map(|seed| Chance::new(&[seed; RANDOM_LEN]));
    let keys = chances.clone().map(|chance| KeyPair::new(chance.private));
    let [a, b] = chances;
    let mut dialling = Initiator::new(hash, Methods::RC4, b"", a);
    let mut dialled = Responder::new(Methods::RC4, Method::Rc4, b);
    let mut stream = dialling.first(&keys[0]);
    stream.extend(dialling_step_3(&mut dialling, &keys));
    let mut at = 0;
    loop {
        let part = &stream[at..at + dialled.wants()];
        at += part.len();
        match dialled.receive(part).unwrap() {
            Responded::More => {}
            Responded::Agree(theirs) => _ = dialled.agreed(&keys[1].public, keys[1].secret(&theirs)),
            Responded::Find(_) => dialled.found(&hash),
            Responded::Done { session, .. } => return session.outgoing.unwrap(),
        }
    }
}

fn dialling_step_3(dialling: &mut Initiator, keys: &[KeyPair; 2]) -> Vec<u8> {
    match dialling.receive(keys[1].public.bytes()).unwrap() {
        Initiated::Agree(theirs) => dialling.agreed(&keys[0].secret(&theirs)),
        other => panic!("{other:?}"),
    }
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let mut group = c.benchmark_group("mse");
    let keys = KeyPair::new([0xcd; PRIVATE_LEN]);
    let theirs = KeyPair::new([0x3d; PRIVATE_LEN]).public;
    group.bench_function("public key", |b| b.iter(|| KeyPair::new(black_box([0xab; PRIVATE_LEN]))));
    group.bench_function("secret", |b| b.iter(|| keys.secret(black_box(&theirs))));
    let (mut cipher, mut batch) = (cipher(), vec![0; BATCH]);
    group.throughput(Throughput::Bytes(BATCH as u64));
    group.bench_function("a batch", |b| b.iter(|| cipher.apply(black_box(&mut batch))));
    group.finish();
    c.final_summary();
}
