//! Quantities as operators write them: `"20 MB/s"`, `"1 MiB"`, `"10 min"`.
//!
//! Decimal units are powers of 1000, binary ones powers of 1024. A bare rate is KB/s, a bare size
//! bytes, a bare duration seconds.
use std::fmt;
use std::str::FromStr;

/// A limit in bytes per second; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

/// A span of whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub u64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Units of bytes, the largest first.
const BYTES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("B", 1),
];

/// Seconds of each unit of time, the largest first; the first name of each is the one written.
const TIMES: &[(&[&str], u64)] = &[
    (&["d", "day", "days"], 86_400),
    (&["h", "hour", "hours"], 3600),
    (&["min", "minute", "minutes"], 60),
    (&["s", "sec", "second", "seconds"], 1),
];

/// The text is no quantity of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a number with a known unit")]
pub struct BadUnit;

impl FromStr for Rate {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Rate, BadUnit> {
        read(text, |unit| if unit.is_empty() { Some(1000) } else { bytes_of(unit.strip_suffix("/s")?) })
            .map(Rate)
    }
}

impl FromStr for Size {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Size, BadUnit> {
        read(text, |unit| if unit.is_empty() { Some(1) } else { bytes_of(unit) }).map(Size)
    }
}

impl FromStr for Period {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Period, BadUnit> {
        let secs = |unit: &str| TIMES.iter().find(|(names, _)| names.contains(&unit)).map(|(_, secs)| *secs);
        read(text, |unit| if unit.is_empty() { Some(1) } else { secs(unit) }).map(Period)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

impl fmt::Display for Size {
    /// In the largest unit that gives a whole number, so that nothing is lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |scale: u64| self.0.is_multiple_of(scale) && self.0 >= scale;
        let (name, scale) = BYTES.iter().find(|(_, scale)| exact(*scale)).unwrap_or(&("B", 1));
        write!(f, "{} {name}", self.0 / scale)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, scale): &&(&[&str], u64)| self.0.is_multiple_of(*scale) && self.0 >= *scale;
        match TIMES.iter().find(fits) {
            Some((names, scale)) => write!(f, "{} {}", self.0 / scale, names[0]),
            None => f.write_str("0 s"),
        }
    }
}

/// The value of `text` in the unit whose size `scale` knows.
fn read(text: &str, scale: impl Fn(&str) -> Option<u64>) -> Result<u64, BadUnit> {
    let value = || {
        let (number, unit) = split(text)?;
        scaled(number, scale(unit)?)
    };
    value().ok_or(BadUnit)
}

/// The number and the unit of a quantity; blanks between them are free.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then_some((number, unit.trim_start()))
}

fn bytes_of(unit: &str) -> Option<u64> {
    BYTES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, scale)| *scale)
}

/// `number × scale` in whole units, exactly: at most nine digits of fraction, no overflow.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || number.ends_with('.') {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let tenths = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let total = u128::from(whole) * u128::from(scale) + fraction * u128::from(scale) / tenths;
    u64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_every_notation() {
        let cases = [
            ("20 KB/s", Some(20_000)),
            ("20", Some(20_000)),
            ("0 B/s", Some(0)),
            ("0.5", Some(500)),
            ("1 MiB/s", Some(1 << 20)),
            ("1.5MB/s", Some(1_500_000)),
            ("18446744073709551615 B/s", Some(u64::MAX)),
            ("18446744073709551616 B/s", None),
            ("20 KB/s/s", None),
            ("20 kbit/s", None),
            ("-1", None),
            ("1.2.3", None),
            ("1.", None),
            ("", None),
            ("fast", None),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<Rate>().ok().map(|rate| rate.0), want, "{text}");
        }
    }

    #[test]
    fn sizes_and_times_are_read_in_every_notation() {
        for (text, want) in [("1 MiB", 1 << 20), ("512", 512), ("2 GB", 2_000_000_000)] {
            assert_eq!(text.parse(), Ok(Size(want)), "{text}");
        }
        for (text, want) in [("10 min", 600), ("90", 90), ("1.5 h", 5400), ("2 days", 172_800)] {
            assert_eq!(text.parse(), Ok(Period(want)), "{text}");
        }
        assert!("10 parsecs".parse::<Period>().is_err());
    }
}
