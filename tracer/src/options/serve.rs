//! What `serve` was asked for: where it listens, who may ask there, and how much it shows.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Not among 9100 to 9999, all of which some exporter has.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:10435";

/// Where `serve` listens, and who may ask there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Web {
    pub listen: Vec<Listen>,
    pub config_file: Option<PathBuf>,
    /// Names under which this host may be asked, beside its addresses and its own name.
    pub allowed_hosts: Vec<String>,
    /// Sites that have metrics of their own.
    pub max_sites: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    /// `HOST:PORT` or `:PORT`.
    Tcp(String),
    Unix(PathBuf),
}

/// `127.0.0.1:10435`, `:10435` or `unix:/run/sockleak.sock`.
pub fn parse_listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.starts_with('/') {
            Ok(Listen::Unix(path.into()))
        } else {
            Err("a unix socket needs a path from the root: unix:/run/sockleak.sock".to_owned())
        };
    }
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(Listen::Tcp(text.to_owned())),
        _ => Err("write HOST:PORT, :PORT for all addresses, or unix:/PATH".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_path() {
        assert_eq!(parse_listen(":80"), Ok(Listen::Tcp(":80".to_owned())));
        assert_eq!(
            parse_listen("[::1]:80"),
            Ok(Listen::Tcp("[::1]:80".to_owned()))
        );
        assert_eq!(
            parse_listen("unix:/run/x"),
            Ok(Listen::Unix("/run/x".into()))
        );
        for wrong in [
            "",
            "80",
            "host",
            "host:",
            "host:x",
            "host:99999",
            "unix:x",
            "unix:",
        ] {
            assert!(parse_listen(wrong).is_err(), "{wrong}");
        }
    }
}
