//! SHA-1 and SHA-256 of many messages at once, for vector units: element `n` of every vector belongs to
//! message `n`, so each step of the algorithm is done for all of them by one instruction.
//!
//! Eight messages of SHA-1 on AVX-512 pass four on SHA-NI, and AVX2 brings machines without SHA instructions
//! to several times what they do one message after the other. The macros below are the algorithms as
//! FIPS 180-4 writes them; `avx2` and `avx512` say what their words are and how they are added, turned and
//! chosen from. Checked against the crates for every length and mix in `tests`.
mod avx2;
mod avx512;

pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;

use super::{CHUNK, SHA256_K};

/// Words that a vector holds, each of another message.
pub(super) const LANES: usize = 8;

/// The algorithms on one kind of vectors.
pub(super) trait Wide {
    /// Takes whole chunks of all messages into their SHA-1 states. Of slices with different lengths, only as
    /// many chunks as the shortest has.
    ///
    /// # Panics
    /// On a CPU for which [`is_available`](Self::is_available) is false.
    fn sha1(states: &mut [[u32; 5]; LANES], data: [&[u8]; LANES]);

    /// The same for SHA-256.
    fn sha256(states: &mut [[u32; 8]; LANES], data: [&[u8]; LANES]);

    /// Whether this CPU has the instructions.
    fn is_available() -> bool;
}

/// Chunks that all messages have.
fn chunk_count(data: &[&[u8]; LANES]) -> usize {
    data.iter().map(|bytes| bytes.len() / CHUNK).min().unwrap_or(0)
}

/// One of the 80 rounds of SHA-1 (6.1.2), with the step of the message schedule that it needs. The schedule
/// is kept in sixteen vectors, in a circle.
macro_rules! sha1_round {
    ($w:ident $f:ident $k:ident $t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident) => {{
        const T: usize = $t;
        if T >= 16 {
            let mixed = xor3($w[(T + 13) % 16], $w[(T + 8) % 16], $w[(T + 2) % 16]);
            $w[T % 16] = rotate_left::<1, 31>(xor(mixed, $w[T % 16]));
        }
        let sum = add(add($e, add($k, $w[T % 16])), $f($b, $c, $d));
        $e = add(sum, rotate_left::<5, 27>($a));
        $b = rotate_left::<30, 2>($b);
    }};
}

/// Twenty rounds of SHA-1 that share a function and a constant. In place of moving the five words on, each
/// round gets them by other names, which are back in place after five.
macro_rules! sha1_rounds {
    ($w:ident $f:ident $k:literal: $($t:literal)+, $a:ident $b:ident $c:ident $d:ident $e:ident) => {
        let k = splat($k);
        $(
            sha1_round!($w $f k $t, $a $b $c $d $e);
            sha1_round!($w $f k $t + 1, $e $a $b $c $d);
            sha1_round!($w $f k $t + 2, $d $e $a $b $c);
            sha1_round!($w $f k $t + 3, $c $d $e $a $b);
            sha1_round!($w $f k $t + 4, $b $c $d $e $a);
        )+
    };
}

/// One of the 64 rounds of SHA-256 (6.2.2), number `$t + $n`, with its step of the message schedule unless
/// it is one of the first sixteen.
macro_rules! sha256_round {
    (
        $w:ident $t:expr, $first:literal, $n:literal,
        $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident
    ) => {{
        if !$first {
            let (early, late) = ($w[($n + 1) % 16], $w[($n + 14) % 16]);
            let s0 = xor3(rotate_left::<25, 7>(early), rotate_left::<14, 18>(early), shift_right::<3>(early));
            let s1 = xor3(rotate_left::<15, 17>(late), rotate_left::<13, 19>(late), shift_right::<10>(late));
            $w[$n] = add(add(add($w[$n], s0), $w[($n + 9) % 16]), s1);
        }
        let s1 = xor3(rotate_left::<26, 6>($e), rotate_left::<21, 11>($e), rotate_left::<7, 25>($e));
        let sum = add($h, add(splat(SHA256_K[$t + $n]), $w[$n]));
        let t1 = add(add(sum, choose($e, $f, $g)), s1);
        let s0 = xor3(rotate_left::<30, 2>($a), rotate_left::<19, 13>($a), rotate_left::<10, 22>($a));
        $d = add($d, t1);
        $h = add(add(t1, majority($a, $b, $c)), s0);
    }};
}

