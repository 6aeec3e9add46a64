//! Rates, sizes and durations as people write them: `"20 MB/s"`, `"1 MiB"`, `"10 min"`.
//!
//! For the configuration, the command line and the tables of `wgoctl`. `Display` is exact:
//! reading it back gives the same value. [`human_bytes`] and its kin round, for tables.
//!
//! `K M G T` are powers of 1000, `Ki Mi Gi Ti` of 1024. The case of letters does not matter, save
//! that `b` after a capital prefix (`Mb`) means bits, and is refused. Fractions round to the nearest byte.
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod human;
pub use human::{human_bytes, human_date, human_rate, human_secs};

const K: u64 = 1000;
const KI: u64 = 1024;

/// Prefixes of bytes, largest first; the decimal ones are preferred when both are exact.
const PREFIXES: [(&str, u64); 8] = [
    ("T", K * K * K * K),
    ("G", K * K * K),
    ("M", K * K),
    ("K", K),
    ("Ti", KI * KI * KI * KI),
    ("Gi", KI * KI * KI),
    ("Mi", KI * KI),
    ("Ki", KI),
];

/// Names of units of time, in seconds, largest first; the first name of each is the one written.
const TIMES: [(&[&str], u64); 5] = [
    (&["d", "day", "days"], 86_400),
    (&["h", "hour", "hours"], 3600),
    (&["min", "minute", "minutes", "m"], 60),
    (&["s", "sec", "secs", "second", "seconds"], 1),
    (&["w", "week", "weeks"], 7 * 86_400),
];

/// The text is no rate, size or duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUnit {
    /// It doesn't begin with a number.
    #[error("{text:?} does not begin with a number; write {examples}")]
    NoNumber {
        /// What was given.
        text: String,
        /// What is allowed.
        examples: &'static str,
    },
    /// It is below zero.
    #[error("{text:?} is negative, which no limit, size or time can be; write {examples}")]
    Negative {
        /// What was given.
        text: String,
        /// What is allowed.
        examples: &'static str,
    },
    /// The unit isn't known.
    #[error("{text:?} has the unknown unit {unit:?}; write {examples}")]
    UnknownUnit {
        /// What was given.
        text: String,
        /// The part that wasn't understood.
        unit: String,
        /// What is allowed.
        examples: &'static str,
    },
    /// It means bits, which nothing here counts in.
    #[error("{text:?} is in bits; write bytes, with a capital B: {examples}")]
    Bits {
        /// What was given.
        text: String,
        /// What is allowed.
        examples: &'static str,
    },
    /// It is larger than 64 bits hold.
    #[error("{text:?} is too large")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

/// A limit in bytes per second. 0 is unlimited.
///
/// Text: `"20 MB/s"`, `"1 MiB/s"`, `"500000 B/s"`, `"0"`. A bare number, in text or in TOML, is in
/// KB/s of 1000 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

/// A number of bytes. Text: `"1 MiB"`, `"20 GB"`, `"512"`. A bare number is in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A span of whole seconds. Text: `"10 min"`, `"1 h 30 min"`, `"90"`. A bare number is in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub u64);

impl From<Period> for Duration {
    fn from(period: Period) -> Duration {
        Duration::from_secs(period.0)
    }
}

const RATE_EXAMPLES: &str =
    "\"20 MB/s\", \"1 MiB/s\", \"500000 B/s\", a bare number of KB/s, or 0 for unlimited";
const SIZE_EXAMPLES: &str = "\"1 MiB\", \"20 GB\" or a bare number of bytes";
const PERIOD_EXAMPLES: &str = "\"30 s\", \"10 min\", \"2 h\", \"7 d\" or a bare number of seconds";

impl FromStr for Rate {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let (number, unit) = split(text, RATE_EXAMPLES)?;
        let scale = match unit {
            "" => K,
            unit => {
                let bytes = unit.strip_suffix("/s").or_else(|| unit.strip_suffix("/S")).unwrap_or(unit);
                byte_scale(text, bytes.trim_end(), RATE_EXAMPLES)?
            }
        };
        number.times(scale).map(Rate).ok_or_else(|| too_large(text))
    }
}

impl FromStr for Size {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let (number, unit) = split(text, SIZE_EXAMPLES)?;
        let scale = if unit.is_empty() { 1 } else { byte_scale(text, unit, SIZE_EXAMPLES)? };
        number.times(scale).map(Size).ok_or_else(|| too_large(text))
    }
}

impl FromStr for Period {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let mut total = 0_u64;
        let mut rest = text.trim();
        loop {
            let (number, tail) = split(rest, PERIOD_EXAMPLES)?;
            let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let scale = time_scale(unit).ok_or_else(|| unknown(text, unit, PERIOD_EXAMPLES))?;
            let part = number.times(scale).ok_or_else(|| too_large(text))?;
            total = total.checked_add(part).ok_or_else(|| too_large(text))?;
            rest = tail.trim_start();
            if rest.is_empty() {
                return Ok(Period(total));
            }
        }
    }
}

