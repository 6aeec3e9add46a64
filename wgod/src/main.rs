//! The `wgod` process: reads the command line and the configuration, then runs the daemon.
#![forbid(unsafe_code)]
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use wgod::cli::Cli;
use wgod::config::{self, Loaded, Surroundings};

/// Wrong arguments or configuration; clap uses the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.print_config {
        // A reader that closes the pipe early has seen what it wanted.
        let _ = io::stdout().write_all(config::document().as_bytes());
        return ExitCode::SUCCESS;
    }
    match load(&cli) {
        Ok(_) if cli.check_config => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::from(USAGE)
        }
    }
}

fn load(cli: &Cli) -> anyhow::Result<Loaded> {
    let command_line = cli.layer_here()??;
    Ok(Loaded::read(command_line, cli.config.as_deref(), &Surroundings::observe())?)
}
