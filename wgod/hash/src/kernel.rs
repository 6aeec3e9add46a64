//! Which instructions hash how many messages at once.
//!
//! A kernel for eight messages takes as long for five, so which one is best depends on their number. What has
//! no kernel is done by the `sha1` and `sha2` crates, which know what other machines have.
#[cfg(target_arch = "x86_64")]
use std::array::from_fn;

#[cfg(target_arch = "x86_64")]
use super::ni;
use super::sealed::Core;
#[cfg(target_arch = "x86_64")]
use super::wide::{Avx2, Avx512, Wide};
use super::{CHUNK, MAX_LANES, Sha1, Sha256};

/// Kinds of instructions to compute with, of those that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// SHA-NI: few messages, interleaved.
    pub(super) sha: bool,
    /// Eight messages side by side.
    pub(super) avx2: bool,
    /// The same in fewer steps.
    pub(super) avx512: bool,
}

/// How the kinds compare for an algorithm, measured on Zen 4 (`tests/benches`).
struct Choice {
    /// Messages that SHA-NI interleaves at most: more would not fit the registers.
    interleaved: usize,
    /// Whether AVX-512 takes more than that in less time.
    wide_passes: bool,
}

const SHA1: Choice = Choice { interleaved: 4, wide_passes: true };
const SHA256: Choice = Choice { interleaved: 2, wide_passes: false };

impl Cpu {
    /// All that this machine has.
    pub(super) fn here() -> Cpu {
        #[cfg(target_arch = "x86_64")]
        return Cpu { sha: ni::is_available(), avx2: Avx2::is_available(), avx512: Avx512::is_available() };
        #[cfg(not(target_arch = "x86_64"))]
        return Cpu { sha: false, avx2: false, avx512: false };
    }

    /// Every choice among what this machine has, for whoever proves that all hash alike.
    pub fn choices() -> impl Iterator<Item = Cpu> {
        let here = Cpu::here();
        let all = (0..8).map(|n| Cpu { sha: n & 1 != 0, avx2: n & 2 != 0, avx512: n & 4 != 0 });
        all.filter(move |one| one.sha <= here.sha && one.avx2 <= here.avx2 && one.avx512 <= here.avx512)
    }

    /// Messages that are worth waiting for, to be hashed together.
    pub(super) fn lanes(self) -> usize {
        self.together(MAX_LANES, &SHA1)
    }

    /// Of `count` messages, how many go next.
    fn together(self, count: usize, choice: &Choice) -> usize {
        let most = match self {
            Cpu { avx512: true, .. } if choice.wide_passes && count > choice.interleaved => MAX_LANES,
            Cpu { sha: true, .. } => choice.interleaved,
            Cpu { avx2: true, .. } => MAX_LANES,
            _ => 1,
        };
        count.min(most)
    }
}

impl Core for Sha1 {
    type State = [u32; 5];
    type Digest = [u8; 20];
    const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

    fn together(cpu: Cpu, count: usize) -> usize {
        cpu.together(count, &SHA1)
    }

    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "the crates know"))]
    fn compress(cpu: Cpu, states: &mut [[u32; 5]], messages: &[&[u8]]) {
        #[cfg(target_arch = "x86_64")]
        match messages.len() {
            1 if cpu.sha => return padded(states, messages, ni::sha1::<1>),
            2 if cpu.sha => return padded(states, messages, ni::sha1::<2>),
            3 if cpu.sha => return padded(states, messages, ni::sha1::<3>),
            4 if cpu.sha => return padded(states, messages, ni::sha1::<4>),
            2.. if cpu.avx512 => return padded(states, messages, Avx512::sha1),
            2.. if cpu.avx2 => return padded(states, messages, Avx2::sha1),
            _ => {}
        }
        one_by_one(states, messages, sha1::block_api::compress);
    }
}

impl Core for Sha256 {
    type State = [u32; 8];
    type Digest = [u8; 32];
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    fn together(cpu: Cpu, count: usize) -> usize {
        cpu.together(count, &SHA256)
    }

    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "the crates know"))]
    fn compress(cpu: Cpu, states: &mut [[u32; 8]], messages: &[&[u8]]) {
        #[cfg(target_arch = "x86_64")]
        match messages.len() {
            1 if cpu.sha => return padded(states, messages, ni::sha256::<1>),
            2 if cpu.sha => return padded(states, messages, ni::sha256::<2>),
            2.. if cpu.avx512 => return padded(states, messages, Avx512::sha256),
            2.. if cpu.avx2 => return padded(states, messages, Avx2::sha256),
            _ => {}
        }
        one_by_one(states, messages, sha2::block_api::compress256);
    }
}

/// Compresses messages with a kernel for `N`, of which there are no more; idle places repeat the first.
#[cfg(target_arch = "x86_64")]
fn padded<const N: usize, State: Copy>(
    states: &mut [State],
    messages: &[&[u8]],
    kernel: fn(&mut [State; N], [&[u8]; N]),
) {
    debug_assert!(messages.len() <= N && messages.len() == states.len());
    let place = |n: usize| if n < messages.len() { n } else { 0 };
    let mut all: [State; N] = from_fn(|n| states[place(n)]);
    kernel(&mut all, from_fn(|n| messages[place(n)]));
    for (state, after) in states.iter_mut().zip(all) {
        *state = after;
    }
}

/// Compresses messages one after the other.
fn one_by_one<State>(states: &mut [State], messages: &[&[u8]], compress: fn(&mut State, &[[u8; CHUNK]])) {
    let chunks = messages.iter().map(|message| message.len() / CHUNK).min().unwrap_or(0);
    for (state, message) in states.iter_mut().zip(messages) {
        compress(state, &message.as_chunks().0[..chunks]);
    }
}
