//! Every release of CPython at hand, asked itself what it executes just before it blocks.

use std::path::PathBuf;
use std::process::Command;

use super::program::{Blocked, SYS_RECVFROM, Workshop};
use super::{Symbolizer, functions, managed};
use crate::model::stack::{Frame, PYTHON};

/// Writes name, file and line of each of its frames to a file, and blocks on the same line.
const PROGRAM: &str = r#"
import os, socket, sys, threading

ours, theirs = socket.socketpair()

def tell(out):
    frame = sys._getframe(1)
    with open(out + ".part", "w") as file:
        while frame:
            code = frame.f_code
            name = getattr(code, "co_qualname", code.co_name)
            file.write(f"{name}\t{code.co_filename}\t{frame.f_lineno}\n")
            frame = frame.f_back
    os.rename(out + ".part", out)

class Handler:
    def gérer(self, depth):
        if depth:
            return self.gérer(
                depth - 1
            )
        else:
            tell(sys.argv[1]); ours.recv(1)

    def __enter__(self):
        def closure(*, keyword):
            for one in (self.gérer(keyword + n) for n in range(2, 3)):
                yield one
        return [list(closure(keyword=1)) for _ in "x"]

    def __exit__(self, *_):
        pass

def deep(n):
    # Lines far apart need long steps in the tables.
    if n:











































































































































        return deep(n - 1)
    with Handler() as nothing:
        pass

def main():
    try:
        raise ValueError
    except ValueError:
        exec(compile("(lambda: deep(20))()", "<made>", "exec"))

# Other threads, so that there is something to tell apart.
for _ in range(5):
    threading.Thread(target=theirs.recv, args=(1,), daemon=True).start()
main()
"#;

/// Interpreters as pyenv installs them, and the distribution's.
pub(super) fn interpreters() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let versions = root.map(|root| root.join("versions"));
    let versions = versions.and_then(|versions| std::fs::read_dir(versions).ok());
    let versions = versions.into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin/python3"))
        .chain([PathBuf::from("/usr/bin/python3")])
        .filter(|python| python.exists())
        .collect();
    found.sort();
    found
}

pub(super) fn minor(python: &PathBuf) -> u32 {
    let ask = ["-c", "import sys; print(sys.version_info[1])"];
    let output = Command::new(python).args(ask).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

struct Asked {
    blocked: Blocked,
    told: Vec<(String, String, u32)>,
    _shop: Workshop,
}

fn start(python: &PathBuf, program: &str) -> Asked {
    let shop = Workshop::new();
    let (script, out) = (shop.path("serveur_é.py"), shop.path("told"));
    std::fs::write(&script, program).unwrap();
    let mut command = Command::new(python);
    command.arg(&script).arg(&out).env("PYTHONUTF8", "1");
    let blocked = Blocked::run(&mut command, SYS_RECVFROM);
    let told = std::fs::read_to_string(out).unwrap();
    let line = |line: &str| {
        let mut parts = line.split('\t').map(str::to_owned);
        let mut next = || parts.next().unwrap();
        (next(), next(), next().parse().unwrap())
    };
    Asked {
        blocked,
        told: told.lines().map(line).collect(),
        _shop: shop,
    }
}

#[test]
fn a_waiting_thread_of_every_release_is_named_as_it_names_itself() {
    let interpreters = interpreters();
    assert!(!interpreters.is_empty(), "no python3 at all");
    for python in interpreters.iter().filter(|python| minor(python) >= 8) {
        let asked = start(python, PROGRAM);
        let found = Symbolizer::new().resolve(&asked.blocked.present().view());
        assert_eq!(
            managed(&found, PYTHON),
            asked.told,
            "{} {found:#?}",
            python.display()
        );
        assert!(asked.told.len() > 30, "{:?}", asked.told);
        assert!(!found.stack.truncated, "{}", python.display());
        assert_eq!(found.warnings, [], "{}", python.display());
        // From the C library straight to the innermost function of the program.
        let names = functions(&found.stack.frames);
        assert!(
            names[0].contains("recv") && names.len() < asked.told.len() + 4,
            "{names:?}"
        );
    }
}

/// Its structures are other ones, and reading them as those of a later release would give nonsense.
#[test]
fn a_release_that_is_not_known_keeps_its_native_frames() {
    for python in interpreters().iter().filter(|python| minor(python) < 8) {
        let asked = start(python, PROGRAM);
        let found = Symbolizer::new().resolve(&asked.blocked.present().view());
        assert_eq!(managed(&found, PYTHON), []);
        let native = |frame: &Frame| {
            frame
                .module
                .as_deref()
                .is_some_and(|name| name.contains("python"))
        };
        assert!(found.stack.frames.iter().any(native), "{found:#?}");
    }
}
