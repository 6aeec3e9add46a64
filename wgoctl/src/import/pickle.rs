//! Pickles of Python read as the data that they hold. A pickle is a program for a stack machine, which may have
//! Python call anything; here nothing is ever called: an object is whatever state it was given.
//!
//! All values lie in one list and name each other by their places in it, so that however they are nested, shared
//! or going in circles, reading and dropping them takes time and memory by the length of the file.
use std::collections::HashMap;

/// Values of one pickle: far beyond 100,000 torrents, and some 300 MB.
const MAX_VALUES: usize = 8_000_000;

/// Entries of a dictionary that a key is looked for among: an object of Deluge's has some 40.
const MAX_KEYS: usize = 256;

/// The place of a value among all.
type Id = usize;

#[derive(Debug)]
enum Value {
    /// None, and whatever isn't looked at: bytes, classes.
    Other,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Lists, tuples and sets.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An instance of any class, with its state.
    Object(Option<Id>),
}

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

/// One value of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    pickle: &'a Pickle,
    id: Id,
}

impl Pickle {
    /// `None` if it is none, or damaged, or uses what its writers don't.
    pub(super) fn parse(bytes: &[u8]) -> Option<Pickle> {
        let mut machine = Machine { rest: bytes, ..Machine::default() };
        while !machine.step()? {}
        let root = machine.stack.pop()?;
        Some(Pickle { values: machine.values, root })
    }

    pub(super) fn root(&self) -> Node<'_> {
        Node { pickle: self, id: self.root }
    }
}

