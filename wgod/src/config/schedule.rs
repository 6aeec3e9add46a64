//! When the alternative limits are on: hours of days of the week, in local time; and what overrides that.
//!
//! An entry begins when the local clock first shows its beginning on one of its days, and ends when the clock
//! then first shows its end. So a change between winter and summer time neither skips a switch nor makes one
//! twice: what falls into the hour that is left out happens at its end.
use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span as Days, Timestamp};

use super::setting::{Raw, Refused, Setting, quoted};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const FULL: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const DAY: u16 = 24 * 60;
const WEEK: u16 = 7 * DAY;

/// What changes at all does so within these days: in a week, or in the one after when the clock leaves it out.
const HORIZON: i64 = 15;

/// Entries whose times don't overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(Vec<Entry>);

/// The same hours on some days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// A bit for each day, Monday's the lowest.
    days: u8,
    /// Minutes of the day.
    from: u16,
    /// Minutes; up to `from` it is the next day's. 24:00 is [`DAY`].
    to: u16,
}

impl Entry {
    fn parse(text: &str) -> Result<Entry, String> {
        let lower = text.trim().to_ascii_lowercase();
        let malformed = || format!("{text:?} is not of the form \"mon-fri 08:00-18:00\"");
        let (days, times) = lower.rsplit_once(char::is_whitespace).ok_or_else(malformed)?;
        let (from, to) = times.split_once('-').ok_or_else(malformed)?;
        let minutes = |time: &str| {
            let bad = || format!("{time:?} in {text:?} is no time of day from 00:00 to 24:00");
            let (hour, minute) = time.split_once(':').ok_or_else(bad)?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !digits(hour) || !digits(minute) {
                return Err(bad());
            }
            let (hour, minute): (u16, u16) =
                (hour.parse().map_err(|_| bad())?, minute.parse().map_err(|_| bad())?);
            let at = hour * 60 + minute;
            if minute < 60 && at <= DAY { Ok(at) } else { Err(bad()) }
        };
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to {
            return Err(format!("{text:?} ends when it begins; a whole day is 00:00-24:00"));
        }
        if from == DAY {
            return Err(format!("{text:?} begins at 24:00; write 00:00 of the next day"));
        }
        let days: String = days.chars().filter(|c| !c.is_whitespace()).collect();
        Ok(Entry { days: parse_days(&days, text)?, from, to })
    }

    fn has(self, day: u16) -> bool {
        self.days >> (day % 7) & 1 == 1
    }

    /// Minutes that it lasts.
    fn len(self) -> u16 {
        if self.to > self.from { self.to - self.from } else { self.to + DAY - self.from }
    }

    /// A day, counted from Monday as 0, on which another entry is on as well.
    fn meets(self, other: Entry) -> Option<u16> {
        let begins =
            |entry: Entry| (0..7).filter(move |day| entry.has(*day)).map(move |day| day * DAY + entry.from);
        for a in begins(self) {
            for b in begins(other) {
                // How long after the one the other begins, round the week.
                let (after, before) = ((b + WEEK - a) % WEEK, (a + WEEK - b) % WEEK);
                if after < self.len() {
                    return Some(b / DAY);
                }
                if before < other.len() {
                    return Some(a / DAY);
                }
            }
        }
        None
    }
}

fn parse_days(days: &str, text: &str) -> Result<u8, String> {
    if days == "daily" {
        return Ok(0x7f);
    }
    let number = |name: &str| {
        let found = (0..7).find(|day| name == DAYS[*day] || name == FULL[*day]);
        found.ok_or_else(|| format!("{name:?} in {text:?} is no day: {} or daily", DAYS.join(", ")))
    };
    let mut mask = 0;
    for part in days.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        let count = (last + 7 - first) % 7 + 1;
        (first..first + count).for_each(|day| mask |= 1 << (day % 7));
    }
    Ok(mask)
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut day = 0;
        while day < 7 {
            let end = (day..7).find(|day| !self.has(*day)).unwrap_or(7);
            match end - day {
                0 => day += 1,
                1 | 2 => {
                    parts.push(DAYS[usize::from(day)].to_owned());
                    day += 1;
                }
                _ => {
                    parts.push(format!("{}-{}", DAYS[usize::from(day)], DAYS[usize::from(end) - 1]));
                    day = end;
                }
            }
        }
        let (from, to) = (self.from, self.to);
        write!(f, "{} {:02}:{:02}-{:02}:{:02}", parts.join(","), from / 60, from % 60, to / 60, to % 60)
    }
}

