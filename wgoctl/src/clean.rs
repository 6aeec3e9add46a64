//! Text from strangers made safe to print: names, paths, client names and tracker messages can hold
//! escape sequences that move the cursor, retitle the terminal or reverse what one reads.

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

/// JSON with the same characters escaped. They can only stand inside of strings, so this changes no value.
pub fn json_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_hostile(c) {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
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

    #[test]
    fn json_keeps_its_value_and_loses_raw_control_characters() {
        let value = serde_json::json!({ "name": "\u{9b}31m\u{202e}x\u{1b}\u{e0041}" });
        let text = json_safe(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.chars().any(|c| c != '\n' && is_hostile(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
