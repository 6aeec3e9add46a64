//! Rounded quantities for tables: three digits and a unit, never wider than nine columns.

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
