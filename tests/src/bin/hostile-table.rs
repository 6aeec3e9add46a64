//! Runs all attacks, or those of the stages that are named, in their long form, and prints what each cost: a table in
//! Markdown. Nothing else should go on beside it, and the daemon should be a release build
//! (`WGOD_TEST_BINARIES=target/release`).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints a table, and how far it is")]
use wgo_tests::hostile::measure::Measured;
use wgo_tests::hostile::{Attack, Stage, all, stage};

fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "| attack | done | RSS growth | descriptors | CPU | CPU each | upload | download | what the daemon counted |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, kind, attacks) in all() {
        if !named.is_empty() && !named.iter().any(|wanted| wanted == name) {
            continue;
        }
        let Some(mut stage) = Stage::start(name, kind, true) else { continue };
        for attack in attacks {
            let measured = stage.run(&attack);
            stage::tell(&attack, &measured);
            println!("{}", row(&attack, &measured));
        }
    }
}

fn row(attack: &Attack, measured: &Measured) -> String {
    let Measured { memory, descriptors, cpu, units, kept, span, said, .. } = measured;
    let said: Vec<String> = said.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let exceeded = attack.bound.exceeded(measured);
    let mark = if exceeded.is_empty() { String::new() } else { format!(" **{}**", exceeded.join("; ")) };
    format!(
        "| {} | {units} {} in {:.0} s | {:.1} MiB | {descriptors} | {:.2} s | {:.1} µs | {:.0} % | {:.0} % | {}{mark} |",
        attack.name,
        attack.unit,
        span.as_secs_f64(),
        *memory as f64 / 1024.0 / 1024.0,
        cpu.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / (*units).max(1) as f64,
        kept[0] * 100.0,
        kept[1] * 100.0,
        said.join(", "),
    )
}
