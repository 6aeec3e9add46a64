//! The `wgoctl` process: hands the real terminal to [`wgoctl::run`] and exits with its code.
#![forbid(unsafe_code)]
use std::io::{self, BufWriter};
use std::process::ExitCode;

use wgoctl::console::{Console, Terminal};

fn main() -> ExitCode {
    let (stdout, stderr, stdin) = (io::stdout(), io::stderr(), io::stdin());
    let mut console = Console {
        out: &mut BufWriter::new(stdout.lock()),
        err: &mut stderr.lock(),
        input: &mut stdin.lock(),
        terminal: Terminal::detect(),
    };
    ExitCode::from(wgoctl::run(std::env::args_os(), &mut console))
}
