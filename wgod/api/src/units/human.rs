//! Rounded quantities for tables: three digits and a unit, never wider than nine columns; and dates.

const PREFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// `bytes` with three significant digits and a decimal unit: `0 B`, `999 B`, `1.23 GB`.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut prefix = PREFIXES.iter();
    let mut unit = prefix.next().unwrap_or(&"");
    // What would be shown as 1000 belongs to the next unit.
    while value >= 999.5 {
        let Some(next) = prefix.next() else { break };
        (value, unit) = (value / 1000.0, next);
    }
    let places = match value {
        _ if unit.is_empty() => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.places$} {unit}B")
}

/// Bytes per second, like [`human_bytes`].
pub fn human_rate(bytes_per_sec: u64) -> String {
    human_bytes(bytes_per_sec) + "/s"
}

/// Seconds in at most two units: `0s`, `59s`, `3m 20s`, `2h 5m`, `3d 4h`, `2y 10d`.
pub fn human_secs(secs: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(31_536_000, "y"), (86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    for (i, (scale, name)) in UNITS.iter().enumerate() {
        if secs < *scale {
            continue;
        }
        let next = UNITS.get(i + 1).map(|(small, small_name)| (secs % scale / small, small_name));
        return match next {
            Some((rest, small_name)) if rest > 0 => format!("{}{name} {rest}{small_name}", secs / scale),
            _ => format!("{}{name}", secs / scale),
        };
    }
    "0s".to_owned()
}

/// Unix seconds as `2026-11-22 15:04 UTC`.
pub fn human_date(unix_secs: i64) -> String {
    let (days, secs) = (unix_secs.div_euclid(86_400), unix_secs.rem_euclid(86_400));
    // Days since 0000-03-01, so that a leap day ends its year; 400 years have 146097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", secs / 3600, secs % 3600 / 60)
}
