//! SHA-1 and SHA-256 of several messages at once.
//!
//! The SHA instructions of x86-64 wait for their own results, so one message uses a fraction of a core:
//! interleaving independent ones gives SHA-1 2.2 times the rate (see `tests/benches`). Messages are
//! [`Stream`]s that advance together with [`update`]; where the instructions are missing, or on other
//! machines, the `sha1` and `sha2` crates do the work, one message after the other.
#[cfg(target_arch = "x86_64")]
mod ni;
#[cfg(test)]
mod tests;

use sha2::digest;
use smallvec::SmallVec;

/// Messages that are worth hashing together with SHA-1: more gain nothing. Two are enough for SHA-256,
/// whose four would not fit the registers.
pub const LANES: usize = 4;
/// Bytes that both algorithms take at a time.
const CHUNK: usize = 64;

/// SHA-1 (FIPS 180-4), which BEP 3 hashes pieces with.
#[derive(Debug)]
pub enum Sha1 {}

/// SHA-256 (FIPS 180-4), which BEP 52 hashes blocks with.
#[derive(Debug)]
pub enum Sha256 {}

/// One of the two algorithms.
pub trait Algorithm: sealed::Core {}

impl Algorithm for Sha1 {}
impl Algorithm for Sha256 {}

mod sealed {
    /// What [`Stream`](super::Stream) is made of.
    pub trait Core {
        /// The chaining value.
        type State: Copy + AsRef<[u32]> + Send + Sync;
        /// The result.
        type Digest: Copy + Eq + Default + AsMut<[u8]> + std::fmt::Debug;
        /// The implementation for machines without the instructions.
        type Fallback: sha2::Digest + Clone + Send + Sync;
        /// Messages to interleave: what measures best.
        const LANES: usize;
        /// The chaining value of an empty message.
        const INITIAL: Self::State;

        /// Takes whole chunks of `N` messages, all of one length. Only called where
        /// [`has_instructions`](super::has_instructions).
        fn compress<const N: usize>(states: &mut [Self::State; N], chunks: [&[u8]; N]);
    }
}

impl sealed::Core for Sha1 {
    type State = [u32; 5];
    type Digest = [u8; 20];
    type Fallback = sha1::Sha1;
    const LANES: usize = LANES;
    const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

    fn compress<const N: usize>(states: &mut [[u32; 5]; N], chunks: [&[u8]; N]) {
        #[cfg(target_arch = "x86_64")]
        ni::sha1(states, chunks);
        #[cfg(not(target_arch = "x86_64"))]
        let _never_called = (states, chunks);
    }
}

impl sealed::Core for Sha256 {
    type State = [u32; 8];
    type Digest = [u8; 32];
    type Fallback = sha2::Sha256;
    const LANES: usize = 2;
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

    fn compress<const N: usize>(states: &mut [[u32; 8]; N], chunks: [&[u8]; N]) {
        #[cfg(target_arch = "x86_64")]
        ni::sha256(states, chunks);
        #[cfg(not(target_arch = "x86_64"))]
        let _never_called = (states, chunks);
    }
}

/// Whether this machine hashes with SHA instructions of ours.
pub fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return ni::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// A message on its way to its hash.
pub struct Stream<A: Algorithm>(Inner<A>);

enum Inner<A: Algorithm> {
    Lane(Lane<A>),
    Fallback(A::Fallback),
}

struct Lane<A: Algorithm> {
    state: A::State,
    /// Bytes of the message so far.
    len: u64,
    /// The last of them, which are no whole chunk: `len % CHUNK` bytes.
    tail: [u8; CHUNK],
}

impl<A: Algorithm> Stream<A> {
    /// An empty message.
    pub fn new() -> Stream<A> {
        Stream::with(has_instructions())
    }

    /// The same with or without the instructions, which must be there if it is with.
    fn with(instructions: bool) -> Stream<A> {
        use digest::Digest;
        Stream(match instructions {
            true => Inner::Lane(Lane { state: A::INITIAL, len: 0, tail: [0; CHUNK] }),
            false => Inner::Fallback(A::Fallback::new()),
        })
    }

