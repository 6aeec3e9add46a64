//! `wgoctl man`: the manual, a page for each verb, made of the same words as `--help`.
use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use serde_json::json;

use crate::cli::Cli;
use crate::context::Context;
use crate::failure::Failure;

/// Where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl man | man -l -
  wgoctl man ~/.local/share/man/man1    # then: man wgoctl-add")]
pub struct Args {
    /// Write all pages into this folder, which is made if need be; without it the first is printed
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let pages = pages().map_err(Failure::Output)?;
    let Some(folder) = args.folder else {
        let (name, page) = pages.into_iter().next().unwrap_or_default();
        context.answer(&json!({ "name": name, "page": page }), |_, _| page)?;
        return Ok(0);
    };
    let failed = |path: &PathBuf, source| Failure::Write { path: path.clone(), source };
    std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
    let mut written = Vec::new();
    for (name, page) in pages {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(|error| failed(&path, error))?;
        written.push(path.display().to_string());
    }
    let document = json!({ "written": written });
    context.answer(&document, |_, _| format!("Wrote {} pages to {}\n", written.len(), folder.display()))?;
    Ok(0)
}

/// File names and texts of all pages, that of wgoctl itself first.
fn pages() -> std::io::Result<Vec<(String, String)>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, "wgoctl", &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, name: &str, pages: &mut Vec<(String, String)>) -> std::io::Result<()> {
    pages.push((format!("{name}.1"), page(command, name)?));
    for verb in command.get_subcommands() {
        add(verb, &format!("{name}-{}", verb.get_name()), pages)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str) -> std::io::Result<String> {
    let named = command.clone().display_name(name.to_owned());
    let man = Man::new(named).title(name).source(concat!("wgod ", env!("CARGO_PKG_VERSION"))).manual("wgod");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let rest = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (notes, examples) = rest.split_once("Examples:\n").unwrap_or((rest.as_str(), ""));
    let mut roff = Roff::new();
    for (title, text) in [("NOTES", notes.trim_end()), ("EXAMPLES", examples)] {
        if !text.is_empty() {
            // Its lines are as they should look: tables, commands.
            roff.control("SH", [title]).control("nf", []);
            text.lines().for_each(|line| {
                roff.text([roman(line)]);
            });
            roff.control("fi", []);
        }
    }
    roff.control("SH", ["SEE ALSO"]).text(see_also(name));
    roff.to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn see_also(name: &str) -> Vec<Inline> {
    let others = if name == "wgoctl" { &["wgod"][..] } else { &["wgoctl", "wgod"] };
    let mut words: Vec<Inline> = others.iter().flat_map(|other| [bold(*other), roman("(1), ")]).collect();
    words.extend([bold("wgod.toml"), roman("(5)")]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_with_its_examples() {
        let pages = pages().unwrap();
        assert_eq!(pages[0].0, "wgoctl.1");
        for name in ["wgoctl-add.1", "wgoctl-config-show.1", "wgoctl-man.1"] {
            assert!(pages.iter().any(|(page, _)| page == name), "{name}");
        }
        for (name, page) in pages.iter().filter(|(name, _)| !name.starts_with("wgoctl-config-")) {
            assert!(page.contains(".SH EXAMPLES\n.nf\n"), "{name}: {page}");
        }
    }
}
