//! Eight messages on the 256-bit vectors of AVX-512, which has what the algorithms ask for in single
//! instructions: turning words, and any function of three words.
//!
//! Sixteen messages on its 512-bit vectors were as fast on Zen 4, no faster, and ask for twice the pieces.
#![allow(unsafe_code, reason = "calls of code for CPUs found at run time")]
use std::arch::x86_64::*;

use super::avx2::{add, gather, load, scatter, shift_right, splat, xor};
use super::{
    LANES, SHA256_K, Wide, chunk_count, kernels, sha1_round, sha1_rounds, sha256_round, sha256_rounds,
};

/// Eight messages, AVX-512.
#[derive(Debug)]
pub(in super::super) enum Avx512 {}

kernels!(Avx512, "avx2,avx512f,avx512vl", ["avx2" "avx512f" "avx512vl"]);

/// One word of each message.
type Row = __m256i;

/// Tables of functions of three words, as the instruction for them wants it: bit `4x + 2y + z`.
const CHOOSE: i32 = 0b1100_1010;
const XOR: i32 = 0b1001_0110;
const MAJORITY: i32 = 0b1110_1000;

/// By `LEFT` bits; `RIGHT` is what is left of 32.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn rotate_left<const LEFT: i32, const RIGHT: i32>(x: Row) -> Row {
    _mm256_rol_epi32::<LEFT>(x)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn xor3(x: Row, y: Row, z: Row) -> Row {
    _mm256_ternarylogic_epi32::<XOR>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn choose(x: Row, y: Row, z: Row) -> Row {
    _mm256_ternarylogic_epi32::<CHOOSE>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn majority(x: Row, y: Row, z: Row) -> Row {
    _mm256_ternarylogic_epi32::<MAJORITY>(x, y, z)
}
