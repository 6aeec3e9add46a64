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

/// Writes JSON with the same characters escaped. They can only stand inside of strings, so this changes no
/// value.
///
/// # Errors
/// Those of `out`.
pub fn write_json_safe(out: &mut dyn Write, json: &str) -> io::Result<()> {
    let mut rest = json;
    while let Some((at, hostile)) = first_hostile(rest) {
        out.write_all(&rest.as_bytes()[..at])?;
        for unit in hostile.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}")?;
        }
        rest = &rest[at + hostile.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
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

    fn json_safe(json: &str) -> String {
        let mut out = Vec::new();
        write_json_safe(&mut out, json).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_keeps_its_value_and_loses_raw_control_characters() {
        let hostile = "\u{9b}31m\u{202e}x\u{1b}\u{e0041}\u{7f}";
        // Before, behind and across the strides in which plain text is skipped.
        for before in (0..70).map(|len| "a".repeat(len)).chain(["é漢🙂".repeat(9)]) {
            let value = serde_json::json!({ "name": format!("{before}{hostile}{before}"), "next": [before] });
            let text = json_safe(&serde_json::to_string_pretty(&value).unwrap());
            assert!(!text.chars().any(|c| c != '\n' && is_hostile(c)), "{text:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn json_without_hostile_characters_stays_as_it_is() {
        for text in ["", "{\n  \"a\": \"é漢🙂\"\n}\n", &"[\"b\", 1.5]\n".repeat(20)] {
            assert_eq!(json_safe(text), text);
        }
    }
}
