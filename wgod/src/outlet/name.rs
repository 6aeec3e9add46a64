//! The name of a network interface.
use std::fmt;
use std::str::FromStr;

/// A name that Linux may give an interface: no more than 15 bytes (`IFNAMSIZ`), without spaces, `/` and `:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Bytes at most.
    pub const MAX_LEN: usize = 15;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text can't be the name of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no name of a network interface, as in \"wg0\"")]
pub struct NotAName;

impl FromStr for InterfaceName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<InterfaceName, NotAName> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text != "." && text != "..";
        let odd =
            |byte: u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || matches!(byte, b'/' | b':');
        if fits && !text.bytes().any(odd) { Ok(InterfaceName(text.to_owned())) } else { Err(NotAName) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_takes_is_taken() {
        for name in ["wg0", "lo", "enp0s31f6", "br-1234567890ab", "eth0.100", "tun-ä"] {
            assert_eq!(name.parse::<InterfaceName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
        for name in ["", ".", "..", "a b", "eth0:1", "a/b", "a\0", "sixteen-bytes-xx", "a\n"] {
            assert_eq!(name.parse::<InterfaceName>(), Err(NotAName), "{name:?}");
        }
    }
}
