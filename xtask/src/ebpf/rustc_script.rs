//! The script cargo runs as rustc. It names the sysroot, and gives every crate for the BPF target a
//! `-C metadata` of its name and version: cargo's own hashes the absolute path of crates outside
//! the workspace (`core`, tracer-common), and that ends up in symbols and their order.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::compile::TARGET;
use super::library::Sysroot;
use super::toolchain::Toolchain;

pub fn write(toolchain: &Toolchain, sysroot: &Sysroot, dir: &Path) -> Result<PathBuf> {
    let script = format!(
        "#!/bin/sh\n\
         # Written by `cargo xtask ebpf`; see xtask/src/ebpf/rustc_script.rs.\n\
         case \" $* \" in *\" --target {TARGET} \"*) bpf=1 ;; *) bpf=0 ;; esac\n\
         for arg do\n  \
           shift\n  \
           case \"$bpf$arg\" in\n    \
             1metadata=*) arg=\"metadata=$CARGO_PKG_NAME-$CARGO_PKG_VERSION\" ;;\n  \
           esac\n  \
           set -- \"$@\" \"$arg\"\n\
         done\n\
         exec {} --sysroot {} \"$@\"\n",
        quoted(&toolchain.rustc()),
        quoted(&sysroot.path),
    );
    let path = dir.join("rustc");
    // cargo rebuilds everything when its compiler has a new mtime.
    if fs::read_to_string(&path).is_ok_and(|now| now == script) {
        return Ok(path);
    }
    fs::write(&path, script).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", path.display()))?;
    Ok(path)
}

/// For `sh`, whatever the path has in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
