//! Quantities as the tables show them; what is unknown is a dash.
use wgo_api::goals::{AfterGoal, Goals};
use wgo_api::units::Period;
pub use wgo_api::units::{human_bytes, human_date as date, human_rate, human_secs};

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

/// Seeding goals, as `ratio 2.00, 7 d or 2 h without upload, then remove`; nothing where there are none.
pub fn goals_or_blank(goals: &Goals) -> String {
    if goals.action == AfterGoal::Keep {
        return String::new();
    }
    let ratio = goals.ratio.map(|ratio| format!("ratio {ratio:.2}"));
    let time = goals.time_secs.map(|secs| Period(secs).to_string());
    let idle = goals.idle_secs.map(|secs| format!("{} without upload", Period(secs)));
    let all: Vec<String> = [ratio, time, idle].into_iter().flatten().collect();
    let then = match goals.action {
        AfterGoal::Stop | AfterGoal::Keep => "",
        AfterGoal::Remove => ", then remove",
        AfterGoal::RemoveWithFiles => ", then remove with files",
    };
    if all.is_empty() { String::new() } else { all.join(" or ") + then }
}

/// A limit, exactly; 0 is `unlimited`.
pub fn limit(bytes_per_sec: u64) -> String {
    if bytes_per_sec == 0 { "unlimited".to_owned() } else { wgo_api::units::Rate(bytes_per_sec).to_string() }
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
