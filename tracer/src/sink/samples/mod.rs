//! Reports as real incidents produce them, for the tests of every sink.

mod descriptors;
mod limits;
mod parts;
mod threads;

pub(crate) use self::descriptors::{eof_ignored, hidden_closed, idle_pool};
pub(crate) use self::limits::{hostile_names, inherited_and_unknown, losses, nothing_found};
pub(crate) use self::threads::{never_accepted, worker_starvation};

use crate::model::report::Report;
use crate::model::stack::Frame;

pub(crate) fn all() -> [(&'static str, Report); 9] {
    [
        ("eof-ignored", eof_ignored()),
        ("never-accepted", never_accepted()),
        ("idle-pool", idle_pool()),
        ("hidden-closed", hidden_closed()),
        ("worker-starvation", worker_starvation()),
        ("inherited-and-unknown", inherited_and_unknown()),
        ("losses", losses()),
        ("hostile-names", hostile_names()),
        ("nothing-found", nothing_found()),
    ]
}

/// Compares with the committed rendering in tests/golden.
pub(crate) fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../../tests/golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Enough of a classifier for the samples: what the C, C++ and Java runtimes bring is not the
/// program's own.
pub(crate) fn is_application(frame: &Frame) -> bool {
    let module = frame.module.as_deref().unwrap_or_default();
    let runtime = [
        "libc.so",
        "libstdc++",
        "ld-linux",
        "libjvm",
        "[vdso]",
        "[kernel]",
    ];
    let function = frame.function.as_deref().unwrap_or_default();
    !runtime.iter().any(|prefix| module.starts_with(prefix))
        && !["java.", "sun.", "jdk."]
            .iter()
            .any(|prefix| function.starts_with(prefix))
}
