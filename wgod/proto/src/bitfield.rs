//! A set of pieces (or of blocks of one piece), stored 64 to a word, with the word-wise operations
//! that keep availability and interest cheap at 100,000 pieces (BEP 3, `bitfield`).
//!
//! Called by core for what we and each peer have, and by the store for what is durable.
use std::fmt;
use std::ops::Range;

const WORD_BITS: u32 = u64::BITS;

/// A fixed number of bits, each `false` at first, addressed from 0.
///
/// Bit `i` is bit `63 - i % 64` of word `i / 64`, so that the words in big-endian order are the
/// bytes of the wire. Bits past `len` are zero in every word. Reading past the end gives `false`,
/// writing there changes nothing. The number of ones is kept, so counting is O(1).
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    words: Box<[u64]>,
    len: u32,
    ones: u32,
}

/// Why bytes are not the bitfield of this torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// Not exactly one bit a piece, rounded up to bytes.
    #[error("bitfield has {found} bytes, {bits} pieces take {expected}")]
    WrongLength {
        /// Bits that the set holds.
        bits: u32,
        /// Bytes that these take.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A bit past the last piece is set; BEP 3 wants spare bits zero.
    #[error("bitfield of {bits} pieces ends in byte {last_byte:#04x}, its spare bits must be zero")]
    SpareBitSet {
        /// Bits that the set holds.
        bits: u32,
        /// The last byte, as it came.
        last_byte: u8,
    },
}

