//! Which Debian archive this machine installs from, read from apt's own configuration in both of
//! its formats. Knows no archive itself, and writes nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// An archive as the machine's own configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    pub uri: String,
    pub signed_by: Option<String>,
}

/// The first archive of `sources.list` and `sources.list.d` that is Debian's main one.
pub fn configured_archive(etc_apt: &Path) -> Result<Option<Archive>> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc_apt.join("sources.list.d")) {
        files.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
    }
    files.sort();
    for file in files {
        let parse: fn(&str) -> Vec<Archive> = match file.extension().and_then(|ext| ext.to_str()) {
            Some("list") => one_line_entries,
            Some("sources") => deb822_entries,
            _ => continue,
        };
        if !file.exists() {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        if let Some(found) = parse(&text).into_iter().find(is_debian) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Mirrors keep the archive's own folder name, whatever host they are.
fn is_debian(archive: &Archive) -> bool {
    archive.uri.trim_end_matches('/').ends_with("/debian")
}

/// `deb [signed-by=KEY arch=…] URI suite component…`
fn one_line_entries(text: &str) -> Vec<Archive> {
    let entry = |line: &str| {
        let mut rest = line.trim().strip_prefix("deb ")?.trim_start();
        let mut signed_by = None;
        if let Some((options, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            signed_by = options
                .split_whitespace()
                .find_map(|option| option.strip_prefix("signed-by="))
                .map(str::to_owned);
            rest = after.trim_start();
        }
        Some(Archive {
            uri: rest.split_whitespace().next()?.to_owned(),
            signed_by,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// Stanzas of `Key: value` lines; a folded value (an inline key) is left to apt's own keyring.
fn deb822_entries(text: &str) -> Vec<Archive> {
    let stanza = |stanza: &str| {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let enabled = field("Enabled").is_none_or(|value| value != "no");
        let binary = field("Types")?.split_whitespace().any(|kind| kind == "deb");
        let uri = field("URIs")?.split_whitespace().next()?.to_owned();
        let signed_by = field("Signed-By").filter(|key| key.starts_with('/'));
        (enabled && binary).then_some(Archive { uri, signed_by })
    };
    text.split("\n\n").filter_map(stanza).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(uri: &str, key: Option<&str>) -> Archive {
        Archive {
            uri: uri.into(),
            signed_by: key.map(Into::into),
        }
    }

    #[test]
    fn one_line_format() {
        let text = "# deb http://old/debian x main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror/debian/ bookworm main\n\
                    deb-src http://mirror/debian bookworm main\n\
                    deb http://mirror/debian-security bookworm-security main\n";
        let entries = one_line_entries(text);
        assert_eq!(
            entries,
            [
                archive("http://mirror/debian/", Some("/k.gpg")),
                archive("http://mirror/debian-security", None)
            ]
        );
        assert_eq!(entries.iter().filter(|entry| is_debian(entry)).count(), 1);
    }

    #[test]
    fn deb822_format() {
        let text = "Types: deb\n# a note\nURIs: http://mirror/debian\nSuites: a b\n\
                    Signed-By: /k.gpg\n\nTypes: deb-src\nURIs: http://mirror/debian\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://off/debian\n";
        assert_eq!(
            deb822_entries(text),
            [archive("http://mirror/debian", Some("/k.gpg"))]
        );
    }
}
