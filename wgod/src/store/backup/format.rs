//! The form of a backup: the rows of every table as one stream that ends in its own checksum.
//!
//! ```text
//! backup = "wgodbak" form (1 byte) frame* sha256 (32 bytes, of everything before it)
//! frame  = kind (1 byte) length (varint) payload
//! ```
//!
//! The frames are a header `H` (a row of `codec`), then of each table a frame `T` with the types of its
//! columns and its name, followed by its records `R`, and `E` with their number. Tables and the keys of
//! each ascend, so a session has one form, and nothing can be in it twice. Varints are those of `codec`.
//!
//! A file from anywhere may claim to be a backup: no length in it is believed beyond what the file holds.
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::BackupError;
use crate::store::codec::{RowReader, RowWriter, put_varint, varint};
use crate::store::record::NewerFields;

/// What every backup begins with.
const MAGIC: [u8; 7] = *b"wgodbak";
/// The form that this release writes, and the newest one that it reads.
pub(in crate::store) const FORM: u8 = 1;
/// Bytes of the checksum at the end.
pub(in crate::store) const SUM_LEN: usize = 32;
/// A frame is read in parts of this size, so that memory follows what the file has.
const READ_BYTES: u64 = 256 << 10;
/// No row is larger: the metainfo of a torrent has to fit into a request of the API.
const MAX_FRAME: u64 = 256 << 20;

const HEADER: u8 = b'H';
const TABLE: u8 = b'T';
const RECORD: u8 = b'R';
const END: u8 = b'E';

mod header {
    pub(super) const SCHEMA: u64 = 1;
    pub(super) const CREATED_AT: u64 = 2;
    pub(super) const RELEASE: u64 = 3;
    pub(super) const SERIAL: u64 = 4;
}

/// What a backup says of itself before its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Header {
    /// Schema of the tables.
    pub(in crate::store) schema: u64,
    /// When it was begun by the clock of the machine, Unix seconds.
    pub(in crate::store) created_at: u64,
    /// Release that made it.
    pub(in crate::store) release: String,
    /// Number of an automatic backup, each higher than those before it; 0 for one that was asked for.
    pub(in crate::store) serial: u64,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut row = RowWriter::new();
        row.number(header::SCHEMA, self.schema);
        row.number(header::CREATED_AT, self.created_at);
        row.field(header::RELEASE, |p| p.rest(self.release.as_bytes()));
        row.number(header::SERIAL, self.serial);
        row.finish(&NewerFields::default())
    }

    fn decode(row: &[u8]) -> Result<Header, BackupError> {
        let malformed = |_| BackupError::Malformed("its header");
        let mut row = RowReader::new(row).map_err(malformed)?;
        let mut out = Header { schema: 0, created_at: 0, release: String::new(), serial: 0 };
        while let Some(mut f) = row.next_field().map_err(malformed)? {
            match f.tag {
                header::SCHEMA => out.schema = f.varint().map_err(malformed)?,
                header::CREATED_AT => out.created_at = f.varint().map_err(malformed)?,
                header::RELEASE => {
                    let bytes = f.rest();
                    out.release = f.text(bytes).map_err(malformed)?;
                }
                header::SERIAL => out.serial = f.varint().map_err(malformed)?,
                // A newer release may tell more.
                _ => drop(f.rest()),
            }
        }
        if out.schema == 0 { Err(BackupError::Malformed("its header names no schema")) } else { Ok(out) }
    }
}

/// Types of a column, as `schema` uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Column {
    /// `u64`: 8 bytes, big-endian, so that bytes sort as numbers do.
    Number,
    /// `&str`.
    Text,
    /// `&[u8]`.
    Bytes,
}

impl Column {
    fn letter(self) -> u8 {
        match self {
            Column::Number => b'n',
            Column::Text => b't',
            Column::Bytes => b'b',
        }
    }

    fn of_letter(letter: u8) -> Result<Column, BackupError> {
        match letter {
            b'n' => Ok(Column::Number),
            b't' => Ok(Column::Text),
            b'b' => Ok(Column::Bytes),
            _ => Err(BackupError::Malformed("a column of an unknown type")),
        }
    }
}

/// A table: its name and what its keys and values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct TableHead {
    pub(in crate::store) name: String,
    pub(in crate::store) key: Column,
    pub(in crate::store) value: Column,
}

/// A part of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Frame {
    Header(Header),
    Table(TableHead),
    Record {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// The number of records.
    End(u64),
}

/// Appends what stands before the first frame.
pub(in crate::store) fn put_magic(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.push(FORM);
}

