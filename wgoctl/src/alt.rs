//! `wgoctl alt`: the alternative limits, by hand or by the schedule.
use std::time::{SystemTime, UNIX_EPOCH};

use wgo_api::ApiClient;
use wgo_api::params::{AltMode, AltParams};
use wgo_api::result::AltResult;
use wgo_api::units::Rate;

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::units::{human_secs, limit};

/// Whether the alternative limits are on, and what they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
While the alternative limits are on, they count in place of those of the whole daemon. Limits of
single torrents hold as ever. The schedule is `[limits] schedule` of the configuration, a list like
[\"mon-fri 08:00-18:00\"]. What is set by hand lasts until the schedule would switch them on or off
next; without a schedule it lasts until it is changed.

Examples:
  wgoctl alt                                  # show
  wgoctl alt --up '500 KB/s' --down '2 MB/s'  # what they are
  wgoctl alt on
  wgoctl alt auto                             # by the schedule again")]
pub struct Args {
    /// on, off, or auto: by the schedule
    #[arg(value_parser = mode)]
    mode: Option<AltMode>,
    /// Alternative upload limit, like "2 MB/s"; a bare number is in KB/s, 0 is unlimited
    #[arg(long, value_name = "RATE")]
    up: Option<Rate>,
    /// Alternative download limit
    #[arg(long, value_name = "RATE")]
    down: Option<Rate>,
}

fn mode(text: &str) -> Result<AltMode, String> {
    match text {
        "on" => Ok(AltMode::On),
        "off" => Ok(AltMode::Off),
        "auto" => Ok(AltMode::Auto),
        _ => Err("on, off or auto".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let Args { mode, up, down } = args;
    let params = AltParams { mode, up: up.map(|rate| rate.0), down: down.map(|rate| rate.0) };
    let result = context.client.alt(params).await?;
    context.answer(&result, |result, _| {
        let limits = format!("up {}, down {}", limit(result.limits.up), limit(result.limits.down));
        let schedule = match &result.schedule[..] {
            [] => "none".to_owned(),
            entries => clean(&entries.join("; ")),
        };
        format!(
            "Alternative limits {}\nLimits    {limits}\nSchedule  {schedule}\n",
            state(result, unix_now())
        )
    })?;
    Ok(0)
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// On or off, why, and for how long.
pub(crate) fn state(result: &AltResult, now: u64) -> String {
    let on = if result.on { "on" } else { "off" };
    let time = result.until.map(|until| human_secs(until.saturating_sub(now)));
    match (result.mode, time) {
        (AltMode::Auto, Some(time)) => format!("{on} by the schedule, for another {time}"),
        (AltMode::Auto, None) if result.schedule.is_empty() => on.to_owned(),
        (AltMode::Auto, None) => format!("{on} by the schedule, at all times"),
        (AltMode::On | AltMode::Off, Some(time)) => format!("{on} by hand, for another {time}"),
        (AltMode::On | AltMode::Off, None) => format!("{on} by hand, until they are switched again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why_and_for_how_long() {
        for (mode, on, until, schedule, want) in [
            (AltMode::Auto, false, None, false, "off"),
            (AltMode::Auto, true, Some(4600), true, "on by the schedule, for another 1h"),
            (AltMode::Auto, true, None, true, "on by the schedule, at all times"),
            (AltMode::On, true, None, false, "on by hand, until they are switched again"),
            (AltMode::Off, false, Some(1060), true, "off by hand, for another 1m"),
            // The clocks of the two ends differ, or it is being switched.
            (AltMode::Off, false, Some(900), true, "off by hand, for another 0s"),
        ] {
            let schedule = if schedule { vec!["mon 08:00-18:00".to_owned()] } else { Vec::new() };
            let result = AltResult { on, mode, until, schedule, ..AltResult::default() };
            assert_eq!(state(&result, 1000), want);
        }
    }
}
