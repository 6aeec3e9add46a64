//! Our kernels against the crates: every length, every mix of lanes, every way to cut a message.
use proptest::prelude::*;
use sha2::Digest;

use super::*;

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
fn together<A: Algorithm>(messages: &[Vec<u8>], cuts: &[usize], instructions: bool) -> Vec<A::Digest> {
    let mut streams: Vec<Stream<A>> = messages.iter().map(|_| Stream::with(instructions)).collect();
    let mut rests: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
    let mut cut = cuts.iter().cycle();
    while rests.iter().any(|rest| !rest.is_empty()) {
        let mut inputs = Vec::new();
        for rest in &mut rests {
            let (now, later) = rest.split_at(rest.len().min(*cut.next().unwrap()));
            inputs.push(now);
            *rest = later;
        }
        update(&mut streams.iter_mut().collect::<Vec<_>>(), &inputs);
    }
    streams.into_iter().map(Stream::finish).collect()
}

fn compare(messages: &[Vec<u8>], cuts: &[usize]) {
    if !has_instructions() {
        eprintln!("SKIPPED: the kernels, for which this CPU has no SHA instructions");
    }
    for instructions in [false, has_instructions()] {
        let wanted: Vec<_> = messages.iter().map(|message| sha1(message)).collect();
        assert_eq!(together::<Sha1>(messages, cuts, instructions), wanted, "{instructions}");
        let wanted: Vec<_> = messages.iter().map(|message| sha256(message)).collect();
        assert_eq!(together::<Sha256>(messages, cuts, instructions), wanted, "{instructions}");
    }
}

#[test]
fn every_short_length_is_hashed_right_alone_and_among_others() {
    for len in 0..300 {
        let message = noise(len, 1);
        compare(&[message], &[usize::MAX]);
    }
    let all: Vec<Vec<u8>> = (0..300).map(|len| noise(len, len as u64)).collect();
    compare(&all, &[usize::MAX]);
}

#[test]
fn published_examples_hold() {
    // FIPS 180-4's examples for "abc".
    let mut seen = Vec::new();
    digests::<Sha1>(&[b"abc"], |hash| seen.push(hash));
    assert_eq!(seen[0][..4], [0xa9, 0x99, 0x3e, 0x36]);
    let mut seen = Vec::new();
    digests::<Sha256>(&[b"abc", b""], |hash| seen.push(hash));
    assert_eq!((seen[0][0], seen[0][31], seen[1][0]), (0xba, 0xad, 0xe3));
}

proptest! {
    #[test]
    fn any_mix_of_messages_and_portions_is_hashed_right(
        lens in prop::collection::vec(prop_oneof![0..200usize, 0..40_000usize], 1..9),
        cuts in prop::collection::vec(prop_oneof![1..200usize, 1..20_000usize, Just(16_384)], 1..7),
        seed in any::<u64>(),
    ) {
        let messages: Vec<_> = lens.iter().zip(seed..).map(|(len, seed)| noise(*len, seed)).collect();
        compare(&messages, &cuts);
    }
}
