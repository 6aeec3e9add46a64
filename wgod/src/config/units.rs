//! Rates, sizes and times as settings.
use wgo_api::units::{Period, Rate, Size};

use super::setting::{Raw, Refused, Setting, quoted};

/// The text of a quantity: a number stands for text without a unit, the ways to say "off" for 0.
fn text(raw: &Raw) -> Result<String, Refused> {
    match raw {
        raw if raw.is_off() => Ok("0".into()),
        Raw::Text(text) | Raw::Bare(text) => Ok(text.clone()),
        Raw::Int(n) => Ok(n.to_string()),
        Raw::Float(x) => Ok(x.to_string()),
        _ => Err(Refused::default()),
    }
}

macro_rules! quantity {
    ($($ty:ty: $allowed:literal),*) => {$(
        impl Setting for $ty {
            fn allowed() -> String {
                $allowed.into()
            }

            fn parse(raw: &Raw) -> Result<$ty, Refused> {
                text(raw)?.parse().map_err(|_| Refused::default())
            }

            fn to_toml(&self) -> String {
                if self.0 == 0 { "0".into() } else { quoted(&self.to_string()) }
            }
        }
    )*};
}

quantity!(
    Rate: "a rate such as \"20 MB/s\", \"1 MiB/s\" or \"500000 B/s\", a number of KB/s, or 0 for no limit",
    Size: "a size such as \"64 MiB\" or \"500 GB\", or a number of bytes",
    Period: "a time such as \"90 s\", \"10 min\" or \"2 h\", or a number of seconds"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_toml_is_a_rate_in_kilobytes() {
        assert_eq!(Rate::parse(&Raw::Int(20)), Ok(Rate(20_000)));
        assert_eq!(Rate::parse(&Raw::Float(0.5)), Ok(Rate(500)));
        assert_eq!(Rate::parse(&Raw::Text("off".into())), Ok(Rate(0)));
        assert!(Rate::parse(&Raw::Int(-1)).is_err());
        assert!(Rate::parse(&Raw::Bool(true)).is_err());
    }

    #[test]
    fn what_is_written_reads_back_unchanged() {
        for n in [0, 1, 1000, 1023, 1 << 20, 52 << 20, 1_000_000_001, u64::MAX] {
            let text = |toml: String| Raw::Text(toml.trim_matches('"').to_owned());
            assert_eq!(Rate::parse(&text(Rate(n).to_toml())), Ok(Rate(n)));
            assert_eq!(Size::parse(&text(Size(n).to_toml())), Ok(Size(n)));
            assert_eq!(Period::parse(&text(Period(n).to_toml())), Ok(Period(n)));
        }
    }
}