impl Schedule {
    fn parse_entries<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Schedule, Refused> {
        let mut entries: Vec<Entry> = Vec::new();
        for text in texts {
            let entry = Entry::parse(text).map_err(Refused::because)?;
            for earlier in &entries {
                if let Some(day) = earlier.meets(entry) {
                    let day = DAYS[usize::from(day)];
                    let why = format!("\"{earlier}\" and \"{entry}\" overlap on {day}; give each time once");
                    return Err(Refused::because(why));
                }
            }
            entries.push(entry);
        }
        Ok(Schedule(entries))
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its entries, as they are written.
    pub fn entries(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(Entry::to_string)
    }

    /// Whether an entry is on at `now`, and when that changes next: `None` is never.
    pub fn at(&self, now: Timestamp, zone: &TimeZone) -> (bool, Option<Timestamp>) {
        let windows = self.windows(now, zone);
        let is_on = |at: Timestamp| windows.iter().any(|(from, to)| *from <= at && at < *to);
        let on = is_on(now);
        let bounds = windows.iter().flat_map(|(from, to)| [*from, *to]);
        // Where one entry follows another at once nothing changes.
        let changes = bounds.filter(|at| *at > now && is_on(*at) != on);
        (on, changes.filter(|at| at.duration_since(now).as_hours() < 24 * HORIZON).min())
    }

    /// The times at which it is on, from the days before `now` to some after the horizon.
    fn windows(&self, now: Timestamp, zone: &TimeZone) -> Vec<(Timestamp, Timestamp)> {
        let today = zone.to_datetime(now).date();
        // Two days back: one that began yesterday, and zones that left out a day.
        let days = (-2..=HORIZON + 2).filter_map(|days: i64| today.checked_add(Days::new().days(days)).ok());
        let on_day = |day: Date| {
            let number = weekday(day.weekday());
            let entries = self.0.iter().filter(move |entry| entry.has(number));
            entries.filter_map(move |entry| {
                let next = if entry.to <= entry.from { day.tomorrow().ok()? } else { day };
                Some((instant(zone, day, entry.from)?, instant(zone, next, entry.to)?))
            })
        };
        days.flat_map(on_day).filter(|(from, to)| from < to).collect()
    }
}

fn weekday(day: Weekday) -> u16 {
    day.to_monday_zero_offset().unsigned_abs().into()
}

/// When the clock of `zone` first shows that minute of that day, or first passes it.
fn instant(zone: &TimeZone, day: Date, minute: u16) -> Option<Timestamp> {
    let (day, minute) = if minute == DAY { (day.tomorrow().ok()?, 0) } else { (day, minute) };
    let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
    let shown = zone.to_ambiguous_timestamp(day.to_datetime(Time::new(hour, minute, 0, 0).ok()?));
    if !matches!(shown.offset(), AmbiguousOffset::Gap { .. }) {
        return shown.earlier().ok();
    }
    // What the clock leaves out is passed when it is put forward.
    let after = shown.later().ok()?;
    let second_later = after.checked_add(Days::new().seconds(1)).ok()?;
    zone.preceding(second_later).next().map(|change| change.timestamp())
}

impl Setting for Schedule {
    fn allowed() -> String {
        "a list of days and times that don't overlap, as in [\"mon-fri 08:00-18:00\", \"sat,sun 10:00-02:00\"]"
            .into()
    }

    fn parse(raw: &Raw) -> Result<Schedule, Refused> {
        match raw {
            raw if raw.is_off() => Ok(Schedule::default()),
            Raw::List(items) => {
                let texts = items.iter().map(|item| match item {
                    Raw::Text(text) => Ok(text.as_str()),
                    _ => Err(Refused::default()),
                });
                Schedule::parse_entries(texts.collect::<Result<Vec<_>, _>>()?.into_iter())
            }
            // Commas are part of entries.
            Raw::Bare(text) => {
                Schedule::parse_entries(text.split(';').map(str::trim).filter(|text| !text.is_empty()))
            }
            _ => Err(Refused::default()),
        }
    }

    fn to_toml(&self) -> String {
        let entries: Vec<_> = self.entries().map(|entry| quoted(&entry)).collect();
        format!("[{}]", entries.join(", "))
    }
}

/// Whether the alternative limits are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alternative {
    /// When the schedule says so.
    #[default]
    Auto,
    /// As somebody decided.
    ByHand {
        /// On or off.
        on: bool,
        /// From when on the schedule decides again.
        until: Option<Timestamp>,
    },
}

/// What is in force, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The alternative limits are on.
    pub on: bool,
    /// Somebody decided that, and not the schedule.
    pub by_hand: bool,
    /// When it changes by itself, or the schedule decides again.
    pub until: Option<Timestamp>,
}

impl Alternative {
    /// What is in force at `now`.
    pub fn decide(self, schedule: &Schedule, now: Timestamp, zone: &TimeZone) -> Decision {
        match self {
            Alternative::ByHand { on, until } if !self.is_over(now) => Decision { on, by_hand: true, until },
            _ => {
                let (on, until) = schedule.at(now, zone);
                Decision { on, by_hand: false, until }
            }
        }
    }

    /// Whether it was by hand and isn't any more.
    pub fn is_over(self, now: Timestamp) -> bool {
        matches!(self, Alternative::ByHand { until: Some(until), .. } if until <= now)
    }
}

impl Setting for Alternative {
    fn allowed() -> String {
        "\"auto\", \"on\" or \"off\", the last two also with a time as in \"on until 2030-01-31T18:00:00Z\""
            .into()
    }

    fn parse(raw: &Raw) -> Result<Alternative, Refused> {
        let by_hand = |on| Ok(Alternative::ByHand { on, until: None });
        match raw {
            Raw::Bool(on) => by_hand(*on),
            raw => {
                let text = raw.text().ok_or_else(Refused::default)?.trim();
                match text.split_once(" until ") {
                    Some((word @ ("on" | "off"), until)) => {
                        let until = until.trim().parse().map_err(|_| Refused::default())?;
                        Ok(Alternative::ByHand { on: word == "on", until: Some(until) })
                    }
                    _ => match text {
                        "auto" => Ok(Alternative::Auto),
                        "on" => by_hand(true),
                        "off" | "" => by_hand(false),
                        _ => Err(Refused::default()),
                    },
                }
            }
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alternative::Auto => f.write_str("auto"),
            Alternative::ByHand { on, until } => {
                f.write_str(if *on { "on" } else { "off" })?;
                until.map_or(Ok(()), |until| write!(f, " until {until}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
