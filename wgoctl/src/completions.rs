//! `wgoctl completions`: a script that completes arguments in a shell.
use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::Cli;
use crate::context::Context;
use crate::failure::Failure;

/// Which shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl completions bash > /etc/bash_completion.d/wgoctl
  wgoctl completions zsh > ~/.zfunc/_wgoctl
  wgoctl completions fish > ~/.config/fish/completions/wgoctl.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "wgoctl", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let document = json!({ "shell": args.shell.to_string(), "script": script });
    context.answer(&document, |_, _| script)?;
    Ok(0)
}
