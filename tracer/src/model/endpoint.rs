//! Addresses as the report writes them: `addr:port`, `[v6]:port`, v4-mapped IPv6 as IPv4, and the
//! word `redacted` where the user asked not to see remote addresses.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::{fmt, net};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const REDACTED: &str = "redacted";

/// One end of a connection. The scope id of a link-local address is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(pub SocketAddr);

impl Endpoint {
    /// The address as shown: v4-mapped IPv6 is the IPv4 address it stands for.
    pub fn ip(&self) -> IpAddr {
        self.0.ip().to_canonical()
    }

    pub fn port(&self) -> u16 {
        self.0.port()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port()),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The other end of a connection, which `--redact-addrs` may hide. The port stays: 443 or 5432 says
/// which service a client leaks towards and names no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remote {
    Known(Endpoint),
    Redacted { port: u16 },
}

impl Remote {
    #[must_use]
    pub fn redacted(self) -> Self {
        match self {
            Self::Known(endpoint) => Self::Redacted {
                port: endpoint.port(),
            },
            Self::Redacted { .. } => self,
        }
    }
}

impl From<SocketAddr> for Remote {
    fn from(address: SocketAddr) -> Self {
        Self::Known(Endpoint(address))
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(endpoint) => endpoint.fmt(f),
            Self::Redacted { port } => write!(f, "{REDACTED}:{port}"),
        }
    }
}

impl FromStr for Remote {
    type Err = net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let redacted = text
            .strip_prefix(REDACTED)
            .and_then(|rest| rest.strip_prefix(':'));
        match redacted.and_then(|port| port.parse().ok()) {
            Some(port) => Ok(Self::Redacted { port }),
            None => text.parse().map(Self::Known),
        }
    }
}

/// A remote host without its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    Known(IpAddr),
    Redacted,
}

impl From<IpAddr> for Peer {
    fn from(ip: IpAddr) -> Self {
        Self::Known(ip.to_canonical())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(ip) => ip.to_canonical().fmt(f),
            Self::Redacted => f.write_str(REDACTED),
        }
    }
}

impl FromStr for Peer {
    type Err = net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == REDACTED {
            Ok(Self::Redacted)
        } else {
            text.parse().map(Self::Known)
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(Endpoint, Remote, Peer);

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Endpoint>().unwrap().to_string()
    }

    #[test]
    fn endpoints_read_as_the_contract_says() {
        assert_eq!(shown("10.0.0.5:11112"), "10.0.0.5:11112");
        assert_eq!(shown("[2001:db8::1]:443"), "[2001:db8::1]:443");
        assert_eq!(shown("[::ffff:10.0.0.5]:80"), "10.0.0.5:80");
        let json = serde_json::to_string(&"[::1]:80".parse::<Endpoint>().unwrap()).unwrap();
        assert_eq!(json, "\"[::1]:80\"");
    }

    #[test]
    fn a_redacted_remote_keeps_only_its_port() {
        let remote: Remote = "10.0.0.9:50412".parse().unwrap();
        let json = serde_json::to_string(&remote.redacted()).unwrap();
        assert_eq!(json, "\"redacted:50412\"");
        assert_eq!(
            serde_json::from_str::<Remote>(&json).unwrap(),
            remote.redacted()
        );
        assert_eq!(
            serde_json::from_str::<Peer>("\"redacted\"").unwrap(),
            Peer::Redacted
        );
        assert_eq!(
            Peer::from("::ffff:10.0.0.9".parse::<IpAddr>().unwrap()).to_string(),
            "10.0.0.9"
        );
    }
}