impl Frame {
    /// Appends the frame.
    pub(in crate::store) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Header(header) => put_frame(out, HEADER, &[&header.encode()]),
            Frame::Table(TableHead { name, key, value }) => {
                put_frame(out, TABLE, &[&[key.letter(), value.letter()], name.as_bytes()]);
            }
            Frame::Record { key, value } => put_record(out, key, value),
            Frame::End(records) => {
                let mut count = Vec::new();
                put_varint(&mut count, *records);
                put_frame(out, END, &[&count]);
            }
        }
    }

    fn read(kind: u8, payload: Vec<u8>) -> Result<Frame, BackupError> {
        match kind {
            HEADER => Header::decode(&payload).map(Frame::Header),
            TABLE => {
                let [key, value, name @ ..] = &payload[..] else {
                    return Err(BackupError::Malformed("a table without a name"));
                };
                let name = std::str::from_utf8(name).map_err(|_| BackupError::Malformed("a table's name"))?;
                let (key, value) = (Column::of_letter(*key)?, Column::of_letter(*value)?);
                Ok(Frame::Table(TableHead { name: name.to_owned(), key, value }))
            }
            RECORD => {
                let mut rest = &payload[..];
                let len = varint(&mut rest).and_then(|len| usize::try_from(len).ok());
                let parts = len.and_then(|len| rest.split_at_checked(len));
                let (key, value) = parts.ok_or(BackupError::Malformed("a record's key"))?;
                Ok(Frame::Record { key: key.to_vec(), value: value.to_vec() })
            }
            END => {
                let mut rest = &payload[..];
                let count = varint(&mut rest).filter(|_| rest.is_empty());
                count.map(Frame::End).ok_or(BackupError::Malformed("its number of records"))
            }
            _ => Err(BackupError::Malformed("a part of an unknown kind")),
        }
    }
}

/// Appends a record, without a copy of it first.
pub(in crate::store) fn put_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let mut len = Vec::new();
    put_varint(&mut len, key.len() as u64);
    put_frame(out, RECORD, &[&len, key, value]);
}

fn put_frame(out: &mut Vec<u8>, kind: u8, payload: &[&[u8]]) {
    out.push(kind);
    put_varint(out, payload.iter().map(|part| part.len() as u64).sum());
    payload.iter().for_each(|part| out.extend_from_slice(part));
}

/// Reads a backup from its beginning, hashing on the way.
pub(in crate::store) struct Reader<R> {
    from: R,
    /// Bytes that are left of the file.
    left: u64,
    hash: Sha256,
}

impl<R: Read> Reader<R> {
    /// A reader of a file of `len` bytes, if it is a backup of a form that is known.
    pub(in crate::store) fn new(from: R, len: u64) -> Result<Reader<R>, BackupError> {
        let mut reader = Reader { from, left: len, hash: Sha256::new() };
        let mut magic = [0; MAGIC.len() + 1];
        match reader.exact(&mut magic) {
            Err(BackupError::CutShort) if len == 0 => return Err(BackupError::Empty),
            Err(BackupError::CutShort) => return Err(BackupError::NotABackup),
            result => result?,
        }
        match magic {
            [begin @ .., _] if begin != MAGIC => Err(BackupError::NotABackup),
            [.., FORM] => Ok(reader),
            [.., found] => Err(BackupError::Form { found }),
        }
    }

    /// The next frame.
    pub(in crate::store) fn next_frame(&mut self) -> Result<Frame, BackupError> {
        let [kind] = self.array()?;
        let len = self.varint()?;
        // The checksum follows everything.
        if len > self.left.saturating_sub(SUM_LEN as u64) {
            return Err(BackupError::CutShort);
        }
        if len > MAX_FRAME {
            return Err(BackupError::Malformed("a part that is too large"));
        }
        let mut payload = Vec::new();
        while (payload.len() as u64) < len {
            let part = READ_BYTES.min(len - payload.len() as u64) as usize;
            let at = payload.len();
            payload.resize(at + part, 0);
            self.exact(&mut payload[at..])?;
        }
        Frame::read(kind, payload)
    }

    /// Checks the sum, which is all that is left.
    pub(in crate::store) fn finish(mut self) -> Result<[u8; SUM_LEN], BackupError> {
        let computed: [u8; SUM_LEN] = self.hash.clone().finalize().into();
        let found = self.array()?;
        match () {
            () if found != computed => Err(BackupError::Checksum),
            () if self.left > 0 => Err(BackupError::Malformed("more follows its checksum")),
            () => Ok(computed),
        }
    }

    fn varint(&mut self) -> Result<u64, BackupError> {
        let mut bytes = Vec::new();
        loop {
            let [byte] = self.array()?;
            bytes.push(byte);
            if byte & 0x80 == 0 || bytes.len() > 10 {
                return varint(&mut &bytes[..]).ok_or(BackupError::Malformed("a length"));
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    fn exact(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        if into.len() as u64 > self.left {
            return Err(BackupError::CutShort);
        }
        self.from.read_exact(into).map_err(|error| match error.kind() {
            // It was shortened while it was read.
            io::ErrorKind::UnexpectedEof => BackupError::CutShort,
            _ => BackupError::read(error),
        })?;
        self.left -= into.len() as u64;
        self.hash.update(into);
        Ok(())
    }
}
