//! The manual: wgod(1) from the definition of the command line, wgod.toml(5) from that of the settings.
use std::io;

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::{Cli, ManualPage};
use crate::config::{Effect, KEYS, SECTIONS};

const SOURCE: &str = concat!("wgod ", env!("CARGO_PKG_VERSION"));

/// The page as `man -l` reads it.
pub fn page(page: ManualPage) -> io::Result<Vec<u8>> {
    match page {
        ManualPage::Wgod => wgod(),
        ManualPage::WgodToml => wgod_toml(),
    }
}

fn wgod() -> io::Result<Vec<u8>> {
    let command = Cli::command();
    let rest = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command).source(SOURCE).manual("wgod");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut roff = Roff::new();
    // Its lines are as they should look: commands, and a table.
    roff.control("SH", ["NOTES"]).control("nf", []);
    rest.lines().for_each(|line| {
        roff.text([roman(line)]);
    });
    roff.control("fi", []);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("wgoctl"), roman("(1), "), bold("wgod.toml"), roman("(5)")]);
    roff.to_writer(&mut page)?;
    Ok(page)
}

fn wgod_toml() -> io::Result<Vec<u8>> {
    let mut roff = Roff::new();
    roff.control("TH", ["wgod.toml", "5", "", SOURCE, "wgod"]);
    roff.control("SH", ["NAME"]).text([roman("wgod.toml - settings of wgod")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([
        roman("The file is looked for in the configuration folder of the user who runs "),
        bold("wgod"),
        roman("(1), ~/.config/wgod/wgod.toml, and for root and the service in /etc/wgod/wgod.toml. Each setting is shown with its default. The command line wins over the environment (WGOD_SECTION_KEY), that over what "),
        bold("wgoctl"),
        roman("(1) has set, that over the file. `wgod --check-config` checks it, `wgoctl reload` applies it."),
    ]);
    for section in SECTIONS {
        roff.control("SH", [format!("[{}]", section.header()).as_str()]);
        roff.text([roman(paragraph(section.doc))]);
        for key in KEYS.iter().filter(|key| key.section == section.name) {
            roff.control("TP", []);
            roff.text([bold(key.field), roman(format!(" = {}", key.default_text()))]);
            let effect = match key.effect {
                Effect::Now => "",
                Effect::Restart => " A change takes effect at the next start.",
                Effect::Unbuilt => " Not available in this version.",
            };
            roff.text([roman(paragraph(key.doc) + effect)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]).text([bold("wgod"), roman("(1), "), bold("wgoctl"), roman("(1)")]);
    let mut page = Vec::new();
    roff.to_writer(&mut page)?;
    Ok(page)
}

/// The lines of a doc comment, to be filled anew.
fn paragraph(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_name_every_option_and_every_setting() {
        let text = |page_of| String::from_utf8(page(page_of).unwrap()).unwrap();
        let wgod = text(ManualPage::Wgod);
        for option in ["\\-\\-state\\-dir", "Exit codes:", ".TH wgod 1"] {
            assert!(wgod.contains(option), "{option}: {wgod}");
        }
        let toml = text(ManualPage::WgodToml);
        for key in KEYS {
            let name = key.field.replace('-', "\\-");
            assert!(toml.contains(&format!("\\fB{name}\\fR = ")), "{name}: {toml}");
        }
    }
}