impl<'a> Node<'a> {
    fn value(self) -> Option<&'a Value> {
        self.pickle.values.get(self.id)
    }

    fn at(self, id: Id) -> Node<'a> {
        Node { pickle: self.pickle, id }
    }

    /// The value of a key of a dictionary, or of an object's attribute.
    pub(super) fn get(self, key: &str) -> Option<Node<'a>> {
        let dict = match self.value()? {
            Value::Object(state) => self.at((*state)?),
            _ => self,
        };
        let Value::Dict(pairs) = dict.value()? else { return None };
        // What was set last counts.
        let mut pairs = pairs.iter().rev().take(MAX_KEYS);
        pairs.find(|(name, _)| self.at(*name).text() == Some(key)).map(|(_, value)| self.at(*value))
    }

    pub(super) fn items(self) -> impl Iterator<Item = Node<'a>> {
        let items: &[Id] = if let Some(Value::List(items)) = self.value() { items } else { &[] };
        items.iter().map(move |id| self.at(*id))
    }

    /// The item at this place of a list.
    pub(super) fn item(self, place: usize) -> Option<Node<'a>> {
        if let Value::List(items) = self.value()? { items.get(place).map(|id| self.at(*id)) } else { None }
    }

    pub(super) fn text(self) -> Option<&'a str> {
        if let Value::Text(text) = self.value()? { Some(text) } else { None }
    }

    pub(super) fn is_true(self) -> bool {
        matches!(self.value(), Some(Value::Bool(true))) || self.number().is_some_and(|number| number != 0.0)
    }

    /// A finite number.
    pub(super) fn number(self) -> Option<f64> {
        let number = match self.value()? {
            Value::Int(number) => *number as f64,
            Value::Float(number) => *number,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// How many values were on the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    /// One instruction; true at the end. Names of instructions are those of Python's `pickletools`.
    fn step(&mut self) -> Option<bool> {
        let op = *self.take(1)?.first()?;
        match op {
            b'.' => return Some(true),
            // PROTO, FRAME
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.stack.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => self.stack.push(*self.stack.last()?),
            b'N' => self.push(Value::Other)?,
            0x88 | 0x89 => self.push(Value::Bool(op == 0x88))?,
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | b'F' | b'G' => self.number(op)?,
            b'S' | b'V' | b'T' | b'U' | b'X' | 0x8c | b'B' | b'C' => self.string(op)?,
            b']' | b')' | 0x8f => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            // LIST and TUPLE, then TUPLE1 to 3
            b'l' | b't' => {
                let items = self.since_mark()?;
                self.push(Value::List(items))?;
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(op - 0x84))?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(pairs(&items)))?;
            }
            b'a' | b'e' | 0x90 | b's' | b'u' => self.fill(op)?,
            b'g' | b'h' | b'j' | b'p' | b'q' | b'r' | 0x94 => self.remember(op)?,
            b'c' | 0x93 | b'i' | b'o' | b'R' | 0x81 | 0x92 | b'b' => self.object(op)?,
            _ => return None,
        }
        Some(false)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let len = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line = self.take(len)?;
        self.take(1)?;
        Some(line)
    }

    /// A little-endian number of so many bytes.
    fn little(&mut self, len: usize) -> Option<u64> {
        Some(self.take(len)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn push(&mut self, value: Value) -> Option<()> {
        if self.values.len() >= MAX_VALUES {
            return None;
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Some(())
    }

    fn pop_many(&mut self, count: usize) -> Option<Vec<Id>> {
        let at = self.stack.len().checked_sub(count)?;
        Some(self.stack.split_off(at))
    }

    fn since_mark(&mut self) -> Option<Vec<Id>> {
        let at = self.marks.pop()?;
        (at <= self.stack.len()).then(|| self.stack.split_off(at))
    }

    fn number(&mut self, op: u8) -> Option<()> {
        let value = match op {
            b'I' | b'L' => match std::str::from_utf8(self.line()?).ok()?.trim_end_matches('L') {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => digits.parse().map_or(Value::Other, Value::Int),
            },
            b'J' => Value::Int(i64::from(self.little(4)? as u32 as i32)),
            b'K' => Value::Int(self.little(1)? as i64),
            b'M' => Value::Int(self.little(2)? as i64),
            0x8a => {
                let len = self.little(1)? as usize;
                let bytes = self.take(len)?;
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let start: i64 = if negative { -1 } else { 0 };
                match len {
                    0..=8 => Value::Int(bytes.iter().rev().fold(start, |n, byte| n << 8 | i64::from(*byte))),
                    _ => Value::Other,
                }
            }
            b'F' => Value::Float(std::str::from_utf8(self.line()?).ok()?.parse().ok()?),
            _ => Value::Float(f64::from_be_bytes(self.take(8)?.try_into().ok()?)),
        };
        self.push(value)
    }

    fn string(&mut self, op: u8) -> Option<()> {
        let bytes = match op {
            b'S' | b'V' => {
                let line = self.line()?;
                let quoted = line.strip_prefix(b"'").and_then(|line| line.strip_suffix(b"'"));
                let quoted = quoted.or_else(|| line.strip_prefix(b"\"")?.strip_suffix(b"\""));
                unescaped(if op == b'S' { quoted? } else { line })
            }
            b'U' | 0x8c | b'C' => {
                let len = self.little(1)? as usize;
                self.take(len)?.to_vec()
            }
            _ => {
                let len = self.little(4)? as usize;
                self.take(len)?.to_vec()
            }
        };
        self.push(String::from_utf8(bytes).map_or(Value::Other, Value::Text))
    }

    /// APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
    fn fill(&mut self, op: u8) -> Option<()> {
        let items = match op {
            b'a' => self.pop_many(1)?,
            b's' => self.pop_many(2)?,
            _ => self.since_mark()?,
        };
        match (op, self.values.get_mut(*self.stack.last()?)?) {
            (b'a' | b'e' | 0x90, Value::List(list)) => list.extend(items),
            (b's' | b'u', Value::Dict(dict)) => dict.extend(pairs(&items)),
            // A class of its own that is a list or dictionary.
            (_, Value::Object(_)) => {}
            _ => return None,
        }
        Some(())
    }

    /// GET, BINGET, LONG_BINGET, PUT, BINPUT, LONG_BINPUT, MEMOIZE
    fn remember(&mut self, op: u8) -> Option<()> {
        let key = match op {
            b'g' | b'p' => std::str::from_utf8(self.line()?).ok()?.parse().ok()?,
            b'h' | b'q' => self.little(1)?,
            b'j' | b'r' => self.little(4)?,
            _ => self.memo.len() as u64,
        };
        match op {
            b'g' | b'h' | b'j' => self.stack.push(*self.memo.get(&key)?),
            _ => drop(self.memo.insert(key, *self.stack.last()?)),
        }
        Some(())
    }

    /// GLOBAL, STACK_GLOBAL, INST, OBJ, REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
    fn object(&mut self, op: u8) -> Option<()> {
        match op {
            b'c' | b'i' => {
                self.line()?;
                self.line()?;
                if op == b'i' {
                    self.since_mark()?;
                }
            }
            b'o' => drop(self.since_mark()?),
            0x93 | b'R' | 0x81 => drop(self.pop_many(2)?),
            0x92 => drop(self.pop_many(3)?),
            _ => {
                let state = self.stack.pop()?;
                if let Value::Object(own) = self.values.get_mut(*self.stack.last()?)? {
                    *own = Some(state);
                }
                return Some(());
            }
        }
        self.push(if matches!(op, b'c' | 0x93) { Value::Other } else { Value::Object(None) })
    }
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect()
}

/// A string as Python writes it in a pickle of protocol 0; of escapes those of bytes, which is what it uses.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        let escape = if *byte == b'\\' { rest.split_first() } else { None };
        let Some((kind, tail)) = escape else {
            out.push(*byte);
            continue;
        };
        rest = tail;
        let digits = match kind {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        let hex = rest.get(..digits).filter(|hex| !hex.is_empty());
        let code = hex.and_then(|hex| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (kind, code) {
            (b'x', Some(code)) => out.push(code as u8),
            (_, Some(code)) => {
                let mut buffer = [0; 4];
                let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
            }
            (b'n', None) => out.push(b'\n'),
            (b't', None) => out.push(b'\t'),
            (b'r', None) => out.push(b'\r'),
            (other, None) => out.push(*other),
        }
        if code.is_some() {
            rest = rest.get(digits..).unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"t": [{"ratio": 1.5, "on": True, "n": -3, "name": "ä"}], "again": the list}` by each protocol's opcodes.
    const WRITTEN: &[&[u8]] = &[
        b"(dp0\nS't'\np1\n(lp2\n(dp3\nS'ratio'\np4\nF1.5\nsS'on'\np5\nI01\nsS'n'\np6\nI-3\nsS'name'\np7\nS'\\xc3\\xa4'\np8\nsasS'again'\np9\ng2\ns.",
        b"\x80\x02}q\x00(X\x01\x00\x00\x00tq\x01]q\x02}q\x03(X\x05\x00\x00\x00ratioq\x04G?\xf8\x00\x00\x00\x00\x00\x00X\x02\x00\x00\x00onq\x05\x88X\x01\x00\x00\x00nq\x06J\xfd\xff\xff\xffX\x04\x00\x00\x00nameq\x07X\x02\x00\x00\x00\xc3\xa4q\x08uaX\x05\x00\x00\x00againq\th\x02u.",
        b"\x80\x04\x95A\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01t\x94]\x94}\x94(\x8c\x05ratio\x94G?\xf8\x00\x00\x00\x00\x00\x00\x8c\x02on\x94\x88\x8c\x01n\x94J\xfd\xff\xff\xff\x8c\x04name\x94\x8c\x02\xc3\xa4\x94ua\x8c\x05again\x94h\x02u.",
    ];

    #[test]
    fn values_of_each_protocol_are_read() {
        for bytes in WRITTEN {
            let pickle = Pickle::parse(bytes).unwrap();
            for key in ["t", "again"] {
                let one = pickle.root().get(key).unwrap().items().next().unwrap();
                let number = |key| one.get(key).and_then(Node::number);
                assert_eq!((number("ratio"), number("n")), (Some(1.5), Some(-3.0)));
                assert!(one.get("on").unwrap().is_true());
                assert_eq!(one.get("name").unwrap().text(), Some("ä"));
            }
        }
    }

    #[test]
    fn objects_are_their_state_and_nothing_is_called() {
        // os.system("touch /x"), with a state; then the same as an old class.
        for bytes in [
            &b"cos\nsystem\n(S'touch /x'\ntR(dS'a'\nI5\nsb."[..],
            b"(ios\nsystem\n(dS'a'\nI5\nsb.",
            b"\x80\x02cx\nY\n)\x81}U\x01aK\x05sb.",
        ] {
            let pickle = Pickle::parse(bytes).unwrap();
            assert_eq!(pickle.root().get("a").and_then(Node::number), Some(5.0));
        }
    }

    #[test]
    fn circles_bombs_and_damage_do_no_harm() {
        // A list in itself.
        let circle = Pickle::parse(b"]q\x00h\x00a.").unwrap();
        assert_eq!(circle.root().items().next().unwrap().items().count(), 1);
        // 2^200000 values, if each was copied.
        let bomb = [b"]".to_vec(), b"q\x00]h\x00ah\x00a".repeat(200_000), b".".to_vec()].concat();
        assert_eq!(Pickle::parse(&bomb).unwrap().root().items().count(), 2);
        let deep = [b"(".repeat(1_000_000), b"t".repeat(1_000_000), b".".to_vec()].concat();
        drop(Pickle::parse(&deep).unwrap());
        let many = [b"N".repeat(MAX_VALUES + 1), b".".to_vec()].concat();
        assert!(Pickle::parse(&many).is_none());
        for bytes in WRITTEN {
            for end in 0..bytes.len() {
                assert!(Pickle::parse(&bytes[..end]).is_none());
            }
            for at in 0..bytes.len() {
                for byte in 0..=u8::MAX {
                    let mut changed = bytes.to_vec();
                    changed[at] = byte;
                    drop(Pickle::parse(&changed));
                }
            }
        }
    }
}
