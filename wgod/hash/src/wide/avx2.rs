//! Eight messages on the 256-bit vectors of AVX2, which most servers since 2013 have.
#![allow(
    unsafe_code,
    reason = "unaligned vector loads and stores, and calls of code for CPUs found at run time"
)]
use std::arch::x86_64::*;
use std::array::from_fn;

use super::{
    CHUNK, LANES, SHA256_K, Wide, chunk_count, kernels, sha1_round, sha1_rounds, sha256_round, sha256_rounds,
};

/// Eight messages, AVX2.
#[derive(Debug)]
pub(in super::super) enum Avx2 {}

kernels!(Avx2, "avx2", ["avx2"]);

/// One word of each message.
type Row = __m256i;

/// The words of a chunk, each of all messages.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(data: &[&[u8]; LANES], chunk: usize) -> [Row; 16] {
    // Big-endian words. Loops and no closures here: those would be called, once for each vector.
    let order = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let mut words = [_mm256_setzero_si256(); 16];
    for half in 0..2 {
        let start = chunk * CHUNK + half * 32;
        let mut rows = [_mm256_setzero_si256(); LANES];
        for (row, message) in rows.iter_mut().zip(data) {
            debug_assert!(start + 32 <= message.len());
            // SAFETY: `chunk` is below `chunk_count`, so 32 bytes from its beginning and from its middle lie
            // inside the slice; the load takes any address.
            let vector = unsafe { _mm256_loadu_si256(message.as_ptr().add(start).cast()) };
            *row = _mm256_shuffle_epi8(vector, order);
        }
        for (word, row) in words.iter_mut().skip(half * 8).zip(transpose(rows)) {
            *word = row;
        }
    }
    words
}

/// Of eight words of each message, each word of all messages.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(r: [Row; LANES]) -> [Row; LANES] {
    let (a, b) = (four([r[0], r[1], r[2], r[3]]), four([r[4], r[5], r[6], r[7]]));
    [
        _mm256_permute2x128_si256::<0x20>(a[0], b[0]),
        _mm256_permute2x128_si256::<0x20>(a[1], b[1]),
        _mm256_permute2x128_si256::<0x20>(a[2], b[2]),
        _mm256_permute2x128_si256::<0x20>(a[3], b[3]),
        _mm256_permute2x128_si256::<0x31>(a[0], b[0]),
        _mm256_permute2x128_si256::<0x31>(a[1], b[1]),
        _mm256_permute2x128_si256::<0x31>(a[2], b[2]),
        _mm256_permute2x128_si256::<0x31>(a[3], b[3]),
    ]
}

/// Words n and n + 4 of four messages, for n from 0 to 3.
#[inline]
#[target_feature(enable = "avx2")]
fn four(rows: [Row; 4]) -> [Row; 4] {
    let low = [_mm256_unpacklo_epi32(rows[0], rows[1]), _mm256_unpacklo_epi32(rows[2], rows[3])];
    let high = [_mm256_unpackhi_epi32(rows[0], rows[1]), _mm256_unpackhi_epi32(rows[2], rows[3])];
    [
        _mm256_unpacklo_epi64(low[0], low[1]),
        _mm256_unpackhi_epi64(low[0], low[1]),
        _mm256_unpacklo_epi64(high[0], high[1]),
        _mm256_unpackhi_epi64(high[0], high[1]),
    ]
}

/// One word of the states.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn gather<const W: usize>(states: &[[u32; W]; LANES], word: usize) -> Row {
    let words: [u32; LANES] = from_fn(|n| states[n][word]);
    // SAFETY: the array has the 32 bytes that are read; the load takes any address.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

/// Stores all words of the states.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn scatter<const W: usize>(states: &mut [[u32; W]; LANES], rows: [Row; W]) {
    for (word, row) in rows.into_iter().enumerate() {
        let mut words = [0; LANES];
        // SAFETY: the array has the 32 bytes that are written; the store takes any address.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), row) };
        (0..LANES).for_each(|n| states[n][word] = words[n]);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(word: u32) -> Row {
    _mm256_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(x: Row, y: Row) -> Row {
    _mm256_add_epi32(x, y)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn xor(x: Row, y: Row) -> Row {
    _mm256_xor_si256(x, y)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn shift_right<const BITS: i32>(x: Row) -> Row {
    _mm256_srli_epi32::<BITS>(x)
}

/// By `LEFT` bits; `RIGHT` is what is left of 32.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(x: Row) -> Row {
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(x), _mm256_srli_epi32::<RIGHT>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(x: Row, y: Row, z: Row) -> Row {
    xor(xor(x, y), z)
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(x: Row, y: Row, z: Row) -> Row {
    xor(z, _mm256_and_si256(x, xor(y, z)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(x: Row, y: Row, z: Row) -> Row {
    _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
}
