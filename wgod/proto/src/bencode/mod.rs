//! Bencode (BEP 3, BEP 52): a strict, iterative validator, a borrowed view of what it accepted, and an
//! encoder.
//!
//! Everything from outside that is bencoded (torrent files, extension messages, tracker responses, DHT
//! packets) passes [`parse`] or [`parse_prefix`] first. The validator needs one pass, a fixed stack and no
//! allocation, so neither 10 MB of torrent nor 20,000 nested lists cost more than their bytes.
//!
//! What is refused: a leading zero, `-0`, an integer beyond 64 bits, a string longer than the input, a
//! dictionary key that is not a string or has no value, nesting deeper than [`MAX_DEPTH`], and bytes after
//! the value (but see [`parse_prefix`]).
//!
//! What is tolerated: **dictionary keys out of order**, because torrents in the wild have them and the
//! info-hash is taken over the bytes as they came. Where order carries meaning, callers ask
//! [`Dict::ascending`]. **Of duplicate keys the first counts** for [`Dict::get`], and [`Dict::pick`]
//! refuses them.
mod encode;
mod lexer;
#[cfg(test)]
mod tests;
mod value;

pub use encode::{DictEncoder, Encoder, ListEncoder};
use lexer::Lexer;
pub use lexer::Token;
pub use value::{Dict, Kind, List, Tokens, Value};

/// Containers that may lie inside one another. Real torrents nest by their folders, messages by four.
pub const MAX_DEPTH: usize = 100;

/// Why bytes are not acceptable bencode, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {at}")]
pub struct BencodeError {
    /// What is wrong.
    pub fault: Fault,
    /// Offset of the wrong byte, or of the token it belongs to, in the parsed bytes.
    pub at: usize,
}

/// What is wrong with a piece of bencode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The input ends inside a value, or is empty.
    #[error("the bencoding ends too early")]
    Truncated,
    /// No value starts with this byte.
    #[error("unexpected byte 0x{found:02x} in bencoding")]
    UnexpectedByte {
        /// The byte.
        found: u8,
    },
    /// Not digits, a leading zero, `-0`, or more than 64 bits.
    #[error("malformed integer")]
    Integer,
    /// A string's length has a leading zero, too many digits, or no colon.
    #[error("malformed string length")]
    StringLength,
    /// A string claims more bytes than the input has left.
    #[error("a string of {claimed} bytes, of which only {left} are there,")]
    StringTooLong {
        /// Bytes that the prefix claims.
        claimed: u64,
        /// Bytes left in the input.
        left: usize,
    },
    /// A dictionary key is not a string.
    #[error("a dictionary key that is not a string")]
    KeyNotString,
    /// A dictionary ends after a key.
    #[error("a dictionary key without a value")]
    KeyWithoutValue,
    /// More than [`MAX_DEPTH`] containers inside one another.
    #[error("more than {MAX_DEPTH} nested lists and dictionaries")]
    TooDeep,
    /// Only from [`Dict::pick`]: the key was there before.
    #[error("`{key}` for the second time")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Bytes follow the value.
    #[error("{count} bytes after the end of the bencoding")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Validates `input`, which must be exactly one value, and returns a view of it.
pub fn parse(input: &[u8]) -> Result<Value<'_>, BencodeError> {
    let value = parse_prefix(input)?;
    match input.len() - value.span().end {
        0 => Ok(value),
        count => Err(BencodeError { fault: Fault::Trailing { count }, at: value.span().end }),
    }
}

/// Validates the value that `input` begins with; what follows it is `&input[value.span().end..]`.
///
/// For messages that carry raw bytes after the dictionary (`ut_metadata`, BEP 9).
pub fn parse_prefix(input: &[u8]) -> Result<Value<'_>, BencodeError> {
    let end = validate(input)?;
    Ok(Value::vetted(input, 0..end))
}

/// What the innermost open container takes next.
#[derive(Clone, Copy)]
enum Expect {
    Item,
    Key,
    ValueOfKey,
}

/// The end of the value that `input` begins with.
fn validate(input: &[u8]) -> Result<usize, BencodeError> {
    let mut lexer = Lexer::new(input, 0);
    let mut open = [Expect::Item; MAX_DEPTH];
    let mut depth = 0;
    loop {
        let at = lexer.at();
        let fail = |fault| Err(BencodeError { fault, at });
        let token = lexer.next_token()?;
        if let Some(expect) = open[..depth].last_mut() {
            match (*expect, &token) {
                (Expect::Item, _) | (Expect::Key, Token::End) => {}
                (Expect::Key, Token::Bytes(_)) => {
                    *expect = Expect::ValueOfKey;
                    continue;
                }
                (Expect::Key, _) => return fail(Fault::KeyNotString),
                (Expect::ValueOfKey, Token::End) => return fail(Fault::KeyWithoutValue),
                (Expect::ValueOfKey, _) => *expect = Expect::Key,
            }
        }
        match token {
            Token::Int(_) | Token::Bytes(_) => {}
            Token::End if depth == 0 => return fail(Fault::UnexpectedByte { found: b'e' }),
            Token::End => depth -= 1,
            Token::List | Token::Dict => {
                let Some(slot) = open.get_mut(depth) else { return fail(Fault::TooDeep) };
                *slot = if token == Token::Dict { Expect::Key } else { Expect::Item };
                depth += 1;
            }
        }
        if depth == 0 {
            return Ok(lexer.at());
        }
    }
}

/// Why [`vetted`] gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VettedError {
    /// Not acceptable bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// Bencode, but not of the wanted shape.
    #[error("unexpected shape: {reason}")]
    Shape {
        /// What `serde_bencode` says.
        reason: String,
    },
}

/// Validates `input` and reads it as a `T` through `serde_bencode`, which by itself neither bounds its
/// recursion nor notices malformed integers and trailing bytes.
///
/// It refuses a *struct* whose dictionary has a key that is not UTF-8, known to `T` or not, and copies
/// every string it meets: fit for small dictionaries with a fixed set of keys.
pub fn vetted<T: serde::de::DeserializeOwned>(input: &[u8]) -> Result<T, VettedError> {
    parse(input)?;
    serde_bencode::from_bytes(input).map_err(|error| VettedError::Shape { reason: error.to_string() })
}