    /// The hash of the whole message.
    pub fn finish(self) -> A::Digest {
        let mut out = A::Digest::default();
        match self.0 {
            Inner::Fallback(fallback) => {
                let hash = digest::Digest::finalize(fallback);
                out.as_mut().copy_from_slice(&hash);
            }
            Inner::Lane(mut lane) => {
                let bits = lane.len.wrapping_mul(8);
                let used = lane.used();
                let zeros = (2 * CHUNK - 9 - used) % CHUNK;
                let mut padding = [0; 2 * CHUNK];
                padding[0] = 0x80;
                padding[1 + zeros..9 + zeros].copy_from_slice(&bits.to_be_bytes());
                let rest = lane.fill(&padding[..9 + zeros]);
                lane.compress_alone(rest);
                for (bytes, word) in out.as_mut().chunks_exact_mut(4).zip(lane.state.as_ref()) {
                    bytes.copy_from_slice(&word.to_be_bytes());
                }
            }
        }
        out
    }
}

impl<A: Algorithm> Default for Stream<A> {
    fn default() -> Stream<A> {
        Stream::new()
    }
}

impl<A: Algorithm> Lane<A> {
    /// Bytes of an unfinished chunk.
    fn used(&self) -> usize {
        (self.len % CHUNK as u64) as usize
    }

    /// Completes a chunk that was begun, as far as `input` goes, and returns the rest of it.
    fn fill<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let used = self.used();
        if used == 0 {
            return input;
        }
        let (now, later) = input.split_at(input.len().min(CHUNK - used));
        self.tail[used..used + now.len()].copy_from_slice(now);
        self.len += now.len() as u64;
        if used + now.len() == CHUNK {
            let tail = self.tail;
            A::compress(std::array::from_mut(&mut self.state), [&tail]);
        }
        later
    }

    /// Takes whole chunks.
    fn compress_alone(&mut self, chunks: &[u8]) {
        if !chunks.is_empty() {
            A::compress(std::array::from_mut(&mut self.state), [chunks]);
            self.len += chunks.len() as u64;
        }
    }

    /// Keeps what is no whole chunk.
    fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.tail[..rest.len()].copy_from_slice(rest);
            self.len += rest.len() as u64;
        }
    }
}

/// The next bytes of several messages: as many of each as there are, the same number is not needed but
/// fastest.
pub fn update<A: Algorithm>(streams: &mut [&mut Stream<A>], inputs: &[&[u8]]) {
    let mut lanes: SmallVec<[(&mut Lane<A>, &[u8]); LANES]> = SmallVec::new();
    for (stream, &input) in streams.iter_mut().zip(inputs) {
        match &mut stream.0 {
            Inner::Fallback(fallback) => digest::Digest::update(fallback, input),
            Inner::Lane(lane) => {
                let rest = lane.fill(input);
                lanes.push((lane, rest));
            }
        }
    }
    for group in lanes.chunks_mut(A::LANES) {
        advance(group);
    }
    for (lane, rest) in lanes {
        lane.keep(rest);
    }
}

/// Takes all whole chunks, of as many messages at a time as have any.
fn advance<A: Algorithm>(group: &mut [(&mut Lane<A>, &[u8])]) {
    loop {
        let mut ready: SmallVec<[&mut (&mut Lane<A>, &[u8]); LANES]> =
            group.iter_mut().filter(|(_, rest)| rest.len() >= CHUNK).collect();
        let Some(len) = ready.iter().map(|(_, rest)| rest.len() / CHUNK * CHUNK).min() else { return };
        match &mut ready[..] {
            [a, b, c, d] => step([a, b, c, d], len),
            [a, b, c] => step([a, b, c], len),
            [a, b] => step([a, b], len),
            others => others.iter_mut().for_each(|one| step([one], len)),
        }
    }
}

/// Takes `len` bytes, whole chunks, of each of `N` messages.
fn step<A: Algorithm, const N: usize>(lanes: [&mut (&mut Lane<A>, &[u8]); N], len: usize) {
    let chunks: [&[u8]; N] = std::array::from_fn(|n| &lanes[n].1[..len]);
    let mut states: [A::State; N] = std::array::from_fn(|n| lanes[n].0.state);
    A::compress(&mut states, chunks);
    for ((lane, rest), state) in lanes.into_iter().zip(states) {
        lane.state = state;
        lane.len += len as u64;
        *rest = &rest[len..];
    }
}

/// Calls `each` with the hash of every message, in order.
pub fn digests<A: Algorithm>(messages: &[&[u8]], mut each: impl FnMut(A::Digest)) {
    for group in messages.chunks(A::LANES) {
        let mut streams: SmallVec<[Stream<A>; LANES]> = group.iter().map(|_| Stream::new()).collect();
        update(&mut streams.iter_mut().collect::<SmallVec<[_; LANES]>>(), group);
        streams.into_iter().for_each(|stream| each(stream.finish()));
    }
}
