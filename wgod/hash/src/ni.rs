//! The compression functions of SHA-1 and SHA-256 on the SHA instructions of x86-64, for `N` messages
//! whose steps are interleaved: while one waits for its result, another's is begun.
//!
//! What the instructions do is in Intel's Software Developer's Manual, volume 2 (SHA1RNDS4 and
//! following). Checked against the crates for every length and mix in `tests`.
#![allow(unsafe_code, reason = "unaligned vector loads, and calls of code for CPUs found at run time")]
use std::arch::x86_64::*;
use std::array::from_fn;

use super::{CHUNK, SHA256_K};

/// One vector for each message.
type Row<const N: usize> = [__m128i; N];

/// Whether this CPU has what the functions below need.
pub(super) fn is_available() -> bool {
    // The standard library keeps the answer: this costs a load.
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse2")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
}

/// Takes whole chunks of `N` messages into their SHA-1 states. Of slices with different lengths, only as
/// many chunks as the shortest has.
///
/// # Panics
/// On a CPU for which [`is_available`] is false.
pub(super) fn sha1<const N: usize>(states: &mut [[u32; 5]; N], data: [&[u8]; N]) {
    assert!(is_available(), "callers ask first");
    // SAFETY: the features that the function is compiled for are there.
    unsafe { sha1_chunks(states, data) }
}

/// The same for SHA-256.
///
/// # Panics
/// On a CPU for which [`is_available`] is false.
pub(super) fn sha256<const N: usize>(states: &mut [[u32; 8]; N], data: [&[u8]; N]) {
    assert!(is_available(), "callers ask first");
    // SAFETY: the features that the function is compiled for are there.
    unsafe { sha256_chunks(states, data) }
}

/// Chunks that all messages have.
fn chunk_count<const N: usize>(data: &[&[u8]; N]) -> usize {
    data.iter().map(|bytes| bytes.len() / CHUNK).min().unwrap_or(0)
}

/// Vector `number` (0 to 3) of a chunk of each message, its bytes in the order of `shuffle`.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn load<const N: usize>(data: &[&[u8]; N], chunk: usize, number: usize, shuffle: __m128i) -> Row<N> {
    let start = chunk * CHUNK + number * 16;
    let mut row = [_mm_setzero_si128(); N];
    for (vector, message) in row.iter_mut().zip(data) {
        debug_assert!(start + 16 <= message.len());
        // SAFETY: `chunk` is below `chunk_count` and `number` below 4, so 16 bytes from `start` lie inside
        // the slice; the load takes any address.
        *vector = _mm_shuffle_epi8(unsafe { _mm_loadu_si128(message.as_ptr().add(start).cast()) }, shuffle);
    }
    row
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn sha1_chunks<const N: usize>(states: &mut [[u32; 5]; N], data: [&[u8]; N]) {
    // Big-endian words, the first one in the highest place.
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let word = |n: usize, at: usize| states[n][at] as i32;
    let mut abcd: Row<N> = from_fn(|n| _mm_set_epi32(word(n, 0), word(n, 1), word(n, 2), word(n, 3)));
    let mut e: Row<N> = from_fn(|n| _mm_set_epi32(word(n, 4), 0, 0, 0));
    for chunk in 0..chunk_count(&data) {
        let (abcd_before, e_before) = (abcd, e);
        let mut w = [
            load(&data, chunk, 0, order),
            load(&data, chunk, 1, order),
            load(&data, chunk, 2, order),
            load(&data, chunk, 3, order),
        ];
        // What the next four rounds get as `e`: that of now, turned, is that of four rounds on.
        let mut before = abcd;
        for n in 0..N {
            abcd[n] = _mm_sha1rnds4_epu32::<0>(abcd[n], _mm_add_epi32(e[n], w[0][n]));
        }
        // Four rounds with function `$f` on words that are there.
        macro_rules! rounds {
            ($f:literal: $($word:literal)+) => {$(
                for n in 0..N {
                    let with_e = _mm_sha1nexte_epu32(before[n], w[$word][n]);
                    before[n] = abcd[n];
                    abcd[n] = _mm_sha1rnds4_epu32::<$f>(abcd[n], with_e);
                }
            )+};
        }
        // Makes the next four words of the schedule in place of the oldest, then does their rounds.
        macro_rules! schedule {
            ($f:literal: $($w0:literal $w1:literal $w2:literal $w3:literal),+) => {$(
                for n in 0..N {
                    let mixed = _mm_xor_si128(_mm_sha1msg1_epu32(w[$w0][n], w[$w1][n]), w[$w2][n]);
                    w[$w0][n] = _mm_sha1msg2_epu32(mixed, w[$w3][n]);
                }
                rounds!($f: $w0);
            )+};
        }
        rounds!(0: 1 2 3);
        schedule!(0: 0 1 2 3);
        schedule!(1: 1 2 3 0, 2 3 0 1, 3 0 1 2, 0 1 2 3, 1 2 3 0);
        schedule!(2: 2 3 0 1, 3 0 1 2, 0 1 2 3, 1 2 3 0, 2 3 0 1);
        schedule!(3: 3 0 1 2, 0 1 2 3, 1 2 3 0, 2 3 0 1, 3 0 1 2);
        for n in 0..N {
            e[n] = _mm_sha1nexte_epu32(before[n], e_before[n]);
            abcd[n] = _mm_add_epi32(abcd[n], abcd_before[n]);
        }
    }
    for n in 0..N {
        states[n] = [
            _mm_extract_epi32::<3>(abcd[n]) as u32,
            _mm_extract_epi32::<2>(abcd[n]) as u32,
            _mm_extract_epi32::<1>(abcd[n]) as u32,
            _mm_extract_epi32::<0>(abcd[n]) as u32,
            _mm_extract_epi32::<3>(e[n]) as u32,
        ];
    }
}

