//! A borrowed view of validated bencode. Nothing is copied and no tree is built: a [`Value`] is a span of
//! the input, and looking into it reads the input again.
use super::lexer::{Lexer, Token};
use super::{BencodeError, Fault};
use std::ops::Range;

/// One value inside a validated buffer. Copying it is free.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    buf: &'a [u8],
    start: usize,
    end: usize,
}

/// What a [`Value`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signed integer of 64 bits.
    Int,
    /// A byte string.
    Bytes,
    /// A list.
    List,
    /// A dictionary.
    Dict,
}

impl<'a> Value<'a> {
    /// `span` must be one valid value of `buf`.
    pub(super) fn vetted(buf: &'a [u8], span: Range<usize>) -> Self {
        Value { buf, start: span.start, end: span.end }
    }

    /// Where the value lies in the buffer that was parsed.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The value's bytes as they came; what an info-hash is taken over.
    pub fn raw(&self) -> &'a [u8] {
        self.buf.get(self.span()).unwrap_or_default()
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.raw().first() {
            Some(b'i') => Kind::Int,
            Some(b'l') => Kind::List,
            Some(b'd') => Kind::Dict,
            _ => Kind::Bytes,
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self.token() {
            Some(Token::Int(value)) => Some(value),
            _ => None,
        }
    }

    /// The string's bytes, if it is a string.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self.token() {
            Some(Token::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The string as text, if it is a string of valid UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<List<'a>> {
        (self.kind() == Kind::List).then_some(List(*self))
    }

    /// The dictionary, if it is one.
    pub fn as_dict(&self) -> Option<Dict<'a>> {
        (self.kind() == Kind::Dict).then_some(Dict(*self))
    }

    /// Every token of the value in order, for walks that must stay linear at any depth.
    pub fn tokens(&self) -> Tokens<'a> {
        Tokens { lexer: self.lexer(0), end: self.end }
    }

    fn lexer(&self, skip: usize) -> Lexer<'a> {
        Lexer::new(self.buf, self.start + skip)
    }

    fn token(&self) -> Option<Token<'a>> {
        self.lexer(0).next_token().ok()
    }

    /// The value that `lexer` stands at, passing it; `None` at the end of a container.
    fn take(lexer: &mut Lexer<'a>) -> Option<Value<'a>> {
        let (buf, start) = (lexer.buf(), lexer.at());
        if buf.get(start) == Some(&b'e') {
            return None;
        }
        lexer.skip_value().ok()?;
        Some(Value { buf, start, end: lexer.at() })
    }
}

/// A list. Iterating it costs its bytes once.
#[derive(Clone, Copy, Debug)]
pub struct List<'a>(Value<'a>);

impl<'a> List<'a> {
    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut lexer = self.0.lexer(1);
        std::iter::from_fn(move || Value::take(&mut lexer))
    }

    /// The list as the value it is.
    pub fn value(&self) -> Value<'a> {
        self.0
    }
}

/// A dictionary. A look-up costs the bytes up to the entry; whoever wants many keys takes [`Dict::pick`].
#[derive(Clone, Copy, Debug)]
pub struct Dict<'a>(Value<'a>);

impl<'a> Dict<'a> {
    /// The entries in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
        let mut lexer = self.0.lexer(1);
        std::iter::from_fn(move || {
            let key = Value::take(&mut lexer)?.as_bytes()?;
            Some((key, Value::take(&mut lexer)?))
        })
    }

    /// The value of `key`; of several entries the first.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let wanted = key.as_ref();
        self.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value)
    }

    /// The integer at `key`, if there is one.
    pub fn int(&self, key: impl AsRef<[u8]>) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// The string's bytes at `key`, if there is one.
    pub fn bytes(&self, key: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        self.get(key)?.as_bytes()
    }

    /// Whether the keys are in strictly ascending order of their bytes, as BEP 3 demands; then none is
    /// there twice.
    pub fn ascending(&self) -> bool {
        let mut keys = self.iter().map(|(key, _)| key);
        let Some(mut last) = keys.next() else { return true };
        keys.all(|key| std::mem::replace(&mut last, key) < key)
    }

    /// The values of `keys`, found in one pass. One of these keys given twice is an error: programs
    /// disagree on which of the two counts.
    pub fn pick<const N: usize>(&self, keys: [&str; N]) -> Result<[Option<Value<'a>>; N], BencodeError> {
        let mut found = [None; N];
        for (key, value) in self.iter() {
            let wanted = keys.iter().zip(&mut found).find(|(wanted, _)| wanted.as_bytes() == key);
            let Some((wanted, slot)) = wanted else { continue };
            if slot.replace(value).is_some() {
                let fault = Fault::DuplicateKey { key: (*wanted).to_owned() };
                return Err(BencodeError { fault, at: value.start });
            }
        }
        Ok(found)
    }

    /// The dictionary as the value it is.
    pub fn value(&self) -> Value<'a> {
        self.0
    }
}

/// Walks a value's tokens; see [`Value::tokens`].
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    lexer: Lexer<'a>,
    end: usize,
}

impl<'a> Tokens<'a> {
    /// Offset of the next token in the parsed buffer.
    pub fn at(&self) -> usize {
        self.lexer.at()
    }

    /// The whole value that comes next, passing it; `None` where a container ends.
    pub fn next_value(&mut self) -> Option<Value<'a>> {
        if self.lexer.at() >= self.end {
            return None;
        }
        Value::take(&mut self.lexer)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if self.lexer.at() >= self.end {
            return None;
        }
        self.lexer.next_token().ok()
    }
}
