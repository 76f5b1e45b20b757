//! The compiler run that gives the object, shaped so that its bytes depend on the sources and the
//! pinned tools alone: not on where the checkout, cargo's home or the target directory lie.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::library::Sysroot;
use super::lines;
use super::rustc_script;
use super::toolchain::{Toolchain, library_in};
use crate::{process, repo, say};

/// Where `--check` rebuilds, under the workspace's target directory.
pub const CHECK_DIR: &str = "ebpf-check";

pub const TARGET: &str = "bpfel-unknown-none";

/// The committed files, of the same sources, and what cargo is told for each.
const VARIANTS: [(&str, &[&str]); 2] = [
    ("sockleak.bpf.o", &[]),
    // For kernels before 5.17, which have no helper for loops.
    ("sockleak-5.10.bpf.o", &["--no-default-features"]),
];

pub struct Object {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

pub struct Build<'a> {
    pub toolchain: &'a Toolchain,
    pub linker: PathBuf,
    pub sysroot: Sysroot,
    /// Leave nothing of an earlier build to reuse.
    pub from_nothing: bool,
}

impl Build<'_> {
    /// Compiles `tracer-ebpf` in every variant and returns the objects without DWARF.
    pub fn objects(&self) -> Result<Vec<Object>> {
        let target = repo::target().join(if self.from_nothing { CHECK_DIR } else { "ebpf" });
        if self.from_nothing && target.exists() {
            fs::remove_dir_all(&target).with_context(|| format!("clear {}", target.display()))?;
        }
        fs::create_dir_all(&target).with_context(|| format!("create {}", target.display()))?;
        let rustc = rustc_script::write(self.toolchain, &self.sysroot, &target)?;
        // Fetched first: the folders to remap are known only when the sources are unpacked.
        process::run(
            self.cargo(&target, &rustc)
                .args(["fetch", "--locked", "--quiet"]),
        )?;
        let flags = self.flags(&target)?;
        let mut objects = Vec::new();
        for (name, options) in VARIANTS {
            say::step(format_args!("compiling tracer-ebpf: {name}"));
            let mut build = self.cargo(&target, &rustc);
            build
                .args([
                    "build",
                    "-Z",
                    "build-std=core",
                    "--target",
                    TARGET,
                    "--release",
                    "--locked",
                ])
                .args(options)
                .env("CARGO_ENCODED_RUSTFLAGS", &flags);
            process::run(&mut build)?;
            let bytes = self.without_dwarf(&target.join(TARGET).join("release/tracer-ebpf"))?;
            objects.push(Object { name, bytes });
        }
        Ok(objects)
    }

    /// cargo of the pinned toolchain, free of settings that would reach the object.
    fn cargo(&self, target: &Path, rustc: &Path) -> Command {
        let mut cargo = Command::new(self.toolchain.cargo());
        for (name, _) in env::vars_os() {
            if reaches_the_build(&name) {
                cargo.env_remove(name);
            }
        }
        cargo
            .current_dir(repo::root().join("tracer-ebpf"))
            .env("RUSTC", rustc)
            // An empty wrapper also overrides one named in a configuration file.
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "")
            // build-std on a stable release: the object needs `core` for a target without one.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_INCREMENTAL", "0")
            // bpf-linker loads rustc's own LLVM.
            .env("LD_LIBRARY_PATH", self.toolchain.lib());
        cargo
    }

    fn flags(&self, target: &Path) -> Result<OsString> {
        let mut flags: Vec<OsString> = vec![
            // The architecture of aya's bindings; this object reads no pt_regs, so one serves all.
            "--cfg=bpf_target_arch=\"x86_64\"".into(),
            // BTF is made from debug information.
            "-Cdebuginfo=2".into(),
            joined("-Clinker=", &self.linker),
            "-Clink-arg=--btf".into(),
        ];
        // The last matching prefix wins: from the widest to the narrowest.
        let mut remap = |from: &Path, to: &str| {
            for from in [Some(from.to_path_buf()), from.canonicalize().ok()]
                .into_iter()
                .flatten()
            {
                let mut flag = joined("--remap-path-prefix=", &from);
                flag.push("=");
                flag.push(to);
                flags.push(flag);
            }
        };
        remap(&repo::root(), "/sockleak");
        remap(&cargo_home(), "/cargo");
        for registry in registries()? {
            remap(&registry, "/registry");
        }
        remap(target, "/target");
        remap(&library_in(&self.sysroot.path), "/rust/library");
        remap(&self.sysroot.library, "/rust/library");
        Ok(flags.join(OsStr::new("\u{1f}")))
    }

    /// DWARF is nine tenths of the file and nothing that loads the object reads it; of the rest half is lines of
    /// source, and relocations that belong to them. BTF and the types of functions stay, which the kernel asks for.
    fn without_dwarf(&self, linked: &Path) -> Result<Vec<u8>> {
        let types = linked.with_extension("btf.ext");
        let stripped = linked.with_extension("stripped");
        let lean = linked.with_extension("lean");
        process::run(
            self.objcopy()
                .arg("--strip-debug")
                .arg(named_section("--dump-section=", &types))
                .args([linked, &stripped]),
        )?;
        let told = fs::read(&types).with_context(|| format!("read {}", types.display()))?;
        fs::write(&types, lines::removed(&told)?)
            .with_context(|| format!("write {}", types.display()))?;
        process::run(
            self.objcopy()
                .arg(format!("--remove-section=.rel{}", lines::SECTION))
                .arg(named_section("--update-section=", &types))
                .args([&stripped, &lean]),
        )?;
        fs::read(&lean).with_context(|| format!("read {}", lean.display()))
    }

    fn objcopy(&self) -> Command {
        let host = self
            .toolchain
            .lib()
            .join("rustlib")
            .join(&self.toolchain.host);
        let mut objcopy = Command::new(host.join("bin").join("rust-objcopy"));
        objcopy.env("LD_LIBRARY_PATH", self.toolchain.lib());
        objcopy
    }
}

fn named_section(option: &str, file: &Path) -> OsString {
    joined(&format!("{option}{}=", lines::SECTION), file)
}

/// Settings of the caller's cargo that would change flags, profiles or places of this build.
fn reaches_the_build(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    matches!(
        name,
        "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "AYA_BPF_TARGET_ARCH"
    ) || [
        "CARGO_PROFILE_",
        "CARGO_BUILD_",
        "CARGO_UNSTABLE_",
        "CARGO_TARGET_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

fn cargo_home() -> PathBuf {
    match (env::var_os("CARGO_HOME"), env::home_dir()) {
        (Some(home), _) => repo::root().join(home),
        (None, Some(user)) => user.join(".cargo"),
        (None, None) => PathBuf::from("/.cargo"),
    }
}

/// Where crates are unpacked: one folder a registry, named after the registry or its mirror.
fn registries() -> Result<Vec<PathBuf>> {
    let src = cargo_home().join("registry/src");
    let mut folders = Vec::new();
    for entry in fs::read_dir(&src).with_context(|| format!("list {}", src.display()))? {
        folders.push(
            entry
                .with_context(|| format!("list {}", src.display()))?
                .path(),
        );
    }
    folders.sort();
    Ok(folders)
}

fn joined(prefix: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(prefix);
    flag.push(path);
    flag
}
