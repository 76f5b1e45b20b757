//! Where things are in this checkout.

use std::env;
use std::path::{Path, PathBuf};

/// The checkout this xtask was compiled from.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target directory for the workspace.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Tools fetched or built once and kept: bpf-linker, the standard library's sources, a sysroot.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// `path` as a reader of the repository would write it.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
