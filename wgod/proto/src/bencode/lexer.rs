//! The tokens of bencode: the one place that reads its syntax.
use super::{BencodeError, Fault};

/// One token. A dictionary's keys and values alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// An integer.
    Int(i64),
    /// A string, or a dictionary's key.
    Bytes(&'a [u8]),
    /// A list begins.
    List,
    /// A dictionary begins.
    Dict,
    /// The innermost list or dictionary ends.
    End,
}

/// Reads tokens from the front of a buffer; whether they nest properly is the validator's matter.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(buf: &'a [u8], at: usize) -> Self {
        Lexer { buf, at }
    }

    /// The whole buffer.
    pub(super) fn buf(&self) -> &'a [u8] {
        self.buf
    }

    /// Offset of the next token.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn next_token(&mut self) -> Result<Token<'a>, BencodeError> {
        let token = match self.peek()? {
            b'i' => return self.int(),
            b'0'..=b'9' => return self.bytes(),
            b'l' => Token::List,
            b'd' => Token::Dict,
            b'e' => Token::End,
            found => return Err(BencodeError { fault: Fault::UnexpectedByte { found }, at: self.at }),
        };
        self.at += 1;
        Ok(token)
    }

    /// Passes one value of a buffer that is known to be valid.
    pub(super) fn skip_value(&mut self) -> Result<(), BencodeError> {
        let mut depth = 0u32;
        loop {
            match self.next_token()? {
                Token::List | Token::Dict => depth += 1,
                Token::End => depth = depth.saturating_sub(1),
                Token::Int(_) | Token::Bytes(_) => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        let end = BencodeError { fault: Fault::Truncated, at: self.buf.len() };
        self.buf.get(self.at).copied().ok_or(end)
    }

    fn int(&mut self) -> Result<Token<'a>, BencodeError> {
        let wrong = BencodeError { fault: Fault::Integer, at: self.at };
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let first = self.at;
        let mut value = 0i64;
        loop {
            let digit = match self.peek()? {
                b'e' => break,
                byte @ b'0'..=b'9' => i64::from(byte - b'0'),
                _ => return Err(wrong),
            };
            let signed = if negative { -digit } else { digit };
            let Some(longer) = value.checked_mul(10).and_then(|v| v.checked_add(signed)) else {
                return Err(wrong);
            };
            value = longer;
            self.at += 1;
        }
        let digits = self.at - first;
        let leading_zero = self.buf.get(first) == Some(&b'0') && (digits > 1 || negative);
        if digits == 0 || leading_zero {
            return Err(wrong);
        }
        self.at += 1;
        Ok(Token::Int(value))
    }

    fn bytes(&mut self) -> Result<Token<'a>, BencodeError> {
        let start = self.at;
        let wrong = BencodeError { fault: Fault::StringLength, at: start };
        let mut claimed = 0u64;
        loop {
            let digit = match self.peek()? {
                b':' => break,
                byte @ b'0'..=b'9' => u64::from(byte - b'0'),
                _ => return Err(wrong),
            };
            let Some(longer) = claimed.checked_mul(10).and_then(|v| v.checked_add(digit)) else {
                return Err(wrong);
            };
            claimed = longer;
            self.at += 1;
        }
        if self.at - start > 1 && self.buf.get(start) == Some(&b'0') {
            return Err(wrong);
        }
        self.at += 1;
        let rest = self.buf.get(self.at..).unwrap_or_default();
        match usize::try_from(claimed).ok().and_then(|len| rest.get(..len)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(Token::Bytes(bytes))
            }
            None => {
                let fault = Fault::StringTooLong { claimed, left: rest.len() };
                Err(BencodeError { fault, at: start })
            }
        }
    }
}
