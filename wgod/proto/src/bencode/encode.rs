//! Writes bencode. The structure is closed by construction; that a dictionary's keys ascend is the
//! caller's part, checked in debug builds.
use std::ops::Range;

/// Appends one value to a buffer. Each method writes the value and uses the encoder up.
///
/// ```
/// # use wgo_proto::bencode::Encoder;
/// let mut out = Vec::new();
/// Encoder::new(&mut out).dict(|dict| {
///     dict.entry("msg_type").int(0);
///     dict.entry("piece").int(7);
/// });
/// assert_eq!(out, b"d8:msg_typei0e5:piecei7ee");
/// ```
#[derive(Debug)]
pub struct Encoder<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Encoder<'o> {
    /// An encoder that appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Encoder { out }
    }

    /// An integer.
    pub fn int(self, value: i64) {
        self.out.push(b'i');
        self.out.extend_from_slice(value.to_string().as_bytes());
        self.out.push(b'e');
    }

    /// A string.
    pub fn bytes(self, bytes: impl AsRef<[u8]>) {
        write_bytes(self.out, bytes.as_ref());
    }

    /// A list of what `items` writes.
    pub fn list(self, items: impl FnOnce(&mut ListEncoder<'_>)) {
        self.out.push(b'l');
        items(&mut ListEncoder { out: self.out });
        self.out.push(b'e');
    }

    /// A dictionary of what `entries` writes; keys must ascend strictly.
    pub fn dict(self, entries: impl FnOnce(&mut DictEncoder<'_>)) {
        self.out.push(b'd');
        entries(&mut DictEncoder { out: self.out, last_key: None });
        self.out.push(b'e');
    }

    /// A value that is bencoded already.
    pub fn raw(self, value: &[u8]) {
        self.out.extend_from_slice(value);
    }
}

/// Writes the items of a list.
#[derive(Debug)]
pub struct ListEncoder<'o> {
    out: &'o mut Vec<u8>,
}

impl ListEncoder<'_> {
    /// The next item; the encoder must be used.
    pub fn item(&mut self) -> Encoder<'_> {
        Encoder { out: self.out }
    }
}

/// Writes the entries of a dictionary.
#[derive(Debug)]
pub struct DictEncoder<'o> {
    out: &'o mut Vec<u8>,
    last_key: Option<Range<usize>>,
}

impl DictEncoder<'_> {
    /// The next key; the encoder for its value must be used.
    pub fn entry(&mut self, key: impl AsRef<[u8]>) -> Encoder<'_> {
        let key = key.as_ref();
        let last = self.last_key.take().and_then(|range| self.out.get(range));
        debug_assert!(last.is_none_or(|last| last < key), "keys ascend: {}", key.escape_ascii());
        write_bytes(self.out, key);
        self.last_key = Some(self.out.len() - key.len()..self.out.len());
        Encoder { out: self.out }
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}
