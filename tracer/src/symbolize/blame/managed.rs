//! Whose code a function of a managed runtime is: the program's own, a library's, or that of the runtime and of what
//! drives other people's handlers. Decides by where the code lies, with tables that have a test a line.

use std::path::Path;

use super::table::JIT;
use super::{java, php, ruby};
use crate::model::stack::{Frame, JAVA, NODE, PHP, PYTHON, RUBY};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Own,
    /// Blamed when nothing of the program's own is on the stack.
    Library,
    Runtime,
}

/// Of an interpreter whose functions are not told: what it calls is its own or an extension module.
pub(super) fn is_interpreter(frame: &Frame) -> bool {
    let module = frame.module.as_deref().unwrap_or_default();
    let numbered = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    INTERPRETERS.iter().any(|name| {
        super::is_module(module, name) || module.strip_prefix(name).is_some_and(numbered)
    })
}

/// Told by the interpreter's own structures, or by its perf map (`-X perf`).
pub(super) fn is_python(frame: &Frame) -> bool {
    let module = frame.module.as_deref();
    let of_source = || {
        let file = frame.file.as_deref().unwrap_or_default();
        Path::new(file).extension().is_some_and(|end| end == "py")
    };
    module == Some(PYTHON) || module.is_some_and(|module| JIT.contains(&module)) && of_source()
}

/// `None` for code of other kinds.
pub(super) fn tier(frame: &Frame) -> Option<Tier> {
    match frame.module.as_deref() {
        _ if is_python(frame) => Some(of_python(frame.file.as_deref().unwrap_or_default())),
        Some(RUBY) => Some(ruby::tier(frame.file.as_deref().unwrap_or_default())),
        Some(PHP) => Some(php::tier(frame.file.as_deref().unwrap_or_default())),
        Some(JAVA) => Some(java::tier(frame)),
        Some(NODE) => Some(of_node(frame.file.as_deref().unwrap_or_default())),
        _ => None,
    }
}

/// What a library is called: the folder in which its package lies, or the beginning of its classes' names.
pub(super) fn library(frame: &Frame) -> Option<String> {
    if tier(frame) != Some(Tier::Library) {
        return None;
    }
    if is_python(frame) {
        let package = package(frame.file.as_deref()?)?;
        let first = package.split('/').next()?;
        return Some(first.strip_suffix(".py").unwrap_or(first).to_owned());
    }
    if frame.module.as_deref() == Some(NODE) {
        return npm_package(frame.file.as_deref()?).map(str::to_owned);
    }
    if frame.module.as_deref() == Some(RUBY) {
        return ruby::library(frame.file.as_deref()?).map(str::to_owned);
    }
    if frame.module.as_deref() == Some(PHP) {
        return php::library(frame.file.as_deref()?).map(str::to_owned);
    }
    java::library(frame.function.as_deref()?).map(str::to_owned)
}

/// What lies further out only runs the loop, and has not called what the loop calls.
pub(super) fn is_loop(frame: &Frame) -> bool {
    let file = frame.file.as_deref().unwrap_or_default();
    let function = frame.function.as_deref().unwrap_or_default();
    if frame.module.as_deref() == Some(RUBY) {
        return ruby::is_loop(file, function);
    }
    if frame.module.as_deref() == Some(PHP) {
        return php::is_loop(function);
    }
    let function = function.rsplit('.').next().unwrap_or_default();
    let here = |(end, name): &(&str, &str)| *name == function && file.ends_with(end);
    if is_python(frame) {
        LOOPS.iter().any(here)
    } else {
        // Names of C++ come with what the function takes.
        let name = function.split('(').next().unwrap_or_default();
        NATIVE_LOOPS.contains(&name)
    }
}

fn of_python(file: &str) -> Tier {
    if let Some(package) = package(file) {
        let drives = |name: &str| {
            let rest = package.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['/', '.']))
        };
        return if DRIVERS.iter().any(|name| drives(name)) {
            Tier::Runtime
        } else {
            Tier::Library
        };
    }
    let of_runtime =
        file.starts_with("<frozen ") || STANDARD.iter().any(|folder| in_standard(file, folder));
    if of_runtime { Tier::Runtime } else { Tier::Own }
}

