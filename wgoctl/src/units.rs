//! Quantities as the tables show them; what is unknown is a dash.
pub use wgo_api::units::{human_bytes, human_rate, human_secs};

/// Stands for what is unknown.
pub const UNKNOWN: &str = "-";

/// `quantity` in words, or a dash.
pub fn known<T>(quantity: Option<T>, show: impl FnOnce(T) -> String) -> String {
    quantity.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// A share of 0 to 1 in percent: never 100 % before it is whole.
pub fn percent(share: f64) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let tenths = (share * 1000.0).floor();
    if share >= 1.0 { "100%".to_owned() } else { format!("{:.1}%", tenths / 10.0) }
}

/// A rate, with nothing for no traffic: a table of zeros hides the rest.
pub fn rate_or_blank(bytes_per_sec: u64) -> String {
    if bytes_per_sec == 0 { String::new() } else { human_rate(bytes_per_sec) }
}

/// A limit, exactly; 0 is `unlimited`.
pub fn limit(bytes_per_sec: u64) -> String {
    if bytes_per_sec == 0 { "unlimited".to_owned() } else { wgo_api::units::Rate(bytes_per_sec).to_string() }
}

/// Unix seconds as `2026-11-22 15:04 UTC`.
pub fn date(unix_secs: i64) -> String {
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

/// `1 torrent`, `2 torrents`.
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (secs, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13 UTC"),
            (4_102_444_799, "2099-12-31 23:59 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
        ] {
            assert_eq!(date(secs), text);
        }
    }

    #[test]
    fn percent_reaches_100_only_when_whole() {
        for (share, text) in [
            (0.0, "0.0%"),
            (0.5, "50.0%"),
            (0.99999, "99.9%"),
            (1.0, "100%"),
            (7.0, "100%"),
            (f64::NAN, "0.0%"),
        ] {
            assert_eq!(percent(share), text, "{share}");
        }
    }
}
