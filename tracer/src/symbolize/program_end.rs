//! What a language runtime closes when its program has ended was never closed by the program: without the runtime the
//! kernel would do it, as it does for C. What the program has the runtime call at its end, as by `atexit()`, is the program's
//! own code: its functions stand further in on the stack, and the runtime's are not shown beyond them.

use crate::model::stack::{Frame, Stack};

/// Functions that a runtime is in from the end of the program on, and in no other calls than those.
const FUNCTIONS: &[&str] = &[
    // CPython
    "Py_FinalizeEx",
    "Py_Finalize",
    "_Py_Finalize",
    "finalize_modules",
    // PHP: of one request where a server goes on; who asks has to know that the process ends as well.
    "php_request_shutdown",
    // Perl, Lua, Tcl
    "perl_destruct",
    "lua_close",
    "Tcl_Finalize",
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

/// Do native frames alone say that the program has ended, and that none of its functions is called on the way out?
pub(super) fn is_sure_by(frames: &[Frame]) -> bool {
    let executes = |frame: &Frame| name(frame).is_some_and(|name| EXECUTING.contains(&name));
    frames.iter().any(is_of_end) && !frames.iter().any(executes)
}

/// Is this stack one that a program has only after its last instruction?
pub fn is_shown_by(stack: &Stack) -> bool {
    stack.frames.iter().any(is_of_end)
}

fn is_of_end(frame: &Frame) -> bool {
    name(frame).is_some_and(|name| FUNCTIONS.contains(&name))
}

/// Without its parameters.
fn name(frame: &Frame) -> Option<&str> {
    let function = frame.function.as_deref()?;
    Some(function.split('(').next().unwrap_or(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[(&str, &str)]) -> Stack {
        let frames = frames.iter().map(|(function, module)| Frame {
            function: Some((*function).to_owned()),
            module: Some((*module).to_owned()),
            ..Frame::default()
        });
        Stack {
            frames: frames.collect(),
            ..Stack::default()
        }
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
            assert!(is_shown_by(&stack(&frames)), "{frames:?}");
        }
        let called = stack(&[
            ("close", "libc.so.6"),
            ("_PyEval_EvalFrameDefault", "python3.11"),
            ("Py_FinalizeEx", "python3.11"),
        ]);
        assert!(!is_sure_by(&called.frames));
        assert!(is_sure_by(&stack(&ends[0]).frames));
        // Told by atexit(), for one.
        let own = [
            ("close", "libc.so.6"),
            ("sock_close", "_socket.so"),
            ("closeall", "[python]"),
        ];
        assert!(!is_shown_by(&stack(&own)));
    }
}