impl Bitfield {
    /// `len` zeros.
    pub fn new(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(WORD_BITS) as usize].into(), len, ones: 0 }
    }

    /// `len` ones.
    pub fn full(len: u32) -> Self {
        let mut all = Self { words: vec![u64::MAX; len.div_ceil(WORD_BITS) as usize].into(), len, ones: len };
        all.mask_spare_bits();
        all
    }

    /// Bytes of a set of `len` bits on the wire: one bit each, rounded up.
    pub const fn wire_len(len: u32) -> usize {
        len.div_ceil(8) as usize
    }

    /// Reads the payload of a `bitfield` message: bit 0 is the high bit of the first byte (BEP 3).
    ///
    /// Fails unless the length is exactly [`wire_len`](Self::wire_len) and the spare bits are zero.
    pub fn from_wire(bytes: &[u8], len: u32) -> Result<Self, BitfieldError> {
        let expected = Self::wire_len(len);
        if bytes.len() != expected {
            return Err(BitfieldError::WrongLength { bits: len, expected, found: bytes.len() });
        }
        let spare = len.wrapping_neg() % 8;
        let last_byte = bytes.last().copied().unwrap_or(0);
        if last_byte.trailing_zeros() < spare {
            return Err(BitfieldError::SpareBitSet { bits: len, last_byte });
        }
        let words = bytes.chunks(8).map(|eight| {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            u64::from_be_bytes(word)
        });
        let mut set = Self { words: words.collect(), len, ones: 0 };
        set.recount();
        Ok(set)
    }

    /// The payload of a `bitfield` message: what [`from_wire`](Self::from_wire) reads.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(Self::wire_len(self.len));
        bytes
    }

    /// Bits in the set, ones and zeros.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Ones in the set. O(1).
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Zeros in the set. O(1).
    pub fn count_zeros(&self) -> u32 {
        self.len - self.ones
    }

    /// Whether every bit is one; true of a set of no bits. O(1).
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether no bit is one (not whether `len` is 0). O(1).
    pub fn is_empty(&self) -> bool {
        self.ones == 0
    }

    /// Bit `index`; `false` past the end.
    pub fn get(&self, index: u32) -> bool {
        let (word, bit) = place(index);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// Makes bit `index` one. Returns whether that changed it.
    pub fn set(&mut self, index: u32) -> bool {
        let changes = index < self.len && !self.get(index);
        if changes {
            let (word, bit) = place(index);
            self.words[word] |= bit;
            self.ones += 1;
        }
        changes
    }

    /// Makes bit `index` zero. Returns whether that changed it.
    pub fn clear(&mut self, index: u32) -> bool {
        let changes = self.get(index);
        if changes {
            let (word, bit) = place(index);
            self.words[word] &= !bit;
            self.ones -= 1;
        }
        changes
    }

    /// Makes every bit of `range` one; what lies past the end is ignored.
    pub fn set_range(&mut self, range: Range<u32>) {
        self.each_word_of(range, |word, mask| *word |= mask);
    }

    /// Makes every bit of `range` zero; what lies past the end is ignored.
    pub fn clear_range(&mut self, range: Range<u32>) {
        self.each_word_of(range, |word, mask| *word &= !mask);
    }

    /// Makes every bit one.
    pub fn set_all(&mut self) {
        self.words.fill(u64::MAX);
        self.mask_spare_bits();
        self.ones = self.len;
    }

    /// Makes every bit zero.
    pub fn clear_all(&mut self) {
        self.words.fill(0);
        self.ones = 0;
    }

    /// Adds the ones of `other`. Here and below, the shorter set counts as followed by zeros.
    pub fn union_with(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine | theirs);
    }

    /// Keeps only the ones that `other` has too.
    pub fn intersect_with(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine & theirs);
    }

    /// Takes away the ones of `other`.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine & !theirs);
    }

    /// How many ones both sets have.
    pub fn count_and(&self, other: &Self) -> u32 {
        self.words_and(other).map(u64::count_ones).sum()
    }

    /// How many ones this set has and `other` has not.
    pub fn count_and_not(&self, other: &Self) -> u32 {
        self.words_and_not(other).map(u64::count_ones).sum()
    }

    /// The ones that both sets have, ascending.
    pub fn iter_and<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        bits(self.words_and(other))
    }

    /// The ones that this set has and `other` has not, ascending.
    pub fn iter_and_not<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        bits(self.words_and_not(other))
    }

    /// The ones, ascending.
    pub fn iter_ones(&self) -> impl Iterator<Item = u32> + '_ {
        bits(self.words.iter().copied())
    }

    /// The zeros, ascending.
    pub fn iter_zeros(&self) -> impl Iterator<Item = u32> + '_ {
        let len = self.len;
        bits(self.words.iter().map(|word| !word)).take_while(move |&index| index < len)
    }

    /// The lowest one.
    pub fn first_one(&self) -> Option<u32> {
        self.iter_ones().next()
    }

    /// The lowest zero.
    pub fn first_zero(&self) -> Option<u32> {
        self.iter_zeros().next()
    }

    /// The lowest one that both sets have.
    pub fn first_and(&self, other: &Self) -> Option<u32> {
        self.iter_and(other).next()
    }

    /// The lowest one that this set has and `other` has not.
    pub fn first_and_not(&self, other: &Self) -> Option<u32> {
        self.iter_and_not(other).next()
    }

    /// The lowest one at or after `from`.
    pub fn next_one(&self, from: u32) -> Option<u32> {
        self.ones_from(from).next()
    }

    /// The ones at or after `from`, ascending.
    pub fn ones_from(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        let start = ((from / WORD_BITS) as usize).min(self.words.len());
        let keep = u64::MAX >> (from % WORD_BITS);
        let words = self.words[start..].iter().enumerate();
        let masked = words.map(move |(at, &word)| if at == 0 { word & keep } else { word });
        bits(masked).map(move |index| index + start as u32 * WORD_BITS)
    }

    /// The words, high bit first; spare bits of the last are zero.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Panics where the kept count or the spare bits are wrong; for tests and debug builds.
    pub fn check_invariants(&self) {
        assert_eq!(self.words.len(), self.len.div_ceil(WORD_BITS) as usize);
        assert_eq!(self.ones, self.words.iter().map(|w| w.count_ones()).sum::<u32>());
        assert!(self.iter_ones().all(|index| index < self.len));
    }

    fn words_and<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        self.words.iter().zip(&other.words).map(|(a, b)| a & b)
    }

    fn words_and_not<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter().zip(others).map(|(a, b)| a & !b)
    }

    fn combine(&mut self, other: &Self, op: impl Fn(u64, u64) -> u64) {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        for (mine, theirs) in self.words.iter_mut().zip(others) {
            *mine = op(*mine, theirs);
        }
        self.mask_spare_bits();
        self.recount();
    }

    fn each_word_of(&mut self, range: Range<u32>, change: impl Fn(&mut u64, u64)) {
        let end = range.end.min(self.len);
        let mut at = range.start;
        while at < end {
            let word = &mut self.words[(at / WORD_BITS) as usize];
            let first = at % WORD_BITS;
            let last = (end - (at - first)).min(WORD_BITS);
            let before = word.count_ones();
            change(word, (u64::MAX >> first) & (u64::MAX << (WORD_BITS - last)));
            self.ones = self.ones - before + word.count_ones();
            at = at - first + last;
        }
    }

    fn mask_spare_bits(&mut self) {
        let used = self.len % WORD_BITS;
        if let Some(last) = self.words.last_mut().filter(|_| used != 0) {
            *last &= u64::MAX << (WORD_BITS - used);
        }
    }

    fn recount(&mut self) {
        self.ones = self.words.iter().map(|word| word.count_ones()).sum();
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({} of {})", self.ones, self.len)
    }
}

fn place(index: u32) -> (usize, u64) {
    ((index / WORD_BITS) as usize, 1 << (WORD_BITS - 1 - index % WORD_BITS))
}

/// Positions of the ones of a row of words, ascending.
fn bits(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    words.enumerate().flat_map(|(number, mut word)| {
        std::iter::from_fn(move || {
            let bit = word.leading_zeros();
            (bit < WORD_BITS).then(|| {
                word &= !(1 << (WORD_BITS - 1 - bit));
                number as u32 * WORD_BITS + bit
            })
        })
    })
}

#[cfg(test)]
mod tests;
