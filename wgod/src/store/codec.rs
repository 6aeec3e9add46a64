//! The form of one stored row: a version byte, tagged fields, a checksum. `rows` says which fields
//! there are.
//!
//! ```text
//! row   = version (1 byte) field* crc32 (4 bytes, little-endian, over everything before it)
//! field = tag (varint) length (varint) payload
//! ```
//!
//! Varints are little-endian base 128. Tags ascend strictly, so a row has one form. A reader keeps
//! the fields it doesn't know and writes them back: within one version, fields are only ever added.
use std::path::PathBuf;

use super::record::NewerFields;

/// The version of the row form that this release writes, and the newest one it reads.
const ROW_VERSION: u8 = 1;

/// Bytes of the checksum at the end of a row.
const CRC_LEN: usize = 4;

/// Why a stored row can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The bytes aren't those that were written.
    #[error("its checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// Stored in the row.
        found: u32,
        /// Of the bytes that are there.
        computed: u32,
    },
    /// The row has a form that this release doesn't know.
    #[error("it has version {found}, this release reads up to {ROW_VERSION}")]
    Version {
        /// The row's version.
        found: u8,
    },
    /// The row ends inside a field.
    #[error("it ends inside field {tag}")]
    Truncated {
        /// The field's tag; 0 where the row ends before one.
        tag: u64,
    },
    /// A field holds what the field can't hold.
    #[error("field {tag} is malformed: {why}")]
    Field {
        /// The field's tag.
        tag: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A field that every row of this kind has isn't there.
    #[error("field {tag} is missing")]
    Missing {
        /// The field's tag.
        tag: u64,
    },
}

/// Appends fields to a row.
pub(super) struct RowWriter {
    row: Vec<u8>,
    last_tag: u64,
}

impl RowWriter {
    pub(super) fn new() -> RowWriter {
        RowWriter { row: vec![ROW_VERSION], last_tag: 0 }
    }

    /// One field; `payload` appends its bytes. Tags must ascend.
    pub(super) fn field(&mut self, tag: u64, payload: impl FnOnce(&mut Payload)) {
        debug_assert!(tag > self.last_tag, "tags ascend: {tag} after {}", self.last_tag);
        self.last_tag = tag;
        let mut bytes = Payload(Vec::new());
        payload(&mut bytes);
        put_varint(&mut self.row, tag);
        put_varint(&mut self.row, bytes.0.len() as u64);
        self.row.extend_from_slice(&bytes.0);
    }

    /// A number, left out when it is 0.
    pub(super) fn number(&mut self, tag: u64, value: u64) {
        if value != 0 {
            self.field(tag, |p| p.varint(value));
        }
    }

    /// A mark, left out when it isn't set.
    pub(super) fn mark(&mut self, tag: u64, set: bool) {
        self.number(tag, u64::from(set));
    }

    /// The finished row, with the fields of a newer release behind our own.
    pub(super) fn finish(mut self, newer: &NewerFields) -> Vec<u8> {
        self.row.extend_from_slice(&newer.0);
        let crc = crc32fast::hash(&self.row);
        self.row.extend_from_slice(&crc.to_le_bytes());
        self.row
    }
}

/// A row of fields that are written already.
pub(super) fn sealed(fields: &[u8]) -> Vec<u8> {
    RowWriter::new().finish(&NewerFields(fields.to_vec()))
}

/// The bytes of one field while it is written.
pub(super) struct Payload(Vec<u8>);

impl Payload {
    pub(super) fn varint(&mut self, value: u64) {
        put_varint(&mut self.0, value);
    }

    /// Signed: zigzag, so that small numbers of either sign are short.
    pub(super) fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Bytes to the end of the field.
    pub(super) fn rest(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.rest(bytes);
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Walks the fields of a row whose version and checksum are right.
pub(super) struct RowReader<'a> {
    rest: &'a [u8],
    last_tag: u64,
    newer: Vec<u8>,
}

impl<'a> RowReader<'a> {
    /// Checks the row's version and checksum.
    pub(super) fn new(row: &'a [u8]) -> Result<RowReader<'a>, RowError> {
        let Some((body, crc)) = row.split_last_chunk::<CRC_LEN>() else {
            return Err(RowError::Truncated { tag: 0 });
        };
        let (found, computed) = (u32::from_le_bytes(*crc), crc32fast::hash(body));
        if found != computed {
            return Err(RowError::Checksum { found, computed });
        }
        match body.split_first() {
            Some((&ROW_VERSION, rest)) => Ok(RowReader { rest, last_tag: 0, newer: Vec::new() }),
            Some((&found, _)) => Err(RowError::Version { found }),
            None => Err(RowError::Truncated { tag: 0 }),
        }
    }

    /// The next field, until the row ends.
    pub(super) fn next_field(&mut self) -> Result<Option<Field<'a>>, RowError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = varint(&mut self.rest).ok_or(RowError::Truncated { tag: 0 })?;
        if tag <= self.last_tag {
            return Err(RowError::Field { tag, why: "out of order" });
        }
        self.last_tag = tag;
        let len = varint(&mut self.rest).ok_or(RowError::Truncated { tag })?;
        let payload = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (payload, rest) = payload.ok_or(RowError::Truncated { tag })?;
        self.rest = rest;
        Ok(Some(Field { tag, payload }))
    }

    /// Keeps a field that this release doesn't know.
    pub(super) fn keep(&mut self, field: &Field<'_>) {
        put_varint(&mut self.newer, field.tag);
        put_varint(&mut self.newer, field.payload.len() as u64);
        self.newer.extend_from_slice(field.payload);
    }

    /// The fields that were kept.
    pub(super) fn into_newer(self) -> NewerFields {
        NewerFields(self.newer)
    }
}

/// One field of a row. Its reading methods consume the payload from the front.
pub(super) struct Field<'a> {
    pub(super) tag: u64,
    payload: &'a [u8],
}

impl<'a> Field<'a> {
    pub(super) fn malformed(&self, why: &'static str) -> RowError {
        RowError::Field { tag: self.tag, why }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// Bytes that are left.
    pub(super) fn len(&self) -> usize {
        self.payload.len()
    }

    pub(super) fn varint(&mut self) -> Result<u64, RowError> {
        varint(&mut self.payload).ok_or_else(|| self.malformed("a number is cut off or too large"))
    }

    pub(super) fn varint_u32(&mut self) -> Result<u32, RowError> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.malformed("a number is above 2^32"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, RowError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// All bytes that are left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.payload)
    }

    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RowError> {
        let len = self.varint()?;
        let parts = usize::try_from(len).ok().and_then(|len| self.payload.split_at_checked(len));
        let (bytes, rest) = parts.ok_or_else(|| self.malformed("longer than the field"))?;
        self.payload = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RowError> {
        let (array, rest) =
            self.payload.split_first_chunk::<N>().ok_or_else(|| self.malformed("too short"))?;
        self.payload = rest;
        Ok(*array)
    }

    pub(super) fn text(&self, bytes: &[u8]) -> Result<String, RowError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.malformed("not UTF-8")),
        }
    }

    /// The field was read to its end.
    pub(super) fn done(&self) -> Result<(), RowError> {
        if self.is_empty() { Ok(()) } else { Err(self.malformed("too long")) }
    }

    pub(super) fn path(&mut self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt;
        PathBuf::from(std::ffi::OsString::from_vec(self.rest().to_vec()))
    }
}

pub(super) fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits || (byte == 0 && shift != 0) {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
