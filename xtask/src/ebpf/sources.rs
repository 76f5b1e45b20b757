//! What the kernel object is made from: every source file's sha256 and the pinned tools, in an
//! order that does not depend on the file system. Does not build anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::toolchain::Toolchain;
use super::{hex, linker};
use crate::repo;

/// Files and folders whose content reaches the object.
const INPUTS: &[&str] = &[
    "tracer-common/Cargo.toml",
    "tracer-common/src",
    "tracer-ebpf/Cargo.lock",
    "tracer-ebpf/Cargo.toml",
    "tracer-ebpf/src",
];

#[derive(PartialEq, Eq)]
pub struct Manifest {
    tools: [String; 2],
    /// Path from the root of the repository -> sha256.
    files: BTreeMap<String, String>,
}

impl Manifest {
    pub fn read(toolchain: &Toolchain) -> Result<Self> {
        let root = repo::root();
        let mut files = BTreeMap::new();
        for input in INPUTS {
            for path in files_under(&root.join(input))? {
                let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                files.insert(repo::shown(&path), hex(&bytes));
            }
        }
        let tools = [
            toolchain.version.clone(),
            format!("bpf-linker {}", linker::VERSION),
        ];
        Ok(Self { tools, files })
    }

    /// The digest over everything, then what it covers, so that a difference has a name.
    pub fn text(&self) -> String {
        let mut list = String::new();
        for tool in &self.tools {
            let _ = writeln!(list, "{tool}");
        }
        for (path, sha256) in &self.files {
            let _ = writeln!(list, "{sha256}  {path}");
        }
        format!("{}\n{list}", hex(list.as_bytes()))
    }

    /// One line for every entry that `recorded` lacks, has more, or has otherwise.
    pub fn differences(&self, recorded: &str) -> Vec<String> {
        let mut was: BTreeMap<&str, &str> = recorded
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(s, p)| (p, s))
            .collect();
        let mut lines = Vec::new();
        for tool in &self.tools {
            if !recorded.lines().any(|line| line == tool) {
                lines.push(format!("built with another version than {tool}"));
            }
        }
        for (path, sha256) in &self.files {
            match was.remove(path.as_str()) {
                Some(old) if old == sha256 => {}
                Some(_) => lines.push(format!("{path} changed")),
                None => lines.push(format!("{path} is new")),
            }
        }
        lines.extend(was.keys().map(|path| format!("{path} is gone")));
        if lines.is_empty() {
            lines.push("the digest in its first line does not cover its other lines".to_owned());
        }
        lines
    }
}

fn files_under(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("list {}", path.display()))? {
        let entry = entry
            .with_context(|| format!("list {}", path.display()))?
            .path();
        // Editors leave backups and swap files beside the sources; the compiler sees only these.
        if entry.is_dir() || entry.extension().is_some_and(|ext| ext == "rs") {
            files.extend(files_under(&entry)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: &[(&str, &str)]) -> Manifest {
        Manifest {
            tools: ["rustc 1".into(), "bpf-linker 2".into()],
            files: files
                .iter()
                .map(|(p, s)| ((*p).into(), (*s).into()))
                .collect(),
        }
    }

    #[test]
    fn every_difference_is_named() {
        let then = manifest(&[("a.rs", "1"), ("b.rs", "1")]);
        let mut now = manifest(&[("a.rs", "2"), ("c.rs", "1")]);
        now.tools = ["rustc 3".into(), "bpf-linker 2".into()];
        assert_eq!(
            now.differences(&then.text()),
            [
                "built with another version than rustc 3",
                "a.rs changed",
                "c.rs is new",
                "b.rs is gone"
            ]
        );
    }

    #[test]
    fn a_digest_that_covers_nothing_is_a_difference() {
        let now = manifest(&[("a.rs", "1")]);
        let edited = now.text().replacen(char::is_alphanumeric, "_", 1);
        assert_ne!(edited, now.text());
        assert_eq!(now.differences(&edited).len(), 1);
    }
}
