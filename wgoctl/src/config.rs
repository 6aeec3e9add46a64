//! `wgoctl config`: the settings in force, what is wrong with a configuration file, and taking back what was set
//! over the socket.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wgo_api::params::{ConfigParams, ResetParams};
use wgo_api::result::{ConfigResult, Origin, ResetResult, ResetSetting, Setting};
use wgo_api::{ApiClient, Kind};

use crate::clean::{clean, clean_lines};
use crate::console::Terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::table::{Align, Cell, Table, Tone};
use crate::wrap::wrap_lines;

/// What to do with the configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl config show
  wgoctl config show limits network.port
  wgoctl config check                      # the running daemon's file
  wgoctl config check /etc/wgod/wgod.toml  # needs no daemon
  wgoctl config reset limits.up            # as the file says again
  wgoctl config reset --all")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show the settings in force and where each comes from
    Show {
        /// Only these: section.key, or a whole section
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Check a configuration file: the given one by wgod itself, or the running daemon's
    Check {
        /// The file
        file: Option<PathBuf>,
    },
    /// Take back what was set by wgoctl, as by `limit`, `alt` and `log`, in this run or before: the command line,
    /// the environment, the file or the default count again
    Reset {
        /// Only these: section.key, or a whole section
        #[arg(value_name = "KEY", required_unless_present = "all")]
        keys: Vec<String>,
        /// Everything that was set so
        #[arg(long, conflicts_with = "keys")]
        all: bool,
    },
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    match args.verb {
        Verb::Show { keys } => {
            let result = context.client.config(ConfigParams { keys, check: false }).await?;
            context.answer(&result, show)?;
            Ok(0)
        }
        Verb::Check { file: None } => {
            let result =
                context.client.config(ConfigParams { check: true, ..ConfigParams::default() }).await?;
            let file = result.file.clone().unwrap_or_else(|| "no configuration file".to_owned());
            verdict(&file, &result.problems, context)
        }
        Verb::Check { file: Some(file) } => check_file(&file, context),
        Verb::Reset { keys, all } => {
            let params = ResetParams { keys: keys.clone(), all };
            let result = context.client.config_reset(params).await?;
            context.answer(&result, |result, terminal| reset(result, &keys, terminal))?;
            Ok(0)
        }
    }
}

fn show(result: &ConfigResult, terminal: Terminal) -> String {
    let mut table = Table::new().column("KEY", Align::Left, false).column("VALUE", Align::Left, true).column(
        "FROM",
        Align::Left,
        false,
    );
    for setting in &result.settings {
        let tone = if setting.origin == Origin::Default { Tone::Faint } else { Tone::Plain };
        table.row(vec![
            Cell::from(&setting.key),
            Cell::toned(&value_text(&setting.value), tone),
            Cell::toned(&origin(setting), tone),
        ]);
    }
    let file =
        result.file.as_deref().map_or("No configuration file".to_owned(), |file| format!("File: {file}"));
    format!("{}\n{}", clean_lines(&file), table.render(terminal, true))
}

/// A value as the file has it.
fn value_text(value: &Value) -> String {
    if value.is_null() { "not set".to_owned() } else { value.to_string() }
}

fn origin(setting: &Setting) -> String {
    let word = word(setting.origin);
    match &setting.shadowed {
        Some(value) => format!("{word}; the file says {value}"),
        None => word.to_owned(),
    }
}

fn word(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::File => "file",
        Origin::Override => "set by wgoctl before",
        Origin::Environment => "environment",
        Origin::CommandLine => "command line",
        Origin::Socket => "set by wgoctl",
    }
}

/// A line for each setting that was reset, or named by itself.
fn reset(result: &ResetResult, keys: &[String], terminal: Terminal) -> String {
    let told = |one: &&ResetSetting| one.taken_back || one.next_start.is_some() || keys.contains(&one.key);
    let lines = result.settings.iter().filter(told);
    let text: String = lines.map(|one| format!("{}: {}\n", clean(&one.key), became(one))).collect();
    match (text.is_empty(), keys) {
        (false, _) => wrap_lines(&text, terminal.columns),
        (true, []) => "Nothing was set by wgoctl\n".to_owned(),
        (true, keys) => format!("Nothing in {} was set by wgoctl\n", clean(&keys.join(", "))),
    }
}

fn became(setting: &ResetSetting) -> String {
    let ResetSetting { taken_back, was, value, origin, next_start, unknown, .. } = setting;
    let by = match origin {
        Origin::Default => "the default".to_owned(),
        Origin::File => "by the file".to_owned(),
        Origin::Environment => "by the environment".to_owned(),
        Origin::CommandLine => "by the command line".to_owned(),
        Origin::Override | Origin::Socket => word(*origin).to_owned(),
    };
    let (was, now, next) = (value_text(was), value_text(value), next_start.as_ref().map(value_text));
    let text = match (taken_back, next) {
        _ if *unknown => format!("{was} is forgotten; this version has no such setting"),
        (true, Some(next)) => format!("{now} until wgod restarts, then {next}, {by}"),
        (false, Some(next)) => format!("was not set by wgoctl; {now} until wgod restarts, then {next}, {by}"),
        (true, None) if was == now => format!("is forgotten; {now} as before, {by}"),
        (true, None) => format!("was {was}, is {now}, {by}"),
        (false, None) => format!("was not set by wgoctl; {now}, {by}"),
    };
    clean(&text)
}

/// Prints what is wrong with `file`; exits with the code of a bad configuration if anything is.
fn verdict(file: &str, problems: &[String], context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let document = json!({ "file": file, "ok": problems.is_empty(), "problems": problems });
    context.answer(&document, |_, _| match problems {
        [] => format!("{}: ok\n", clean_lines(file)),
        _ => String::new(),
    })?;
    for problem in problems {
        context.console.note(&clean_lines(problem));
    }
    Ok(if problems.is_empty() { 0 } else { Kind::BadConfig.exit_code() })
}

fn check_file(file: &Path, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let problems = problems_of(Some(file))?;
    verdict(&file.display().to_string(), &problems, context)
}

/// What is wrong with a file, or with the one that wgod would find by itself. Asks `wgod --check-config`: only
/// it knows every key.
pub(crate) fn problems_of(file: Option<&Path>) -> Result<Vec<String>, Failure> {
    let wgod = wgod_beside(std::env::current_exe().ok().as_deref());
    let mut command = Command::new(&wgod);
    command.arg("--check-config");
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    let output = command.output();
    let output = output.map_err(|error| {
        Failure::System("cannot run `wgod --check-config`; it should stand beside wgoctl or in PATH", error)
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let mut problems: Vec<String> =
        said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if output.status.success() {
        problems.clear();
    } else if problems.is_empty() {
        problems.push(format!("`{} --check-config` ended with {}", wgod.display(), output.status));
    }
    Ok(problems)
}

/// The `wgod` installed with this `wgoctl`, else whichever is in `PATH`.
fn wgod_beside(wgoctl: Option<&Path>) -> PathBuf {
    let beside = wgoctl.map(|path| path.with_file_name("wgod")).filter(|path| path.is_file());
    beside.unwrap_or_else(|| PathBuf::from(OsStr::new("wgod")))
}
