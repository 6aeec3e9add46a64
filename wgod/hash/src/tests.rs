//! Our kernels against the crates: every length, every mix of lanes, every way to cut a message.
use proptest::prelude::*;
use sha2::Digest;

use super::sealed::Core;
use super::*;

/// Whether SHA-1 can be computed: Miri, which interprets, knows the instructions for SHA-256 and none for SHA-1.
const SHA1_RUNS: bool = !cfg!(all(miri, target_feature = "sha"));

/// Lengths of messages. Miri takes a second for what others do in a millisecond: it gets one of each kind, before
/// and after the edges of a chunk and of the padding in it.
fn short_lens() -> Vec<usize> {
    if cfg!(miri) { vec![0, 1, 55, 56, 64] } else { (0..300).collect() }
}

/// The length of a message of many chunks; of few where each costs a second.
const LONG: usize = if cfg!(miri) { 70 } else { 1000 };

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| rng.u8(..)).collect()
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(bytes).into()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// Hashes messages together, each in portions of its own lengths.
fn together<A: Algorithm>(messages: &[Vec<u8>], cuts: &[usize], cpu: Cpu) -> Vec<A::Digest> {
    let mut streams: Vec<Stream<A>> = messages.iter().map(|_| Stream::new()).collect();
    let mut rests: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
    let mut cut = cuts.iter().cycle();
    while rests.iter().any(|rest| !rest.is_empty()) {
        let mut inputs = Vec::new();
        for rest in &mut rests {
            let (now, later) = rest.split_at(rest.len().min(*cut.next().unwrap()));
            inputs.push(now);
            *rest = later;
        }
        update_with(cpu, &mut streams.iter_mut().collect::<Vec<_>>(), &inputs);
    }
    streams.into_iter().map(Stream::finish).collect()
}

/// Every kind of instructions that this machine has, by itself and with others.
fn cpus() -> Vec<Cpu> {
    let here = Cpu::here();
    if here != (Cpu { sha: true, avx2: true, avx512: true }) {
        eprintln!("SKIPPED: kernels that this CPU has no instructions for: it has {here:?}");
    }
    Cpu::choices().collect()
}

fn compare(messages: &[Vec<u8>], cuts: &[usize]) {
    let want_sha1: Vec<_> =
        if SHA1_RUNS { messages.iter().map(|message| sha1(message)).collect() } else { Vec::new() };
    let want_sha256: Vec<_> = messages.iter().map(|message| sha256(message)).collect();
    for cpu in cpus() {
        if SHA1_RUNS {
            assert_eq!(together::<Sha1>(messages, cuts, cpu), want_sha1, "{cpu:?}");
        }
        assert_eq!(together::<Sha256>(messages, cuts, cpu), want_sha256, "{cpu:?}");
    }
}

#[test]
fn every_short_length_is_hashed_right_alone_and_among_others() {
    for len in short_lens() {
        let message = noise(len, 1);
        compare(&[message], &[usize::MAX]);
    }
    let all: Vec<Vec<u8>> = short_lens().into_iter().map(|len| noise(len, len as u64)).collect();
    compare(&all, &[usize::MAX]);
}

#[test]
fn published_examples_hold() {
    // FIPS 180-4's examples for "abc".
    if SHA1_RUNS {
        let mut seen = Vec::new();
        digests::<Sha1>(&[b"abc"], |hash| seen.push(hash));
        assert_eq!(seen[0][..4], [0xa9, 0x99, 0x3e, 0x36]);
    }
    let mut seen = Vec::new();
    digests::<Sha256>(&[b"abc", b""], |hash| seen.push(hash));
    assert_eq!((seen[0][0], seen[0][31], seen[1][0]), (0xba, 0xad, 0xe3));
}

#[test]
fn each_number_of_messages_is_hashed_right() {
    let counts: Vec<usize> = if cfg!(miri) { vec![1, 2, 4, 5, 9] } else { (1..=2 * MAX_LANES + 1).collect() };
    for count in counts {
        let messages: Vec<_> = (0..count as u64).map(|seed| noise(LONG, seed)).collect();
        compare(&messages, &[usize::MAX]);
    }
}

#[test]
fn as_many_go_together_as_is_fastest() {
    let with = |sha, avx2, avx512| {
        let cpu = Cpu { sha, avx2, avx512 };
        let counts = [1, 2, 4, 5, 8];
        let sha1 = counts.map(|count| Sha1::together(cpu, count));
        (cpu.lanes(), sha1, counts.map(|count| Sha256::together(cpu, count)))
    };
    assert_eq!(with(false, false, false), (1, [1; 5], [1; 5]));
    assert_eq!(with(true, true, false), (4, [1, 2, 4, 4, 4], [1, 2, 2, 2, 2]));
    assert_eq!(with(false, true, false), (8, [1, 2, 4, 5, 8], [1, 2, 4, 5, 8]));
    assert_eq!(with(true, true, true), (8, [1, 2, 4, 5, 8], [1, 2, 2, 2, 2]));
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "hours; the tests above reach the same code")]
    fn any_mix_of_messages_and_portions_is_hashed_right(
        lens in prop::collection::vec(prop_oneof![0..200usize, 0..40_000usize], 1..20),
        cuts in prop::collection::vec(prop_oneof![1..200usize, 1..20_000usize, Just(16_384)], 1..7),
        seed in any::<u64>(),
    ) {
        let messages: Vec<_> = lens.iter().zip(seed..).map(|(len, seed)| noise(*len, seed)).collect();
        compare(&messages, &cuts);
    }
}
