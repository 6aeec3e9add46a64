//! Inputs made of others, for the driver on the stable toolchain: what libFuzzer does, without its eyes.

/// Bytes of the longest input that is made.
pub const MAX_LEN: usize = 4096;

/// Bytes that decoders have opinions about.
const NOTABLE: &[u8] = b"\0\x01\x02\x13\x14\x7f\x80\xfe\xff0129:-deil./\\%&=?[]{}\"\n";

/// An input made of the corpus: one of it, or two spliced, with a few changes.
pub fn mutated(rng: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let one = |rng: &mut fastrand::Rng| rng.choice(corpus).cloned().unwrap_or_default();
    let mut input = one(rng);
    if rng.u8(..) < 32 {
        let other = one(rng);
        input.truncate(rng.usize(..=input.len()));
        input.extend_from_slice(&other[rng.usize(..=other.len())..]);
    }
    for _ in 0..rng.usize(1..=6) {
        change(rng, &mut input);
    }
    input.truncate(MAX_LEN);
    input
}

fn change(rng: &mut fastrand::Rng, input: &mut Vec<u8>) {
    let notable = |rng: &mut fastrand::Rng| rng.choice(NOTABLE).copied().unwrap_or_default();
    if input.is_empty() {
        return input.push(notable(rng));
    }
    let at = rng.usize(..input.len());
    let end = at + rng.usize(..=(input.len() - at).min(16));
    match rng.u8(..9) {
        0 => input[at] ^= 1 << rng.u8(..8),
        1 => input[at] = rng.u8(..),
        2 => input[at] = notable(rng),
        3 => input.insert(at, notable(rng)),
        4 => _ = input.drain(at..end),
        5 => {
            let copy = input[at..end].to_vec();
            let to = rng.usize(..=input.len());
            _ = input.splice(to..to, copy);
        }
        6 => input[at] = input[at].wrapping_add(rng.u8(..).wrapping_sub(128) / 32),
        // Lengths and counts in binary, at their bounds.
        7 => {
            let word = rng.choice([0, 1, 0x7fff_ffff_u32, 0x8000_0000, u32::MAX, 0x0010_0000]).unwrap_or(0);
            let word = word.to_be_bytes();
            let len = word.len().min(input.len() - at);
            input[at..at + len].copy_from_slice(&word[4 - len..]);
        }
        _ => input.truncate(at),
    }
}
