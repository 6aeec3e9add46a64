//! Text from strangers made safe to print: names, paths, client names and tracker messages can hold
//! escape sequences that move the cursor, retitle the terminal or reverse what one reads.
use std::io::{self, Write};

/// Stands for each character that is not printed.
const REPLACEMENT: char = '\u{FFFD}';

/// May this character act on the terminal, or hide what stands beside it?
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}'
            | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}')
}

/// `text` on one line, without control characters and without marks that reorder or hide text.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_hostile(c) { REPLACEMENT } else { c }).collect()
}

/// Like [`clean`], for messages of several lines.
pub fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// JSON on its way to `out`, with the same characters escaped. They can only stand inside of strings, so
/// this changes no value. To be [ended](Self::end).
pub struct JsonSafe<'a> {
    out: &'a mut dyn Write,
    /// Written but not yet looked at: whole characters, since whoever writes JSON writes those.
    pending: Vec<u8>,
}

impl<'a> JsonSafe<'a> {
    /// Bytes that are looked at together: enough that it costs little, and no second copy of megabytes.
    const PART: usize = 64 * 1024;

    /// Nothing is written yet.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, pending: Vec::with_capacity(2 * Self::PART) }
    }

    /// Writes what is left, and a newline.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn end(mut self) -> io::Result<()> {
        self.pending.push(b'\n');
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let json = str::from_utf8(&self.pending).map_err(io::Error::other)?;
        let mut rest = json;
        while let Some((at, hostile)) = first_hostile(rest) {
            self.out.write_all(&rest.as_bytes()[..at])?;
            for unit in hostile.encode_utf16(&mut [0; 2]) {
                write!(self.out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + hostile.len_utf8()..];
        }
        self.out.write_all(rest.as_bytes())?;
        self.pending.clear();
        Ok(())
    }
}

impl Write for JsonSafe<'_> {
    // JSON comes a few bytes at a time, millions of times for thousands of torrents.
    #[inline]
    fn write_all(&mut self, json: &[u8]) -> io::Result<()> {
        if self.pending.len() >= Self::PART {
            self.pass_on()?;
        }
        self.pending.extend_from_slice(json);
        Ok(())
    }

    #[inline]
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        self.write_all(json)?;
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()?;
        self.out.flush()
    }
}

/// The first hostile character but newlines, and where it is.
fn first_hostile(text: &str) -> Option<(usize, char)> {
    let mut at = 0;
    loop {
        at += plain(&text.as_bytes()[at..]);
        let c = text[at..].chars().next()?;
        if c != '\n' && is_hostile(c) {
            return Some((at, c));
        }
        at += c.len_utf8();
    }
}

/// How many bytes at the beginning are printable ASCII and newlines: nearly always all of some MB, so they
/// are looked at many at once, in a way that compilers make vector instructions of.
fn plain(bytes: &[u8]) -> usize {
    const STRIDE: usize = 32;
    let is_plain = |byte: &u8| matches!(byte, b'\n' | b' '..=b'~');
    let strides = bytes.chunks_exact(STRIDE);
    let all_plain = |stride: &&[u8]| stride.iter().fold(true, |all, byte| all & is_plain(byte));
    let begun = strides.take_while(all_plain).count() * STRIDE;
    begun + bytes[begun..].iter().take_while(|byte| is_plain(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_survives() {
        let hostile = "a\u{1b}[2J\u{7}\r\n\t\u{9b}31m\u{202e}txt\u{0}é漢🙂";
        let safe = clean(hostile);
        assert!(!safe.chars().any(is_hostile), "{safe:?}");
        assert!(safe.starts_with('a') && safe.ends_with("é漢🙂"));
        assert_eq!(clean_lines("a\u{1b}\nb"), "a\u{FFFD}\nb");
    }

    fn json_safe(value: &serde_json::Value) -> String {
        let mut out = Vec::new();
        let mut safe = JsonSafe::new(&mut out);
        serde_json::to_writer_pretty(&mut safe, value).unwrap();
        safe.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_keeps_its_value_and_loses_raw_control_characters() {
        let hostile = "\u{9b}31m\u{202e}x\u{1b}\u{e0041}\u{7f}";
        // Before, behind and across the strides in which plain text is skipped.
        for before in (0..70).map(|len| "a".repeat(len)).chain(["é漢🙂".repeat(9)]) {
            let value = serde_json::json!({ "name": format!("{before}{hostile}{before}"), "next": [before] });
            let text = json_safe(&value);
            assert!(!text.chars().any(|c| c != '\n' && is_hostile(c)), "{text:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn json_without_hostile_characters_stays_as_it_is_however_long() {
        let long = "é漢🙂 \"quoted\" ".repeat(JsonSafe::PART / 10);
        for value in
            [serde_json::json!(""), serde_json::json!([1.5, null, { "long": long, "again": [long] }])]
        {
            assert_eq!(json_safe(&value), serde_json::to_string_pretty(&value).unwrap() + "\n");
        }
    }
}