fn time_scale(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if unit.is_empty() {
        return Some(1);
    }
    TIMES.iter().find(|(names, _)| names.contains(&unit.as_str())).map(|(_, secs)| *secs)
}

/// Bytes in one of `unit`: `B`, `KB`, `MiB`, or the prefix alone.
fn byte_scale(text: &str, unit: &str, examples: &'static str) -> Result<u64, BadUnit> {
    let prefix = match unit.strip_suffix(['B', 'b']) {
        None => unit,
        Some("") => return Ok(1),
        Some(prefix) => {
            let says_bits = unit.ends_with('b') && prefix.starts_with(|c: char| c.is_ascii_uppercase());
            if says_bits {
                return Err(BadUnit::Bits { text: text.to_owned(), examples });
            }
            prefix
        }
    };
    if unit.to_ascii_lowercase().contains("bit") || unit.to_ascii_lowercase().ends_with("bps") {
        return Err(BadUnit::Bits { text: text.to_owned(), examples });
    }
    let known = PREFIXES.iter().find(|(name, _)| name.eq_ignore_ascii_case(prefix));
    known.map(|(_, scale)| *scale).ok_or_else(|| unknown(text, unit, examples))
}

fn unknown(text: &str, unit: &str, examples: &'static str) -> BadUnit {
    BadUnit::UnknownUnit { text: text.to_owned(), unit: unit.to_owned(), examples }
}

fn too_large(text: &str) -> BadUnit {
    BadUnit::TooLarge { text: text.to_owned() }
}

/// A decimal number as written: `digits / 10^places`.
#[derive(Clone, Copy)]
struct Decimal {
    digits: u128,
    places: u32,
}

/// Digits of a number that are read; with a scale of 2^40 and rounding they fit 128 bits.
const MAX_DIGITS: usize = 24;

impl Decimal {
    /// The number times `scale`, to the nearest whole number.
    fn times(self, scale: u64) -> Option<u64> {
        let divisor = 10_u128.pow(self.places);
        let product = self.digits.checked_mul(u128::from(scale))?.checked_add(divisor / 2)?;
        u64::try_from(product / divisor).ok()
    }
}

/// Splits `text` into its number and what follows it, without the space between.
fn split<'a>(text: &'a str, examples: &'static str) -> Result<(Decimal, &'a str), BadUnit> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{part}");
    let below_zero = |rest: &str| rest.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if text.strip_prefix(['-', '\u{2212}']).is_some_and(below_zero) {
        return Err(BadUnit::Negative { text: text.to_owned(), examples });
    }
    if whole.is_empty() || part.contains('.') || (number.contains('.') && part.is_empty()) {
        return Err(BadUnit::NoNumber { text: text.to_owned(), examples });
    }
    if all.len() > MAX_DIGITS {
        return Err(too_large(text));
    }
    let digits = all.parse().map_err(|_| too_large(text))?;
    Ok((Decimal { digits, places: part.len() as u32 }, unit.trim_start()))
}

/// Writes `bytes` in the largest unit that divides it, so that nothing is lost.
fn write_exact(f: &mut fmt::Formatter<'_>, bytes: u64, suffix: &str) -> fmt::Result {
    let fits = |&&(_, scale): &&(&str, u64)| bytes != 0 && bytes.is_multiple_of(scale);
    let shortest = PREFIXES.iter().filter(fits).min_by_key(|(_, scale)| bytes / scale);
    let text = match shortest {
        Some((prefix, scale)) => format!("{} {prefix}B{suffix}", bytes / scale),
        None => format!("{bytes} B{suffix}"),
    };
    f.pad(&text)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0, "/s")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0, "")
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = TIMES.iter().take(4).find(|(_, secs)| self.0 != 0 && self.0.is_multiple_of(*secs));
        let text = match whole {
            Some((names, secs)) => format!("{} {}", self.0 / secs, names[0]),
            None => format!("{} s", self.0),
        };
        f.pad(&text)
    }
}

/// What TOML or JSON may hold in place of a text with a unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Whole(u64),
    Fraction(f64),
    Text(String),
}

impl Written {
    /// The text that says the same: a bare number is read as one without unit.
    fn into_text(self) -> String {
        match self {
            Written::Whole(number) => number.to_string(),
            Written::Fraction(number) => number.to_string(),
            Written::Text(text) => text,
        }
    }
}

macro_rules! as_text_in_serde {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Written::deserialize(from)?.into_text().parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text_in_serde!(Rate Size Period);

#[cfg(test)]
mod tests;
