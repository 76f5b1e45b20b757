//! What a language runtime closes when its program has ended was never closed by the program: without the runtime the
//! kernel would do it, as it does for C. What the program has the runtime call at its end, as by `atexit()`, is the program's
//! own code: its functions stand further in on the stack, or what the runtime executes them with does.

use super::runtimes::Runtime;
use crate::model::stack::Frame;

/// Functions that a runtime is in from the end of the program on, and in no other calls than those.
const FUNCTIONS: &[&str] = &[
    // CPython
    "Py_FinalizeEx",
    "Py_Finalize",
    "_Py_Finalize",
    "finalize_modules",
    // PHP: of one request where a server goes on; who asks has to know that the process ends as well.
    "php_request_shutdown",
    // Perl; Lua's and Tcl's ends are in functions without a name.
    "perl_destruct",
    // Node.js
    "node::FreeEnvironment",
];
/// Functions below which a runtime executes a program's.
const EXECUTING: &[&str] = &[
    "_PyEval_EvalFrameDefault",
    "_PyEval_EvalFrame",
    "execute_ex",
    "Perl_runops_standard",
    "Perl_call_sv",
];

/// What Ruby's `main()` calls: it executes the program, by a function of which no stack without it can be, and then ends.
const RUBY: (&str, &str) = ("ruby_run_node", "rb_vm_exec");

/// By what the end of a program shows on its stacks.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    of_ruby: bool,
}

impl Marks {
    pub(super) fn of(runtime: Option<&Runtime>) -> Self {
        Self {
            of_ruby: runtime.is_some_and(Runtime::names_execution),
        }
    }

    /// Do native frames say that the program has ended, and that none of its functions is called on the way out?
    pub(super) fn are_in(self, frames: &[Frame]) -> bool {
        let any = |functions: &[&str]| {
            let mut names = frames.iter().filter_map(name);
            names.any(|name| functions.contains(&name))
        };
        let of_ruby = self.of_ruby && any(&[RUBY.0]) && !any(&[RUBY.1]);
        of_ruby || any(FUNCTIONS) && !any(EXECUTING)
    }
}

/// Without its parameters.
fn name(frame: &Frame) -> Option<&str> {
    let function = frame.function.as_deref()?;
    Some(function.split('(').next().unwrap_or(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_in(of_ruby: bool, frames: &[(&str, &str)]) -> bool {
        let frame = |(function, module): &(&str, &str)| Frame {
            function: Some((*function).to_owned()),
            module: Some((*module).to_owned()),
            ..Frame::default()
        };
        let frames: Vec<Frame> = frames.iter().map(frame).collect();
        Marks { of_ruby }.are_in(&frames)
    }

    #[test]
    fn a_runtime_that_ends_is_told_from_a_program_that_closes() {
        let ends = [
            [("close", "libc.so.6"), ("Py_FinalizeEx", "python3.11")],
            [("close", "libc.so.6"), ("php_request_shutdown", "php8.2")],
            [
                ("uv_close", "node"),
                ("node::FreeEnvironment(node::Environment*)", "node"),
            ],
        ];
        for frames in ends {
            assert!(are_in(false, &frames), "{frames:?}");
        }
        let called = [
            ("close", "libc.so.6"),
            ("_PyEval_EvalFrameDefault", "python3.11"),
            ("Py_FinalizeEx", "python3.11"),
        ];
        assert!(!are_in(false, &called));
        // `END { close $socket }`
        let block = [
            ("close", "libc.so.6"),
            ("Perl_runops_standard", "perl"),
            ("Perl_call_list", "perl"),
            ("perl_destruct", "perl"),
        ];
        assert!(!are_in(false, &block));
        // Told by atexit(), for one.
        let own = [
            ("close", "libc.so.6"),
            ("sock_close", "_socket.so"),
            ("closeall", "[python]"),
        ];
        assert!(!are_in(false, &own));
    }

    #[test]
    fn ruby_has_ended_where_it_executes_nothing_and_would_show_it() {
        let ends = [("close", "libc.so.6"), ("ruby_run_node", "libruby.so")];
        let executes = [
            ("close", "libc.so.6"),
            ("rb_vm_exec", "libruby.so"),
            ("ruby_run_node", "libruby.so"),
        ];
        assert!(are_in(true, &ends));
        assert!(!are_in(true, &executes));
        assert!(!are_in(false, &ends), "its functions have no names");
    }
}
