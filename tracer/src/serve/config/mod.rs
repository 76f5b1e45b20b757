//! The web config file: the format of Prometheus' exporter-toolkit, as far as rustls can do it. Read by the
//! tracer, which may see the keys; what rustls cannot do is refused by name, not ignored.

mod file;
mod tls;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::ServerConfig;

use crate::{exit::Explained, model::untrusted::Untrusted};

/// Longer than any certificate chain.
const MAX_FILE: u64 = 1 << 20;

/// The file and all files that it names, as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    pub(super) tls: Option<Tls>,
    /// Name and bcrypt hash.
    pub(super) users: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) rate_limit: Option<RateLimit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tls {
    pub cert: Vec<u8>,
    pub key: Vec<u8>,
    pub client_ca: Option<Vec<u8>>,
    pub client_auth: ClientAuth,
    pub client_allowed_sans: Vec<String>,
    pub tls12: bool,
    pub tls13: bool,
    /// Empty are all that rustls has.
    pub cipher_suites: Vec<String>,
    pub curves: Vec<String>,
    pub prefer_server_order: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ClientAuth {
    None,
    IfGiven,
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RateLimit {
    /// Between two requests.
    pub interval: Duration,
    pub burst: u32,
}

impl Loaded {
    /// Does a request have to prove who sends it?
    pub fn authenticates(&self) -> bool {
        !self.users.is_empty()
            || self
                .tls
                .as_ref()
                .is_some_and(|tls| tls.client_auth == ClientAuth::Required)
    }

    pub(super) fn server_config(&self) -> Result<Option<Arc<ServerConfig>>, String> {
        self.tls.as_ref().map(tls::server_config).transpose()
    }
}

/// The file and when it and those that it names were written last.
pub struct WebConfig {
    path: Option<PathBuf>,
    seen: Vec<(PathBuf, Option<Stamp>)>,
    pub loaded: Loaded,
    /// Why what the file says now is not in force.
    pub wrong: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl WebConfig {
    /// `None` is neither TLS nor authentication.
    pub fn load(path: Option<&Path>) -> Result<Self, Explained> {
        let Some(path) = path else {
            return Ok(Self {
                path: None,
                seen: Vec::new(),
                loaded: Loaded::default(),
                wrong: None,
            });
        };
        let mut seen = Vec::new();
        let loaded = read(path, &mut seen).map_err(|reason| wrong(path, &reason))?;
        Ok(Self {
            path: Some(path.to_owned()),
            seen,
            loaded,
            wrong: None,
        })
    }

    /// Reads again when a file has changed: true when there is something new to hand over. A file that became
    /// wrong leaves the old settings in force.
    pub fn refresh(&mut self) -> Result<bool, Explained> {
        let Some(path) = self.path.clone() else {
            return Ok(false);
        };
        if self.seen.iter().all(|(file, then)| stamp(file) == *then) {
            return Ok(false);
        }
        let mut seen = Vec::new();
        let read = read(&path, &mut seen);
        // Also after a failure: it is told once for each change.
        self.seen = seen;
        let loaded = read.map_err(|reason| wrong(&path, &reason));
        let said = loaded.as_ref().err();
        self.wrong = said.map(|wrong| format!("{wrong}; the settings before stay in force"));
        let loaded = loaded?;
        let news = loaded != self.loaded;
        self.loaded = loaded;
        Ok(news)
    }
}

fn read(path: &Path, seen: &mut Vec<(PathBuf, Option<Stamp>)>) -> Result<Loaded, String> {
    let text = content(path, seen)?;
    let text = String::from_utf8(text).map_err(|_| "it is not text".to_owned())?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let loaded = file::parse(&text, &mut |named: &str| content(&folder.join(named), seen))?;
    // Certificates that do not fit are found here and not at the first request.
    loaded.server_config()?;
    Ok(loaded)
}

fn content(path: &Path, seen: &mut Vec<(PathBuf, Option<Stamp>)>) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| {
        let path = Untrusted::new(path.display().to_string());
        format!("{path} cannot be read: {error}")
    };
    seen.push((path.to_owned(), stamp(path)));
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE {
        let path = Untrusted::new(path.display().to_string());
        return Err(format!("{path} is larger than 1 MiB"));
    }
    fs::read(path).map_err(failed)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
    })
}

fn wrong(path: &Path, reason: &str) -> Explained {
    let path = Untrusted::new(path.display().to_string());
    Explained::new(
        format!("the web config file {path} cannot be used"),
        reason,
        "compare it with docs/operating.md; the format is that of Prometheus' exporter-toolkit",
    )
}

#[cfg(test)]
mod tests;