fn of_node(file: &str) -> Tier {
    if file.starts_with("node:") {
        Tier::Runtime
    } else if npm_package(file).is_some() {
        Tier::Library
    } else {
        Tier::Own
    }
}

/// `/srv/node_modules/@scope/name/lib/x.js`
fn npm_package(file: &str) -> Option<&str> {
    let (_, below) = file.rsplit_once("/node_modules/")?;
    let parts = if below.starts_with('@') { 2 } else { 1 };
    let mut ends = below.match_indices('/').map(|(at, _)| at);
    below.get(..ends.nth(parts - 1)?)
}

/// The path below the folder in which packages are installed.
fn package(file: &str) -> Option<&str> {
    let below = |folder: &str| file.rsplit_once(folder).map(|(_, below)| below);
    PACKAGES.iter().find_map(|folder| below(folder))
}

/// `/usr/lib/python3.11/socket.py`; not `/srv/lib/python/app.py`.
fn in_standard(file: &str, folder: &str) -> bool {
    let version = |rest: &str| {
        let (version, _) = rest.split_once('/')?;
        version.starts_with("3.").then_some(())
    };
    file.split_once(folder)
        .is_some_and(|(_, rest)| version(rest).is_some())
}

/// Files of interpreters, without the number of their release.
const INTERPRETERS: &[&str] = &[
    "beam.smp", "guile", "libR", "libguile", "libperl", "libphp", "libruby", "libtcl8", "libtcl9",
    "lua", "luajit", "perl", "php", "php-cgi", "php-fpm", "ruby", "tclsh", "wish",
];

const PACKAGES: &[&str] = &["/site-packages/", "/dist-packages/"];

const STANDARD: &[&str] = &["/lib/python", "/lib64/python"];

/// Packages that only call what they are given: event loops, and servers around handlers.
const DRIVERS: &[&str] = &[
    "anyio",
    "eventlet",
    "gevent",
    "greenlet",
    "sniffio",
    "trio",
    "uvloop",
    // servers
    "cheroot",
    "daphne",
    "gunicorn",
    "hypercorn",
    "uvicorn",
    "waitress",
    "werkzeug",
    // frameworks' ways to a handler
    "asgiref",
    "click",
    "starlette",
    "typer",
];

/// Loops of libraries and extension modules: with one of these inside, no function further out has made the call.
const NATIVE_LOOPS: &[&str] = &[
    "QEventLoop::exec",
    "__pyx_f_6uvloop_4loop_4Loop___run",
    "asio::detail::scheduler::do_run_one",
    "asio::detail::scheduler::run",
    "boost::asio::detail::scheduler::do_run_one",
    "boost::asio::detail::scheduler::run",
    "ev_run",
    "event_base_loop",
    "g_main_context_iteration",
    "g_main_loop_run",
    "tokio::runtime::runtime::Runtime::block_on",
    "uv_run",
];

