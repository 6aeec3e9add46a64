//! SHA-1 and SHA-256 of several messages at once, and of pieces of torrents.
//!
//! Floor 0 like `wgo-proto`, but for the instructions of one processor or another: a crate of its own, so
//! that the daemon and `wgoctl create` share it, and `wgo-proto` stays without unsafe code.
//!
//! One message uses a fraction of a core, as each step waits for the one before. Messages are [`Stream`]s that
//! advance together with [`update`], as many at a time as the machine's instructions are good for
//! (`kernel`): four take 2.5 times, eight 3.3 times the rate of one (see the bench `hash`).
mod kernel;
#[cfg(target_arch = "x86_64")]
mod ni;
pub mod piece;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use kernel::Cpu;
use smallvec::SmallVec;

/// Messages that any machine hashes together at most.
pub const MAX_LANES: usize = 8;
/// Bytes that both algorithms take at a time.
const CHUNK: usize = 64;

/// Messages that this machine hashes together with profit, [`MAX_LANES`] at most.
pub fn lanes() -> usize {
    Cpu::here().lanes()
}

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
    use super::Cpu;

    /// What [`Stream`](super::Stream) is made of.
    pub trait Core {
        /// The chaining value.
        type State: Copy + AsRef<[u32]> + Send + Sync;
        /// The result.
        type Digest: Copy + Eq + Default + AsMut<[u8]> + std::fmt::Debug;
        /// The chaining value of an empty message.
        const INITIAL: Self::State;

        /// Of `count` messages, which is not 0, how many to compress together next.
        fn together(cpu: Cpu, count: usize) -> usize;

        /// Takes as many whole chunks as the shortest of `messages` has, of each into its state. So many
        /// messages as [`together`](Self::together) said.
        fn compress(cpu: Cpu, states: &mut [Self::State], messages: &[&[u8]]);
    }
}

/// The round constants of SHA-256 (FIPS 180-4, 4.2.2).
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const SHA256_K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// A message on its way to its hash.
pub struct Stream<A: Algorithm> {
    state: A::State,
    /// Bytes of the message so far.
    len: u64,
    /// The last of them, which are no whole chunk: `len % CHUNK` bytes.
    tail: [u8; CHUNK],
}

impl<A: Algorithm> Stream<A> {
    /// An empty message.
    pub fn new() -> Stream<A> {
        Stream { state: A::INITIAL, len: 0, tail: [0; CHUNK] }
    }

    /// The hash of the whole message.
    pub fn finish(mut self) -> A::Digest {
        let bits = self.len.wrapping_mul(8);
        let zeros = (2 * CHUNK - 9 - self.used()) % CHUNK;
        let mut padding = [0; 2 * CHUNK];
        padding[0] = 0x80;
        padding[1 + zeros..9 + zeros].copy_from_slice(&bits.to_be_bytes());
        let cpu = Cpu::here();
        let rest = self.fill(cpu, &padding[..9 + zeros]);
        self.compress(cpu, rest);
        let mut out = A::Digest::default();
        for (bytes, word) in out.as_mut().chunks_exact_mut(4).zip(self.state.as_ref()) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        out
    }

    /// Bytes of an unfinished chunk.
    fn used(&self) -> usize {
        (self.len % CHUNK as u64) as usize
    }

    /// Completes a chunk that was begun, as far as `input` goes, and returns the rest of it.
    fn fill<'a>(&mut self, cpu: Cpu, input: &'a [u8]) -> &'a [u8] {
        let used = self.used();
        if used == 0 {
            return input;
        }
        let (now, later) = input.split_at(input.len().min(CHUNK - used));
        self.keep(now);
        if self.used() == 0 {
            let tail = self.tail;
            self.compress(cpu, &tail);
        }
        later
    }

    /// Takes whole chunks, by itself.
    fn compress(&mut self, cpu: Cpu, chunks: &[u8]) {
        if !chunks.is_empty() {
            A::compress(cpu, std::slice::from_mut(&mut self.state), &[chunks]);
        }
    }

    /// Keeps what is no whole chunk, or completes one.
    fn keep(&mut self, rest: &[u8]) {
        let used = self.used();
        self.tail[used..used + rest.len()].copy_from_slice(rest);
        self.len += rest.len() as u64;
    }
}

impl<A: Algorithm> Default for Stream<A> {
    fn default() -> Stream<A> {
        Stream::new()
    }
}

/// A message, and what is still to be taken of its next bytes.
type Lane<'a, A> = (&'a mut Stream<A>, &'a [u8]);

/// The next bytes of several messages: as many of each as there are, the same number is not needed but
/// fastest.
pub fn update<A: Algorithm>(streams: &mut [&mut Stream<A>], inputs: &[&[u8]]) {
    update_with(Cpu::here(), streams, inputs);
}

/// The same by instructions of these kinds, of those that there are.
pub fn update_with<A: Algorithm>(cpu: Cpu, streams: &mut [&mut Stream<A>], inputs: &[&[u8]]) {
    let mut lanes: SmallVec<[Lane<'_, A>; MAX_LANES]> = SmallVec::new();
    for (stream, &input) in streams.iter_mut().zip(inputs) {
        let rest = stream.fill(cpu, input);
        lanes.push((stream, rest));
    }
    for group in lanes.chunks_mut(MAX_LANES) {
        advance(cpu, group);
    }
    for (stream, rest) in lanes {
        stream.keep(rest);
    }
}

/// Takes all whole chunks, of as many messages at a time as have any and go together.
fn advance<A: Algorithm>(cpu: Cpu, group: &mut [Lane<'_, A>]) {
    loop {
        let ready = group.iter_mut().filter(|(_, rest)| rest.len() >= CHUNK);
        let mut ready: SmallVec<[&mut Lane<'_, A>; MAX_LANES]> = ready.collect();
        if ready.is_empty() {
            return;
        }
        ready.truncate(A::together(cpu, ready.len()));
        let least = ready.iter().map(|(_, rest)| rest.len() / CHUNK * CHUNK).min().unwrap_or(0);
        let mut states: SmallVec<[A::State; MAX_LANES]> =
            ready.iter().map(|(stream, _)| stream.state).collect();
        let chunks: SmallVec<[&[u8]; MAX_LANES]> = ready.iter().map(|(_, rest)| &rest[..least]).collect();
        A::compress(cpu, &mut states, &chunks);
        for ((stream, rest), state) in ready.into_iter().zip(states) {
            stream.state = state;
            stream.len += least as u64;
            *rest = &rest[least..];
        }
    }
}

/// Calls `each` with the hash of every message, in order.
pub fn digests<A: Algorithm>(messages: &[&[u8]], mut each: impl FnMut(A::Digest)) {
    for group in messages.chunks(MAX_LANES) {
        let mut streams: SmallVec<[Stream<A>; MAX_LANES]> = group.iter().map(|_| Stream::new()).collect();
        update(&mut streams.iter_mut().collect::<SmallVec<[_; MAX_LANES]>>(), group);
        streams.into_iter().for_each(|stream| each(stream.finish()));
    }
}
