//! Rigs of one behaviour in the languages and kinds of build whose names are documented.
use crate::manifest::{self, Entry};
use crate::rig::{Rig, Start};
use crate::{compile, installed, process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

#[derive(Debug)]
pub struct Flavour {
    pub language: &'static str,
    /// What a reader is to know about the build.
    pub build: String,
    pub entry: Entry,
    pub special: Special,
}

/// What has to be done besides starting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    Nothing,
    /// It runs in a root directory of its own, where its debug information is.
    OwnRoot,
    /// Its runtime lists the code it made when it is asked to.
    JavaMap,
}

fn flavour(language: &'static str, build: &str, entry: Entry) -> Flavour {
    Flavour {
        language,
        build: build.to_owned(),
        entry,
        special: Special::Nothing,
    }
}

/// Built otherwise than the entry it is like.
fn built(like: &str, name: &str, build: &str, args: &[&str]) -> Entry {
    Entry {
        name: name.to_owned(),
        build: build.to_owned(),
        build_args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..manifest::entry(like)
    }
}

/// The handler is reached in another way.
fn reached(name: &str, way: &str) -> Entry {
    Entry {
        source: "c/eof_paths.c".to_owned(),
        ..built("c-eof-ignored", name, "c", &[way])
    }
}

fn interpreted(name: &str, language: &str, source: &str, args: &[&str]) -> Entry {
    Entry {
        language: language.to_owned(),
        source: source.to_owned(),
        ..built("python-eof-ignored", name, language, args)
    }
}

/// In the order of the document.
pub fn all() -> Vec<Flavour> {
    [in_c(), compiled(), interpreters()]
        .into_iter()
        .flatten()
        .collect()
}

fn in_c() -> Vec<Flavour> {
    let entry = manifest::entry;
    let plugin = Entry {
        source: "c/eof_paths.c".to_owned(),
        ..built("c-eof-ignored", "c-eof-dlopen", "c-plugin", &[])
    };
    vec![
        flavour(
            "C",
            "glibc, `-O2 -fomit-frame-pointer`",
            entry("c-eof-ignored"),
        ),
        flavour("C", "the same with `-g`", entry("c-eof-ignored-debug")),
        flavour("C", "the same, stripped", entry("c-eof-ignored-stripped")),
        Flavour {
            special: Special::OwnRoot,
            ..separate_debug()
        },
        flavour(
            "C",
            "`-O2 -flto`",
            built("c-eof-ignored", "c-eof-lto", "c", &["-flto"]),
        ),
        flavour(
            "C",
            "glibc, `-static-pie`",
            entry("c-eof-ignored-static-pie"),
        ),
        flavour("C", "musl, `-static`", entry("c-eof-ignored-musl-static")),
        flavour("C", "25 calls deep", reached("c-eof-deep", "-DDEEP")),
        flavour(
            "C",
            "a frame with `alloca()`",
            reached("c-eof-alloca", "-DALLOCA"),
        ),
        flavour(
            "C",
            "called by a tail call",
            reached("c-eof-tail-call", "-DTAIL_CALL"),
        ),
        flavour(
            "C",
            "in a signal handler",
            reached("c-eof-signal", "-DIN_SIGNAL"),
        ),
        flavour("C", "in a library from `dlopen()`", plugin),
        flavour("C++", "libstdc++, `-O2`", entry("cpp-eof-ignored")),
    ]
}

fn compiled() -> Vec<Flavour> {
    let entry = manifest::entry;
    vec![
        flavour(
            "C++",
            "the same, stripped",
            built("cpp-eof-ignored", "cpp-eof-stripped", "cpp-stripped", &[]),
        ),
        flavour(
            "C++",
            "`-O2 -flto`",
            built("cpp-eof-ignored", "cpp-eof-lto", "cpp-lto", &[]),
        ),
        flavour("Rust", "`-O3 -g`", entry("rust-eof-ignored")),
        flavour(
            "Rust",
            "`-O3`",
            built("rust-eof-ignored", "rust-eof-release", "rust-release", &[]),
        ),
        flavour(
            "Rust",
            "`-O3`, stripped",
            built(
                "rust-eof-ignored",
                "rust-eof-stripped",
                "rust-stripped",
                &[],
            ),
        ),
        flavour(
            "Rust",
            "`-O3`, fat LTO",
            built("rust-eof-ignored", "rust-eof-lto", "rust-lto", &[]),
        ),
        flavour("Go", "as it comes", entry("go-eof-ignored")),
        flavour("Go", "`-ldflags='-s -w'`", entry("go-eof-ignored-stripped")),
    ]
}

