//! Measures how well swarms of our engines use their lines, in simulation, and prints a table.
//!
//! `cargo run --profile explore -p wgo-tests --bin swarm-table -- [--quick] [--seeds N] [--only WORDS] [--json]
//! [--against FILE]`: fewer and smaller crowds, seeds for each, crowds whose name has the words, the table as JSON, and the
//! JSON of an earlier run to stand beside it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use wgo_tests::sim::efficiency::{scenarios, table};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let value = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1);
    let quick = has("--quick");
    let seeds = value("--seeds").map_or(Ok(if quick { 1 } else { 3 }), |text| text.parse())?;
    let before: Vec<table::Line> = match value("--against") {
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
        None => Vec::new(),
    };
    let mut lines = Vec::new();
    for scenario in scenarios::all() {
        let named = value("--only").is_none_or(|words| scenario.name.contains(&words[..]));
        if named && !(quick && scenario.long) {
            lines.extend(table::lines(&scenario, seeds, |line| eprintln!("{line}")));
        }
    }
    match has("--json") {
        true => println!("{}", serde_json::to_string_pretty(&lines)?),
        false => print!("{}", table::text(&lines, &before)),
    }
    Ok(())
}
