//! Kills the real daemon, and cuts the power of its disk, for as long as it is told; see `wgo_tests::crash`.
//!
//! `--kills N`, `--cuts N`, `--faults LIVES`, `--deaths N` of each of those, `--seed N`; `--patient`: the operator waits, so
//! that checkpoints come by the clock, and several runs of other seeds can go on beside each other. What fails prints its
//! seed and keeps its folders.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says how far it is")]
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use wgo_tests::crash::{Options, fuse, run};

/// Set in the process that has a mount namespace of its own, so that no mount is left behind.
const INSIDE: &str = "WGOD_CRASH_INSIDE";

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!(
                "{why}\nusage: crash [--kills N] [--cuts N] [--faults LIVES] [--deaths N] [--seed N] [--patient]"
            );
            return ExitCode::from(2);
        }
    };
    let mounts = options.cuts > 0 || options.faults > 0;
    if mounts && std::env::var_os(INSIDE).is_none() {
        let program = std::env::current_exe().expect("this program is a file");
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private"]).arg(program).args(std::env::args_os().skip(1));
        eprintln!("no mount namespace: {}", command.env(INSIDE, "1").exec());
        return ExitCode::FAILURE;
    }
    if mounts && let Err(why) = fuse() {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    let tally = run(&options, &mut |line| println!("{line}"));
    println!("no violation: {tally:#?}");
    ExitCode::SUCCESS
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let to = match arg.as_str() {
            "--kills" => &mut options.kills,
            "--cuts" => &mut options.cuts,
            "--faults" => &mut options.faults,
            "--deaths" => &mut options.deaths,
            "--seed" => &mut options.seed,
            "--patient" => {
                options.patient = true;
                continue;
            }
            other => return Err(format!("unknown argument {other:?}")),
        };
        let value = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
        *to = value.parse().map_err(|error| format!("{arg} {value:?}: {error}"))?;
    }
    Ok(options)
}
