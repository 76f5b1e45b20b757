//! The one Rust release that builds the kernel object: another compiler gives other bytes.
//! Finds it; never installs one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::trouble::Trouble;

/// The last release the pinned aya family builds with and bpf-linker's LLVM matches.
pub const RELEASE: &str = "1.95.0";

pub struct Toolchain {
    /// As `rustc --version` prints it.
    pub version: String,
    pub sysroot: PathBuf,
    /// The host triple: names a folder in the sysroot.
    pub host: String,
}

impl Toolchain {
    /// The current compiler when it is the right one, else rustup's copy of the right one.
    pub fn find() -> Result<Self> {
        if let Ok(found) = Self::ask(|| Command::new("rustc"))
            && found.is_release()
        {
            return Ok(found);
        }
        // Asking must not start a download: that is the user's to decide.
        let pinned = || {
            let mut rustc = Command::new("rustc");
            rustc
                .env("RUSTUP_TOOLCHAIN", RELEASE)
                .env("RUSTUP_AUTO_INSTALL", "0");
            rustc
        };
        match Self::ask(pinned) {
            Ok(found) if found.is_release() => Ok(found),
            _ => Err(Trouble::error(
                format!("rustc {RELEASE} is not here, and only it builds the kernel object"),
                "the object is compared byte for byte, so its compiler is pinned; the rest of the \
                 workspace builds with any stable release",
                format!("rustup toolchain install {RELEASE} --profile minimal"),
            )),
        }
    }

    pub fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    pub fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }

    /// Where rustc keeps its own LLVM, which bpf-linker loads.
    pub fn lib(&self) -> PathBuf {
        self.sysroot.join("lib")
    }

    /// The toolchain's own copy of the library's sources, when the component is installed.
    pub fn own_library(&self) -> Option<PathBuf> {
        let library = library_in(&self.sysroot);
        library.join("core/src/lib.rs").exists().then_some(library)
    }

    fn ask(rustc: impl Fn() -> Command) -> Result<Self> {
        let said = process::read(rustc().arg("-vV"))?;
        let version = said.lines().next().unwrap_or_default().to_owned();
        let host = said
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default();
        let sysroot = process::read(rustc().args(["--print", "sysroot"]))?;
        Ok(Self {
            version,
            sysroot: PathBuf::from(sysroot),
            host: host.to_owned(),
        })
    }

    fn is_release(&self) -> bool {
        self.version.split(' ').nth(1) == Some(RELEASE) && self.rustc().exists()
    }
}

/// Where cargo's build-std looks for the library in a sysroot.
pub fn library_in(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib/src/rust/library")
}
