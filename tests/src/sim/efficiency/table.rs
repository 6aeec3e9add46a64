//! Runs scenarios over several seeds and writes a table of what came out, beside that of an earlier run.
use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::sim::efficiency::measure::Measure;
use crate::sim::efficiency::scenarios::Scenario;

/// One line: a number of one scenario over all its seeds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub scenario: String,
    pub measure: String,
    pub mean: f64,
    pub worst: f64,
}

/// Lets a scenario happen once for each seed.
pub fn lines(scenario: &Scenario, seeds: u64, mut tell: impl FnMut(String)) -> Vec<Line> {
    let mut of: Vec<Vec<Measure>> = Vec::new();
    for seed in 1..=seeds {
        let began = Instant::now();
        let run = scenario.plan.run(seed);
        tell(format!(
            "{}, seed {seed}: {:.0} s simulated in {:.1} s, {} events",
            scenario.name,
            run.took.as_secs_f64(),
            began.elapsed().as_secs_f64(),
            run.steps
        ));
        of.push((scenario.measures)(&run));
    }
    let Some(first) = of.first() else { return Vec::new() };
    let line = |(at, measure): (usize, &Measure)| {
        let values = || of.iter().map(|run| run[at].value);
        let worst = if measure.more_is_better { f64::min } else { f64::max };
        Line {
            scenario: scenario.name.into(),
            measure: measure.name.clone(),
            mean: values().sum::<f64>() / of.len() as f64,
            worst: values().reduce(worst).unwrap_or_default(),
        }
    };
    first.iter().enumerate().map(line).collect()
}

/// The table, with the means of an earlier one.
pub fn text(lines: &[Line], before: &[Line]) -> String {
    let known: BTreeMap<(&str, &str), f64> =
        before.iter().map(|line| ((&line.scenario[..], &line.measure[..]), line.mean)).collect();
    let mut text = format!("{:<37}{:<36}{:>9}{:>9}", "scenario", "measure", "mean", "worst");
    text += if before.is_empty() { "\n" } else { "   before\n" };
    let mut last = "";
    for line in lines {
        let name = if line.scenario == last { "" } else { &line.scenario };
        last = &line.scenario;
        text += &format!("{name:<37}{:<36}{:>9.2}{:>9.2}", line.measure, line.mean, line.worst);
        if let Some(mean) = known.get(&(&line.scenario[..], &line.measure[..])) {
            text += &format!("{mean:>9.2}");
        }
        text += "\n";
    }
    text
}
