//! A user stack after unwinding and naming, innermost frame first.

use serde::{Deserialize, Serialize};

/// One frame of the public report. `function` is `None` when no symbol covers the address; then
/// `module` and `offset` say where it is and `build_id` says in which build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub function: Option<String>,
    /// File name of the mapped file without its directories, or `[vdso]`, `[jit]`, `[runtime]`,
    /// `[interpreter]` for code of no file.
    pub module: Option<String>,
    /// Address in the module's own address space (as in its ELF file).
    pub offset: u64,
    pub build_id: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub inlined: bool,
}

/// A named stack and what is known to be missing from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    pub frames: Vec<Frame>,
    /// The outermost callers are missing: the copy ended, or a frame had no unwind information.
    pub truncated: bool,
    /// The kernel's name of the thread it was taken of.
    #[serde(default)]
    pub thread: Option<String>,
}