fn interpreters() -> Vec<Flavour> {
    let java = "java/EofIgnored.java";
    let node = "node/eof_ignored.js";
    let python = manifest::entry("python-eof-ignored");
    vec![
        flavour("Python", "CPython, as it comes", python),
        flavour(
            "Ruby",
            "as it comes",
            interpreted("ruby-eof", "ruby", "ruby/eof_ignored.rb", &[]),
        ),
        flavour(
            "PHP",
            "as it comes",
            interpreted("php-eof", "php", "php/eof_ignored.php", &[]),
        ),
        flavour(
            "Node",
            "as it comes",
            interpreted("node-eof", "javascript", node, &[]),
        ),
        flavour(
            "Node",
            "`--perf-basic-prof`",
            interpreted(
                "node-eof-map",
                "javascript",
                node,
                &[
                    "--perf-basic-prof",
                    // V8 would also write a log of its own into the working directory.
                    "--no-logfile-per-isolate",
                    "--logfile=/dev/null",
                ],
            ),
        ),
        flavour(
            "Java",
            "as it comes",
            interpreted("java-eof", "java", java, &[]),
        ),
        Flavour {
            special: Special::JavaMap,
            ..flavour(
                "Java",
                "`-XX:+PreserveFramePointer`, compiled, listed by `jcmd PID Compiler.perfmap`",
                interpreted("java-eof-map", "java", java, JAVA_COMPILED),
            )
        },
    ]
}

/// Compiled from the first call on, and never into each other.
const JAVA_COMPILED: &[&str] = &[
    "-XX:+PreserveFramePointer",
    "-Xcomp",
    "-XX:CompileCommand=quiet",
    "-XX:CompileCommand=compileonly,EofIgnored::*",
    "-XX:CompileCommand=dontinline,EofIgnored::*",
];

/// Each release of a runtime that this machine has.
pub fn releases() -> Vec<Flavour> {
    let of = |language, extension: &'static str, numbers, programs: Vec<PathBuf>| {
        programs.into_iter().filter_map(move |program| {
            let release = installed::release(&program, numbers)?;
            let (source, runtime) = match extension {
                "go" => ("go/eof_ignored.go", "go"),
                "java" => ("java/EofIgnored.java", "java"),
                "js" => ("node/eof_ignored.js", "javascript"),
                "php" => ("php/eof_ignored.php", "php"),
                "py" => ("python/eof_ignored.py", "python"),
                _ => ("ruby/eof_ignored.rb", "ruby"),
            };
            let name = format!("{runtime}-{release}-eof");
            // Every release reads what the oldest one does.
            let build = if runtime == "java" {
                "java-11"
            } else {
                runtime
            };
            let entry = Entry {
                build: build.to_owned(),
                interpreter: Some(program.to_str()?.to_owned()),
                ..interpreted(&name, runtime, source, &[])
            };
            Some(flavour(language, &release, entry))
        })
    };
    of("Python", "py", 2, installed::pythons())
        .chain(of("Ruby", "rb", 2, installed::rubies()))
        .chain(of("PHP", "php", 2, installed::phps()))
        .chain(of("Node", "js", 1, installed::nodes()))
        .chain(of("Java", "java", 1, installed::java()))
        .chain(of("Go", "go", 2, installed::gos()))
        .collect()
}

pub fn separate_debug() -> Flavour {
    let entry = built("c-eof-ignored", "c-eof-separate", "c-separate-debug", &[]);
    flavour(
        "C",
        "static, stripped, with its debug information apart",
        entry,
    )
}

impl Flavour {
    /// Runs it until it listens. The root directory must outlive it.
    pub fn started(&self, root: &Path) -> Rig {
        let root = root.to_string_lossy();
        let own_root = ["chroot", &*root];
        let how = Start {
            prefix: if self.special == Special::OwnRoot {
                &own_root
            } else {
                &[]
            },
            ..Start::default()
        };
        if self.special == Special::OwnRoot {
            furnish(Path::new(&*root), &self.entry, &debug_part(&self.entry));
        }
        Rig::start(&self.entry, &how)
    }

    /// And until its sockets are stuck.
    pub fn drive(&self, rig: &mut Rig) {
        rig.drive();
        if self.special == Special::JavaMap {
            let pid = rig.pid().to_string();
            let mut jcmd = Command::new("jcmd");
            jcmd.args([&pid, "Compiler.perfmap"]).stdout(Stdio::null());
            let mut child = jcmd.spawn().expect("run jcmd");
            process::wait(&mut child, Duration::from_secs(20));
        }
    }
}

/// The part of a rig that holds its debug information.
pub fn debug_part(entry: &Entry) -> PathBuf {
    let program = compile::command(entry).remove(0);
    program.with_extension("debug")
}

/// Puts a static program into a root directory, at the path it has outside, and this debug information
/// where the program's build-id leads.
pub fn furnish(root: &Path, entry: &Entry, debug: &Path) {
    let program = compile::command(entry).remove(0);
    let id = build_id(&program);
    let (directory, rest) = id.split_at(2);
    let place = format!("usr/lib/debug/.build-id/{directory}/{rest}.debug");
    for (from, to) in [
        (
            program.as_path(),
            root.join(program.strip_prefix("/").expect("an absolute path")),
        ),
        (debug, root.join(place)),
    ] {
        fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder");
        fs::copy(from, to).expect("copy a file");
    }
}

fn build_id(program: &Path) -> String {
    let mut readelf = Command::new("readelf");
    let output = readelf
        .arg("-n")
        .arg(program)
        .output()
        .expect("run readelf");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = text.split("Build ID: ").nth(1).expect("a build-id");
    id.split_whitespace().next().expect("a build-id").to_owned()
}
