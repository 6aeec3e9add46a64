//! The plain types that settings have: switches, numbers, paths, addresses, lists.
use std::net::IpAddr;
use std::path::PathBuf;

use wgo_proto::host_port::HostPort;
use wgo_proto::metainfo::PartSuffix;

use crate::outlet::InterfaceName;

use super::setting::{Raw, Refused, Setting, quoted};

impl Setting for bool {
    fn allowed() -> String {
        "true or false".into()
    }

    fn parse(raw: &Raw) -> Result<bool, Refused> {
        match raw {
            Raw::Bool(on) => Ok(*on),
            Raw::Text(text) if matches!(text.as_str(), "on" | "off") => Ok(text == "on"),
            Raw::Bare(text) => match text.as_str() {
                "true" | "on" | "yes" | "1" => Ok(true),
                "false" | "off" | "no" | "0" => Ok(false),
                _ => Err(Refused::default()),
            },
            _ => Err(Refused::default()),
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_number {
    ($($int:ty),*) => {$(
        impl Setting for $int {
            fn allowed() -> String {
                "a whole number".into()
            }

            fn parse(raw: &Raw) -> Result<$int, Refused> {
                raw.whole().and_then(|n| <$int>::try_from(n).ok()).ok_or_else(Refused::default)
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_number!(u16, u32);

/// A share ratio, uploaded bytes over the torrent's size.
impl Setting for f64 {
    fn allowed() -> String {
        "a number".into()
    }

    fn parse(raw: &Raw) -> Result<f64, Refused> {
        let number = match raw {
            raw if raw.is_off() => Some(0.0),
            Raw::Int(n) => Some(*n as f64),
            Raw::Float(x) => Some(*x),
            Raw::Bare(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|x: &f64| x.is_finite()).ok_or_else(Refused::default)
    }

    fn to_toml(&self) -> String {
        // `{:?}` keeps the point: 2.0 stays a number with a fraction.
        format!("{self:?}")
    }
}

/// An absolute path, or one below the home directory of the user who runs the daemon.
impl Setting for PathBuf {
    fn allowed() -> String {
        "an absolute path, or one that begins with ~/".into()
    }

    fn parse(raw: &Raw) -> Result<PathBuf, Refused> {
        match raw.text() {
            Some(text) if text.contains('\0') => Err(Refused::because("a path has no NUL character")),
            Some(text) if text.starts_with('/') || text.starts_with("~/") => Ok(PathBuf::from(text)),
            _ => Err(Refused::default()),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

macro_rules! by_from_str {
    ($($ty:ty: $allowed:literal),*) => {$(
        impl Setting for $ty {
            fn allowed() -> String {
                $allowed.into()
            }

            fn parse(raw: &Raw) -> Result<$ty, Refused> {
                raw.text().and_then(|text| text.trim().parse().ok()).ok_or_else(Refused::default)
            }

            fn to_toml(&self) -> String {
                quoted(&self.to_string())
            }
        }
    )*};
}

by_from_str!(
    IpAddr: "an IPv4 or IPv6 address",
    HostPort: "a host and a port, as in \"router.example:6881\" or \"[2001:db8::1]:6881\""
);

/// The name of a network interface.
impl Setting for InterfaceName {
    fn allowed() -> String {
        format!("the name of a network interface, of up to {} bytes, as in \"wg0\"", InterfaceName::MAX_LEN)
    }

    fn parse(raw: &Raw) -> Result<InterfaceName, Refused> {
        raw.text().and_then(|text| text.parse().ok()).ok_or_else(Refused::default)
    }

    fn to_toml(&self) -> String {
        quoted(self.as_str())
    }
}

/// What ends the names of files that aren't complete.
impl Setting for PartSuffix {
    fn allowed() -> String {
        let more = PartSuffix::MAX_LEN - 1;
        format!("a dot and up to {more} more bytes that a file name may have, as in \".part\"")
    }

    fn parse(raw: &Raw) -> Result<PartSuffix, Refused> {
        let suffix = raw.text().and_then(|text| text.parse().ok());
        suffix.ok_or_else(Refused::default)
    }

    fn to_toml(&self) -> String {
        quoted(self.as_str())
    }
}

impl Setting for String {
    fn allowed() -> String {
        "text".into()
    }

    fn parse(raw: &Raw) -> Result<String, Refused> {
        raw.text().map(String::from).ok_or_else(Refused::default)
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

/// A setting that may be left to the daemon: `""`, `"off"` and `false` leave it.
impl<T: Setting> Setting for Option<T> {
    fn allowed() -> String {
        format!("{}, or \"\" for none", T::allowed())
    }

    fn parse(raw: &Raw) -> Result<Option<T>, Refused> {
        if raw.is_off() { Ok(None) } else { T::parse(raw).map(Some) }
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted(""), T::to_toml)
    }

    fn shown(raw: &Raw) -> String {
        T::shown(raw)
    }
}

/// A list; untyped text separates its items with commas, `"off"` and `false` are the empty list.
impl<T: Setting> Setting for Vec<T> {
    fn allowed() -> String {
        format!("a list [\"…\", …], each item {}", T::allowed())
    }

    fn parse(raw: &Raw) -> Result<Vec<T>, Refused> {
        match raw {
            raw if raw.is_off() => Ok(Vec::new()),
            Raw::List(items) => items.iter().map(T::parse).collect(),
            Raw::Bare(text) => text.split(',').map(|item| T::parse(&Raw::Bare(item.trim().into()))).collect(),
            _ => Err(Refused::default()),
        }
    }

    fn to_toml(&self) -> String {
        let items: Vec<_> = self.iter().map(T::to_toml).collect();
        format!("[{}]", items.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.into())
    }

    fn bare(text: &str) -> Raw {
        Raw::Bare(text.into())
    }

    #[test]
    fn types_of_a_file_are_strict_and_those_of_the_environment_are_read_from_text() {
        assert!(u16::parse(&text("6868")).is_err());
        assert_eq!(u16::parse(&bare("6868")), Ok(6868));
        assert!(u16::parse(&Raw::Int(65_536)).is_err());
        assert!(bool::parse(&text("true")).is_err());
        assert_eq!(bool::parse(&bare("true")), Ok(true));
        assert!(Vec::<IpAddr>::parse(&text("10.0.0.1")).is_err());
        assert_eq!(Vec::<IpAddr>::parse(&bare("10.0.0.1, ::1")).map(|ips| ips.len()), Ok(2));
    }

    #[test]
    fn off_is_understood_by_every_switch_list_and_optional_value() {
        for off in [Raw::Bool(false), text("off"), text(""), bare("off")] {
            assert_eq!(Option::<String>::parse(&off), Ok(None), "{off}");
            assert_eq!(Vec::<PathBuf>::parse(&off), Ok(vec![]), "{off}");
        }
        assert_eq!(bool::parse(&text("off")), Ok(false));
    }

    #[test]
    fn a_path_is_absolute_or_at_home() {
        assert!(PathBuf::parse(&text("downloads")).is_err());
        assert!(PathBuf::parse(&text("/a\0b")).is_err());
        assert_eq!(PathBuf::parse(&text("~/dl")), Ok(PathBuf::from("~/dl")));
        assert_eq!(PathBuf::from("/a \"b\"\\").to_toml(), r#""/a \"b\"\\""#);
    }
}
