//! Nothing committed may name the machine it was written on: no path of a home or a workspace, and
//! no host of a package registry, whose name belongs to the reader's own configuration.

use std::fs;

use anyhow::{Context as _, Result};

use crate::repo;
use crate::trouble::Trouble;

/// In two halves, so that this file does not find itself.
const PATHS: &[(&str, &str)] = &[("/wo", "rk/"), ("/ro", "ot/")];
const HOSTS: &[&str] = &["deb", "index", "registry", "security"];
const DOMAINS: &[&str] = &["org", "io"];

pub fn check() -> Result<()> {
    let mut found = Vec::new();
    for file in repo::files()? {
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        // Lossy on purpose: a path inside the kernel object counts as well.
        for (number, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            if let Some(trace) = trace_in(line) {
                found.push(format!("{}:{}: {trace}", repo::shown(&file), number + 1));
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Trouble::error(
        format!(
            "committed files name a machine:\n    {}",
            found.join("\n    ")
        ),
        "output or configuration of one machine was pasted in",
        "derive it at run time, or write a path or host that means nothing anywhere",
    ))
}

fn trace_in(line: &str) -> Option<String> {
    path_in(line).or_else(|| host_in(line))
}

fn path_in(line: &str) -> Option<String> {
    PATHS
        .iter()
        .map(|(head, tail)| format!("{head}{tail}"))
        .find(|path| {
            line.match_indices(path.as_str()).any(|(at, _)| {
                let before = line.get(..at).unwrap_or_default();
                // Only where the path begins: `src/…` may well have a folder of that name.
                !before.ends_with(|c: char| c.is_alphanumeric() || "._-/})".contains(c))
            })
        })
}

/// `HOST.label.DOMAIN` with nothing in front that would make it another name.
fn host_in(line: &str) -> Option<String> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-')
        .find_map(|word| {
            let labels: Vec<&str> = word.split('.').collect();
            labels.windows(3).find_map(|window| match window {
                [host, name, domain]
                    if HOSTS.contains(host)
                        && DOMAINS.contains(domain)
                        && !name.is_empty()
                        && name.chars().all(|c| c.is_ascii_lowercase() || c == '-') =>
                {
                    Some(format!("{host}.{name}.{domain}"))
                }
                _ => None,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths() {
        let home = ["/ro", "ot/x"].concat();
        assert!(trace_in(&format!("see {home}")).is_some());
        assert!(trace_in(&format!("a=\"{home}\"")).is_some());
        assert!(trace_in(&format!("/proc/1{home}")).is_none());
        assert!(trace_in("/rootless/x and /workspace").is_none());
    }

    #[test]
    fn registry_hosts() {
        for (host, rest) in [
            ("deb", ".example.org"),
            ("index", ".some-crates.io"),
            ("security", ".x.org"),
        ] {
            assert!(
                trace_in(&format!("URIs: http://{host}{rest}/debian")).is_some(),
                "{host}"
            );
        }
        assert!(trace_in("crates.io-index, docs.example.org, array.index.len.io2").is_none());
        assert!(trace_in("sha.index.io").is_none());
    }
}
