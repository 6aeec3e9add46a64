//! Prints every setting with its doc comment and its default: the text of `config/wgod.toml`.
use super::key::{Effect, Key};
use super::settings::{KEYS, SECTIONS};

const HEAD: &str = "\
# Settings of wgod. Each is shown with its default; remove the # in front to change it.
# Printed by `wgod --print-config`. `wgod --check-config` checks a file, `wgoctl reload` applies it.
#
# The command line wins over the environment (WGOD_SECTION_KEY), that over what wgoctl has set, that
# over this file.
";

/// The reference configuration, which sets nothing: it can be used as it is.
pub fn document() -> String {
    let mut out = String::from(HEAD);
    for section in SECTIONS {
        out.push('\n');
        comment(&mut out, section.doc);
        // One of a kind would set something for its example.
        let mark = if section.names.is_some() { "#" } else { "" };
        out.push_str(&format!("{mark}[{}]\n", section.header()));
        for key in KEYS.iter().filter(|key| key.section == section.name) {
            print_key(&mut out, key);
        }
    }
    out
}

fn print_key(out: &mut String, key: &Key) {
    out.push('\n');
    comment(out, key.doc);
    match key.effect {
        Effect::Now => {}
        Effect::Restart => out.push_str("# A change takes effect at the next start.\n"),
        Effect::Unbuilt => out.push_str("# Not available in this version.\n"),
    }
    out.push_str(&format!("#{} = {}\n", key.field, key.default_text()));
}

fn comment(out: &mut String, doc: &[&str]) {
    for line in doc {
        out.push_str(&format!("#{line}\n"));
    }
}