/// By the end of the file, and the last part of the function's name.
const LOOPS: &[(&str, &str)] = &[
    ("/asyncio/base_events.py", "_run_once"),
    ("/asyncio/base_events.py", "run_forever"),
    ("/asyncio/base_events.py", "run_until_complete"),
    ("/asyncio/runners.py", "run"),
    ("/gevent/hub.py", "run"),
    ("/eventlet/hubs/hub.py", "run"),
    ("/trio/_core/_run.py", "unrolled_run"),
    ("/tornado/ioloop.py", "start"),
    ("/twisted/internet/base.py", "run"),
    ("/twisted/internet/base.py", "mainLoop"),
    ("/asyncore.py", "loop"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn python(file: &str, function: &str) -> Frame {
        Frame {
            module: Some(PYTHON.to_owned()),
            file: Some(file.to_owned()),
            function: Some(function.to_owned()),
            ..Frame::default()
        }
    }

    fn tier_of(file: &str) -> Tier {
        tier(&python(file, "f")).unwrap()
    }

    #[test]
    fn code_is_told_by_where_it_lies() {
        for (file, expected) in [
            ("/srv/app.py", Tier::Own),
            ("app.py", Tier::Own),
            ("<string>", Tier::Own),
            ("/srv/lib/python/app.py", Tier::Own),
            ("/srv/venv/bin/app", Tier::Own),
            ("<frozen runpy>", Tier::Runtime),
            ("/usr/lib/python3.11/socket.py", Tier::Runtime),
            ("/opt/py/lib/python3.13/asyncio/events.py", Tier::Runtime),
            ("/usr/lib64/python3.9/ssl.py", Tier::Runtime),
            (
                "/v/lib/python3.12/site-packages/redis/connection.py",
                Tier::Library,
            ),
            (
                "/usr/lib/python3/dist-packages/requests/api.py",
                Tier::Library,
            ),
            (
                "/v/lib/python3.12/site-packages/geventhttpclient/x.py",
                Tier::Library,
            ),
            ("/v/lib/python3.12/site-packages/six.py", Tier::Library),
        ] {
            assert_eq!(tier_of(file), expected, "{file}");
        }
        assert_eq!(tier(&Frame::default()), None);
    }

    #[test]
    fn packages_of_npm_are_told_by_their_folders() {
        for (file, expected, library) in [
            ("/srv/app.js", Tier::Own, None),
            ("", Tier::Own, None),
            ("node:internal/http", Tier::Runtime, None),
            ("/srv/node_modules/ws/lib/a.js", Tier::Library, Some("ws")),
            (
                "/a/node_modules/b/node_modules/@c/d/e.js",
                Tier::Library,
                Some("@c/d"),
            ),
        ] {
            let frame = Frame {
                module: Some(NODE.to_owned()),
                file: Some(file.to_owned()),
                ..Frame::default()
            };
            assert_eq!(tier(&frame), Some(expected), "{file}");
            assert_eq!(super::library(&frame).as_deref(), library, "{file}");
        }
    }

    #[test]
    fn each_line_of_the_tables_counts() {
        for driver in DRIVERS {
            for rest in ["/a/b.py", ".py"] {
                let file = format!("/v/lib/python3.12/site-packages/{driver}{rest}");
                assert_eq!(tier_of(&file), Tier::Runtime, "{file}");
            }
        }
        for interpreter in INTERPRETERS {
            for module in [
                interpreter.to_string(),
                format!("{interpreter}8.2"),
                format!("{interpreter}-3.1.so.3.1"),
            ] {
                let frame = |module: &str, function: &str| Frame {
                    module: Some(module.to_owned()),
                    function: Some(function.to_owned()),
                    ..Frame::default()
                };
                let inner = [
                    frame("extension.so", "recv_all"),
                    frame(&module, "call"),
                    frame("server", "main"),
                ];
                let embeds = module.starts_with("lib").then_some(2);
                assert_eq!(super::super::blamed(&inner), embeds, "{module}");
                assert_eq!(super::super::blamed(&inner[..2]), None, "{module}");
            }
        }
        for folder in PACKAGES {
            assert_eq!(tier_of(&format!("/v{folder}x/y.py")), Tier::Library);
        }
        for folder in STANDARD {
            assert_eq!(tier_of(&format!("/v{folder}3.8/y.py")), Tier::Runtime);
        }
        for (file, name) in [("redis/connection.py", "redis"), ("six.py", "six")] {
            let file = format!("/v/lib/python3.12/site-packages/{file}");
            assert_eq!(library(&python(&file, "f")).as_deref(), Some(name));
        }
        assert_eq!(library(&python("/srv/app.py", "f")), None);
        for function in NATIVE_LOOPS {
            let native = |function: &str| Frame {
                module: Some("loop.so".to_owned()),
                function: Some(function.to_owned()),
                ..Frame::default()
            };
            let stack = [
                native("recv"),
                native(function),
                python("/srv/app.py", "<module>"),
            ];
            assert_eq!(super::super::blamed(&stack), None, "{function}");
            let called = [
                native("send"),
                python("/srv/app.py", "answer"),
                native(function),
            ];
            assert_eq!(super::super::blamed(&called), Some(1), "{function}");
        }
        for (file, function) in LOOPS {
            assert!(is_loop(&python(
                &format!("/x{file}"),
                &format!("Loop.{function}")
            )));
            assert!(!is_loop(&python(&format!("/x{file}"), "other")));
        }
        assert!(!is_loop(&python("/srv/app.py", "run")));
    }
}
