//! Prose in the width of a terminal: lines broken at words, and only there.
use unicode_width::UnicodeWidthStr;

use crate::console::Terminal;
use crate::table::Tone;

/// Where the text beside a name would be narrower than this, it stands below it.
const LEAST: usize = 20;
/// Columns before a text that stands below.
const BELOW: usize = 2;

/// Columns of `text`, which may have colours (ECMA-48 SGR).
fn width(text: &str) -> usize {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().width();
    parts.fold(first, |sum, part| sum + part.split_once('m').map_or(part, |(_, rest)| rest).width())
}

/// `text` in lines of at most `room` columns, broken at spaces, each after what the first is indented by. A longer
/// word has a line of its own: a path that is cut can't be copied. Nor is what stands between two backticks, a
/// command to be copied, broken where it fits a line.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let body = text.trim_start_matches(' ');
    let indent = &text[..text.len() - body.len()];
    let mut lines = vec![indent.to_owned()];
    let mut used = 0;
    for word in words(body, room.saturating_sub(indent.len())) {
        let line = lines.last_mut().expect("it begins with one line");
        let wide = width(word);
        if used == 0 {
            line.push_str(word);
            used = indent.len() + wide;
        } else if used + 1 + wide <= room {
            line.push(' ');
            line.push_str(word);
            used += 1 + wide;
        } else {
            line.truncate(line.trim_end_matches(' ').len());
            lines.push(format!("{indent}{word}"));
            used = indent.len() + wide;
        }
    }
    lines
}

/// What is kept together.
fn words(text: &str, room: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let space = rest.find(' ').unwrap_or(rest.len());
        let quoted = rest[..space].find('`').and_then(|open| {
            let close = open + 1 + rest[open + 1..].find('`')?;
            Some(close + rest[close..].find(' ').unwrap_or(rest.len() - close))
        });
        let end = quoted.filter(|end| width(&rest[..*end]) <= room).unwrap_or(space);
        words.push(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    words
}

/// The same of each line of a text, if anything is known of the width.
pub(crate) fn wrap_lines(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    let lines: Vec<String> = text.split('\n').flat_map(|line| wrap(line, columns)).collect();
    lines.join("\n")
}

/// A name, in the columns of all `names`, and beside or below it what there is to say of it. Ends in a line feed.
pub(crate) fn fact(name: &str, names: usize, value: &str, tone: Tone, terminal: Terminal) -> String {
    let lead = |text: &str| tone.paint(text, terminal.color);
    let beside = names + 1;
    let padded = lead(&format!("{name:<names$}"));
    match terminal.columns {
        Some(columns) if beside + width(value) <= columns => format!("{padded} {value}\n"),
        Some(columns) if columns >= beside + LEAST => {
            let lines = wrap(value, columns - beside);
            format!("{padded} {}\n", lines.join(&format!("\n{}", " ".repeat(beside))))
        }
        Some(columns) => {
            let below = " ".repeat(BELOW);
            let lines = wrap(value, columns.saturating_sub(BELOW));
            format!("{}\n{below}{}\n", lead(name), lines.join(&format!("\n{below}")))
        }
        None => format!("{padded} {value}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_words_and_keep_their_indent() {
        for (text, room, want) in [
            ("", 10, vec![""]),
            ("one two three", 7, vec!["one two", "three"]),
            ("  one two three", 7, vec!["  one", "  two", "  three"]),
            ("a  b", 80, vec!["a  b"]),
            ("see /a/long/path/that/is/copied now", 8, vec!["see", "/a/long/path/that/is/copied", "now"]),
            ("see `wgoctl alt on`, or", 18, vec!["see", "`wgoctl alt on`,", "or"]),
            ("see `wgoctl alt on`, or", 8, vec!["see", "`wgoctl", "alt on`,", "or"]),
            ("漢字 漢字", 8, vec!["漢字", "漢字"]),
            ("\u{1b}[31mred\u{1b}[0m two", 7, vec!["\u{1b}[31mred\u{1b}[0m two"]),
        ] {
            assert_eq!(wrap(text, room), want, "{text:?}");
        }
        assert_eq!(wrap_lines("a b\nc", Some(2)), "a\nb\nc");
        assert_eq!(wrap_lines("a b\nc", None), "a b\nc");
    }

    #[test]
    fn what_does_not_fit_beside_a_name_hangs_beside_or_stands_below() {
        let at = |columns| Terminal { columns, ..Terminal::default() };
        let shown = |columns| fact("Name", 6, "one two three four five six", Tone::Plain, at(columns));
        assert_eq!(shown(None), "Name   one two three four five six\n");
        assert_eq!(shown(Some(30)), "Name   one two three four five\n       six\n");
        assert_eq!(shown(Some(20)), "Name\n  one two three four\n  five six\n");
    }
}