/// Four constants, the first one in the lowest place.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn constants(four: usize) -> __m128i {
    let k = |at: usize| SHA256_K[four * 4 + at] as i32;
    _mm_set_epi32(k(3), k(2), k(1), k(0))
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn sha256_chunks<const N: usize>(states: &mut [[u32; 8]; N], data: [&[u8]; N]) {
    // Big-endian words, the first one in the lowest place.
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let word = |n: usize, at: usize| states[n][at] as i32;
    let mut abef: Row<N> = from_fn(|n| _mm_set_epi32(word(n, 0), word(n, 1), word(n, 4), word(n, 5)));
    let mut cdgh: Row<N> = from_fn(|n| _mm_set_epi32(word(n, 2), word(n, 3), word(n, 6), word(n, 7)));
    for chunk in 0..chunk_count(&data) {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut w = [
            load(&data, chunk, 0, order),
            load(&data, chunk, 1, order),
            load(&data, chunk, 2, order),
            load(&data, chunk, 3, order),
        ];
        // Four rounds on words that are there.
        macro_rules! rounds {
            ($four:literal $word:literal) => {
                let k = constants($four);
                for n in 0..N {
                    let wk = _mm_add_epi32(w[$word][n], k);
                    cdgh[n] = _mm_sha256rnds2_epu32(cdgh[n], abef[n], wk);
                    abef[n] = _mm_sha256rnds2_epu32(abef[n], cdgh[n], _mm_shuffle_epi32::<0x0e>(wk));
                }
            };
        }
        // Makes the next four words of the schedule in place of the oldest, then does their rounds.
        macro_rules! schedule {
            ($($four:literal: $w0:literal $w1:literal $w2:literal $w3:literal),+) => {$(
                for n in 0..N {
                    let shifted = _mm_alignr_epi8::<4>(w[$w3][n], w[$w2][n]);
                    let mixed = _mm_add_epi32(_mm_sha256msg1_epu32(w[$w0][n], w[$w1][n]), shifted);
                    w[$w0][n] = _mm_sha256msg2_epu32(mixed, w[$w3][n]);
                }
                rounds!($four $w0);
            )+};
        }
        rounds!(0 0);
        rounds!(1 1);
        rounds!(2 2);
        rounds!(3 3);
        schedule!(4: 0 1 2 3, 5: 1 2 3 0, 6: 2 3 0 1, 7: 3 0 1 2);
        schedule!(8: 0 1 2 3, 9: 1 2 3 0, 10: 2 3 0 1, 11: 3 0 1 2);
        schedule!(12: 0 1 2 3, 13: 1 2 3 0, 14: 2 3 0 1, 15: 3 0 1 2);
        for n in 0..N {
            abef[n] = _mm_add_epi32(abef[n], abef_before[n]);
            cdgh[n] = _mm_add_epi32(cdgh[n], cdgh_before[n]);
        }
    }
    for n in 0..N {
        states[n] = [
            _mm_extract_epi32::<3>(abef[n]) as u32,
            _mm_extract_epi32::<2>(abef[n]) as u32,
            _mm_extract_epi32::<3>(cdgh[n]) as u32,
            _mm_extract_epi32::<2>(cdgh[n]) as u32,
            _mm_extract_epi32::<1>(abef[n]) as u32,
            _mm_extract_epi32::<0>(abef[n]) as u32,
            _mm_extract_epi32::<1>(cdgh[n]) as u32,
            _mm_extract_epi32::<0>(cdgh[n]) as u32,
        ];
    }
}
