//! What the runtimes mean by the names in their lists: Python's trampolines, V8's functions,
//! Java's methods.

use super::list::Name;
use crate::symbolize::demangle::{MAX_NAME, cut};
use crate::symbolize::names::Place;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::symbolize) enum Meaning {
    Function(Place),
    /// The runtime's own: a stub, an adapter, a builtin.
    Runtime(Place),
    /// Runs functions that have no code of their own.
    Interpreter,
}

const V8_FUNCTIONS: [&str; 5] = ["JS:", "LazyCompile:", "Function:", "Script:", "Eval:"];
const V8_RUNTIME: [&str; 7] = [
    "Builtin:",
    "BytecodeHandler:",
    "Stub:",
    "RegExp:",
    "Handler:",
    "LoadIC:",
    "StoreIC:",
];

pub(super) fn meaning(name: Name<'_>) -> Meaning {
    let text = name.text;
    if let Some(python) = text.strip_prefix("py::") {
        let (function, file) = python.split_once(':').unwrap_or((python, ""));
        return Meaning::Function(place(function, file));
    }
    if let Some(script) = V8_FUNCTIONS.iter().find_map(|kind| text.strip_prefix(kind)) {
        return Meaning::Function(v8(script));
    }
    if name.java {
        return java(text);
    }
    if V8_RUNTIME.iter().any(|kind| text.starts_with(kind)) {
        return Meaning::Runtime(place(text, ""));
    }
    Meaning::Function(place(text, ""))
}

fn place(function: &str, file: &str) -> Place {
    let bounded = |text: &str| (!text.is_empty()).then(|| cut(text, MAX_NAME).to_owned());
    Place {
        function: bounded(function),
        file: bounded(file),
        ..Place::default()
    }
}

/// `*name /path/file.js:12:3`: a mark for how it was compiled, and where the function begins. That
/// is not where it was, so it is no line for the report, except to tell nameless functions apart.
fn v8(text: &str) -> Place {
    let text = text.trim_start_matches(['~', '^', '+', '*']);
    let paths = [" /", " node:", " file:"];
    let file = paths.iter().filter_map(|mark| text.find(mark)).min();
    let Some(at) = file.or_else(|| text.rfind(' ')) else {
        return place(text, "");
    };
    let (name, position) = text.split_at(at);
    let mut parts = position.trim_start().rsplitn(3, ':');
    let (column, line) = (parts.next(), parts.next());
    let (Some(file), Some(line), Some(_)) = (parts.next(), line, column) else {
        return place(text, "");
    };
    if name.is_empty() {
        return place(&format!("(anonymous function at line {line})"), file);
    }
    place(name, file)
}

/// `int java.lang.Object.hashCode()`, and words for everything that is not a method.
fn java(text: &str) -> Meaning {
    if text == "Interpreter" {
        return Meaning::Interpreter;
    }
    let Some((head, _)) = text.split_once('(').filter(|(head, _)| head.contains('.')) else {
        return Meaning::Runtime(place(text, ""));
    };
    let method = head.rsplit(' ').next().unwrap_or(head);
    Meaning::Function(place(method, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_each_runtime() {
        for (text, function, file) in [
            (
                "py::Server.read_all:/srv/app.py",
                "Server.read_all",
                Some("/srv/app.py"),
            ),
            (
                "py::f.<locals>.<lambda>:<stdin>",
                "f.<locals>.<lambda>",
                Some("<stdin>"),
            ),
            (
                "JS:~handleConn /srv/my app.js:5:70",
                "handleConn",
                Some("/srv/my app.js"),
            ),
            (
                "JS:*get size node:internal/url:9:1",
                "get size",
                Some("node:internal/url"),
            ),
            (
                "LazyCompile:*f file:///srv/a.mjs:1:2",
                "f",
                Some("file:///srv/a.mjs"),
            ),
            (
                "JS:^ /srv/app.js:10:26",
                "(anonymous function at line 10)",
                Some("/srv/app.js"),
            ),
            ("JS:odd", "odd", None),
            ("compiled_thing", "compiled_thing", None),
        ] {
            let found = meaning(Name { text, java: false });
            let expected = Place {
                function: Some(function.to_owned()),
                file: file.map(str::to_owned),
                ..Place::default()
            };
            assert_eq!(found, Meaning::Function(expected), "{text}");
        }
    }

    #[test]
    fn methods_and_stubs_of_the_java_machine() {
        let java = |text| meaning(Name { text, java: true });
        let method = java("java.lang.Object com.example.Pool.take(int, long)");
        let Meaning::Function(method) = method else {
            panic!("{method:?}")
        };
        assert_eq!(method.function.as_deref(), Some("com.example.Pool.take"));
        for text in ["I2C/C2I adapters", "StubRoutines (1)", "flush_icache_stub"] {
            assert!(matches!(java(text), Meaning::Runtime(_)), "{text}");
        }
        assert_eq!(java("Interpreter"), Meaning::Interpreter);
    }
}