/// Sixteen rounds of SHA-256.
macro_rules! sha256_rounds {
    (
        $w:ident $t:expr, $first:literal,
        $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident:
        $($n0:literal $n1:literal $n2:literal $n3:literal $n4:literal $n5:literal $n6:literal $n7:literal),+
    ) => {$(
        sha256_round!($w $t, $first, $n0, $a $b $c $d $e $f $g $h);
        sha256_round!($w $t, $first, $n1, $h $a $b $c $d $e $f $g);
        sha256_round!($w $t, $first, $n2, $g $h $a $b $c $d $e $f);
        sha256_round!($w $t, $first, $n3, $f $g $h $a $b $c $d $e);
        sha256_round!($w $t, $first, $n4, $e $f $g $h $a $b $c $d);
        sha256_round!($w $t, $first, $n5, $d $e $f $g $h $a $b $c);
        sha256_round!($w $t, $first, $n6, $c $d $e $f $g $h $a $b);
        sha256_round!($w $t, $first, $n7, $b $c $d $e $f $g $h $a);
    )+};
}

/// Both algorithms with `$features`, and [`Wide`] for `$name`. Where it stands there must be `load` (the
/// sixteen words of a chunk), `gather` and `scatter` (words of the states), `splat`, `add`, `xor`, `xor3`,
/// `choose`, `majority`, `rotate_left`, `shift_right`.
macro_rules! kernels {
    ($name:ident, $features:literal, [$($feature:tt)+]) => {
        impl Wide for $name {
            fn sha1(states: &mut [[u32; 5]; LANES], data: [&[u8]; LANES]) {
                assert!(<$name as Wide>::is_available(), "callers ask first");
                // SAFETY: the features that the function is compiled for are there.
                unsafe { sha1_chunks(states, data) }
            }

            fn sha256(states: &mut [[u32; 8]; LANES], data: [&[u8]; LANES]) {
                assert!(<$name as Wide>::is_available(), "callers ask first");
                // SAFETY: the features that the function is compiled for are there.
                unsafe { sha256_chunks(states, data) }
            }

            fn is_available() -> bool {
                // The standard library keeps the answers: each costs a load.
                true $(&& is_x86_feature_detected!($feature))+
            }
        }

        #[target_feature(enable = $features)]
        fn sha1_chunks(states: &mut [[u32; 5]; LANES], data: [&[u8]; LANES]) {
            let [mut a, mut b, mut c, mut d, mut e] = std::array::from_fn(|word| gather(states, word));
            for chunk in 0..chunk_count(&data) {
                let before = [a, b, c, d, e];
                let mut w = load(&data, chunk);
                sha1_rounds!(w choose 0x5a82_7999: 0 5 10 15, a b c d e);
                sha1_rounds!(w xor3 0x6ed9_eba1: 20 25 30 35, a b c d e);
                sha1_rounds!(w majority 0x8f1b_bcdc: 40 45 50 55, a b c d e);
                sha1_rounds!(w xor3 0xca62_c1d6: 60 65 70 75, a b c d e);
                let mut after = [a, b, c, d, e];
                for (word, before) in after.iter_mut().zip(before) {
                    *word = add(*word, before);
                }
                [a, b, c, d, e] = after;
            }
            scatter(states, [a, b, c, d, e]);
        }

        #[target_feature(enable = $features)]
        fn sha256_chunks(states: &mut [[u32; 8]; LANES], data: [&[u8]; LANES]) {
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] =
                std::array::from_fn(|word| gather(states, word));
            for chunk in 0..chunk_count(&data) {
                let before = [a, b, c, d, e, f, g, h];
                let mut w = load(&data, chunk);
                sha256_rounds!(w 0, true, a b c d e f g h: 0 1 2 3 4 5 6 7, 8 9 10 11 12 13 14 15);
                for t in [16, 32, 48] {
                    sha256_rounds!(w t, false, a b c d e f g h: 0 1 2 3 4 5 6 7, 8 9 10 11 12 13 14 15);
                }
                let mut after = [a, b, c, d, e, f, g, h];
                for (word, before) in after.iter_mut().zip(before) {
                    *word = add(*word, before);
                }
                [a, b, c, d, e, f, g, h] = after;
            }
            scatter(states, [a, b, c, d, e, f, g, h]);
        }
    };
}
use {kernels, sha1_round, sha1_rounds, sha256_round, sha256_rounds};
