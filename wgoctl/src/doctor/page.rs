//! Findings as a page: one line each where it fits, what to do below it.
use unicode_width::UnicodeWidthStr;
use wgo_api::doctor::{Finding, Severity};

use crate::clean::clean;
use crate::console::Terminal;
use crate::table::Tone;
use crate::units::count;
use crate::wrap::wrap;

/// Columns of the longest word for a severity, `warn`.
const WORD: usize = 4;
/// Columns between two parts of a line.
const GAP: usize = 2;
/// Where the text beside the names would be narrower than this, it stands below them.
const LEAST: usize = 20;
/// Columns before a text that stands below.
const BELOW: usize = 2;

pub(super) fn page(findings: &[Finding], terminal: Terminal) -> String {
    let name = findings.iter().map(|finding| clean(&finding.what).width()).max().unwrap_or(0);
    let beside = WORD + GAP + name + GAP;
    let narrow = terminal.columns.is_some_and(|columns| columns < beside + LEAST);
    let indent = if narrow { BELOW } else { beside };
    let room = terminal.columns.map_or(usize::MAX, |columns| columns.saturating_sub(indent));
    let mut out = String::new();
    for finding in findings {
        let (word, tone) = (finding.severity.as_str(), tone(finding.severity));
        let what = clean(&finding.what);
        let padded = " ".repeat(WORD + GAP - word.len());
        let mut lead = format!("{}{padded}{what}", tone.paint(word, terminal.color));
        lead.push_str(&match narrow {
            true => format!("\n{}", " ".repeat(indent)),
            false => " ".repeat(name + GAP - what.width()),
        });
        let remedy = finding.remedy.as_ref().map(|remedy| format!("→ {remedy}"));
        for text in [Some(&finding.why), remedy.as_ref()].into_iter().flatten() {
            for line in wrap(&clean(text), room) {
                out.push_str(&lead);
                out.push_str(&line);
                out.push('\n');
                lead = " ".repeat(indent);
            }
        }
    }
    out + &verdict(findings)
}

fn verdict(findings: &[Finding]) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    match (of(Severity::Bad), of(Severity::Warn)) {
        (0, 0) => "\nAll is well.\n".to_owned(),
        (0, warn) => format!("\nNothing is bad; {}.\n", count(warn, "warning")),
        (bad, 0) => format!("\n{bad} bad.\n"),
        (bad, warn) => format!("\n{bad} bad, {}.\n", count(warn, "warning")),
    }
}

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Ok => Tone::Good,
        Severity::Warn => Tone::Warn,
        Severity::Bad => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(columns: usize) -> Terminal {
        Terminal { columns: Some(columns), ..Terminal::default() }
    }

    #[test]
    fn what_is_bad_says_what_to_do_below_itself_and_lines_are_broken_at_words() {
        let findings = [
            Finding::ok("kernel", "Linux 6.12"),
            Finding::bad("state", "/var/lib/wgod: nothing can be written: Read-only file system", "free it"),
            Finding::warn("port", "6868 was taken", "stop the other"),
        ];
        assert_eq!(
            page(&findings, at(50)),
            "ok    kernel  Linux 6.12\n\
             bad   state   /var/lib/wgod: nothing can be\n\
             \x20             written: Read-only file system\n\
             \x20             → free it\n\
             warn  port    6868 was taken\n\
             \x20             → stop the other\n\
             \n\
             1 bad, 1 warning.\n"
        );
        assert_eq!(
            page(&findings[..2], at(30)),
            "ok    kernel\n  Linux 6.12\nbad   state\n  /var/lib/wgod: nothing can\n  be written: Read-only file\n  \
             system\n  → free it\n\n1 bad.\n"
        );
        let unbroken = page(&findings, Terminal::default());
        assert_eq!(unbroken.lines().count(), 7, "{unbroken}");
        assert!(page(&findings[..1], at(80)).ends_with("\nAll is well.\n"));
        assert!(page(&findings[2..], at(80)).ends_with("\nNothing is bad; 1 warning.\n"));
    }

    #[test]
    fn a_long_path_is_not_cut_and_a_strangers_name_does_nothing() {
        let path = format!("/{}", "x".repeat(70));
        let findings = [Finding::bad("torrents", format!("in {path} \u{1b}[31m"), "look")];
        let text = page(&findings, at(40));
        assert!(text.contains(&path) && !text.contains('\u{1b}'), "{text}");
        let coloured = page(&findings, Terminal { color: true, ..at(40) });
        assert!(coloured.starts_with("\u{1b}[31mbad\u{1b}[0m   torrents"), "{coloured:?}");
    }
}
