//! The kernel's socket cookie: the identity of a socket for as long as the machine is up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Shown as `0x1f`: the form `ss -e` prints, and safe from readers that lose 64-bit integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for Cookie {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Without the prefix nothing parses: "1f" alone would read as a different, decimal thing.
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or_default(), 16).map(Self)
    }
}

impl Serialize for Cookie {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cookie {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_prefixed_hex_both_ways() {
        let json = serde_json::to_string(&Cookie(31)).unwrap();
        assert_eq!(json, "\"0x1f\"");
        assert_eq!(serde_json::from_str::<Cookie>(&json).unwrap(), Cookie(31));
        assert!("1f".parse::<Cookie>().is_err());
    }
}
