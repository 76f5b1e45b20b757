//! A user stack after unwinding and naming, innermost frame first.

use serde::{Deserialize, Serialize};

use super::socket::SocketOperation;

/// The module of frames that a Java virtual machine named itself, in a thread dump, or that are named as its
/// structures have it.
pub const JAVA: &str = "[java]";

/// The module of frames that are functions of Python, as its interpreter keeps them.
pub const PYTHON: &str = "[python]";

/// The module of functions of JavaScript, as V8's objects have them: of frames, and of those that listen to a socket, which
/// were on no stack.
pub const NODE: &str = "[node]";

/// The module of frames that are methods and blocks of Ruby, as its virtual machine keeps them.
pub const RUBY: &str = "[ruby]";

/// The module of frames that are functions of PHP, as its executor keeps them.
pub const PHP: &str = "[php]";

/// One frame of the public report. `function` is `None` when no symbol covers the address; then
/// `module` and `offset` say where it is and `build_id` says in which build.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Frame {
    pub function: Option<String>,
    /// File name of the mapped file without its directories, or `[vdso]`, `[jit]`, `[runtime]`,
    /// `[interpreter]`, `[java]` and the like for code of no file.
    pub module: Option<String>,
    /// Address in the module's own address space (as in its ELF file).
    pub offset: u64,
    pub build_id: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub inlined: bool,
    /// The managed runtime that made or interprets its code.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    /// Whose code it is; told in a report only.
    #[serde(default)]
    pub tier: Option<Tier>,
    /// Of a shared library that the system keeps for all programs.
    #[serde(default)]
    pub of_system: bool,
    /// Of a function of Python that can be suspended, so that some loop runs it in turn with others.
    #[serde(default)]
    pub of_coroutine: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    Python,
    Jvm,
    Go,
    Node,
    Ruby,
    Php,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// A person working on the application wrote it.
    Own,
    Library,
    /// Language runtimes, the C library, the kernel's pages.
    Runtime,
}

/// Module and offset of a frame; of a function of a runtime its name and line.
pub type Step<'a> = (Option<&'a str>, u64, Option<&'a str>, Option<u32>);

/// What tells two places in a program apart. Where functions of a runtime are on the stack, they alone: the native frames
/// below them depend on what of them is compiled by then.
pub fn path(frames: &[Frame]) -> Vec<Step<'_>> {
    let managed = frames.iter().any(Frame::is_managed);
    let frames = frames.iter();
    let frames = frames.filter(|frame| !managed || frame.is_managed());
    frames.map(Frame::step).collect()
}

impl Frame {
    /// What a function of JavaScript is called that has no name.
    pub const ANONYMOUS: &str = "(anonymous)";

    /// Of a runtime that runs many tasks on few threads: Go's sockets, the async runtimes of Rust and OCaml, Erlang's machine.
    pub fn is_of_tasks(&self) -> bool {
        const RUNTIMES: [&str; 7] = [
            "internal/poll.",
            "tokio::",
            "async_io::",
            "Lwt_main.",
            "Lwt_unix.",
            "boost::asio::detail::awaitable_",
            "asio::detail::awaitable_",
        ];
        if self.is_of_greenlets() || self.module.as_deref() == Some("beam.smp") {
            return true;
        }
        self.function.as_deref().is_some_and(|name| {
            let name = name.trim_start_matches('<');
            RUNTIMES.iter().any(|runtime| name.starts_with(runtime))
        })
    }

    /// Of a library whose greenlets take turns on the stack of one thread: by its own module, or by the file of a
    /// Python function.
    pub fn is_of_greenlets(&self) -> bool {
        const FOLDERS: [&str; 3] = ["/gevent/", "/eventlet/", "/greenlet/"];
        let module = self.module.as_deref().unwrap_or_default();
        let file = self.file.as_deref().unwrap_or_default();
        module.starts_with("_greenlet")
            || module.starts_with("greenlet")
            || module == PYTHON && FOLDERS.iter().any(|folder| file.contains(folder))
    }

    /// Of a function that its runtime's own structures tell of.
    pub fn is_managed(&self) -> bool {
        let module = self.module.as_deref();
        module.is_some_and(|module| [PYTHON, JAVA, NODE, RUBY, PHP].contains(&module))
    }

    pub fn step(&self) -> Step<'_> {
        let module = self.module.as_deref();
        if self.is_managed() {
            (module, 0, self.function.as_deref(), self.line)
        } else {
            (module, self.offset, None, None)
        }
    }

    /// Of the same function and module; a Java function may once be named by the list of compiled
    /// code and once by a thread dump.
    pub fn is_same_code(&self, other: &Self) -> bool {
        const JIT: [&str; 2] = ["[jit]", JAVA];
        let made = |frame: &Self| {
            let module = frame.module.as_deref();
            module.is_some_and(|module| JIT.contains(&module))
        };
        self.function == other.function
            && (self.module == other.module || made(self) && made(other))
    }
}

/// A named stack and what is known to be missing from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    pub frames: Vec<Frame>,
    /// The outermost callers are missing: the copy ended, or a frame had no unwind information.
    pub truncated: bool,
    /// Missing are callers that this path may have had or not: several paths were not told apart.
    #[serde(default)]
    pub one_of_several: bool,
    /// The program had ended: its language runtime made the call on the way out.
    #[serde(default)]
    pub of_end: bool,
    /// The kernel's name of the thread it was taken of.
    #[serde(default)]
    pub thread: Option<String>,
    /// And its process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// What the thread was doing.
    #[serde(default)]
    pub kind: Option<SocketOperation>,
    /// Where its frames lie, relative to the stack pointer of the operation, innermost first.
    #[serde(default)]
    pub frames_at: Vec<FrameAddress>,
}

/// The place of one physical frame on the stack; inlined calls share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameAddress {
    /// Index of the outermost of its frames in the list of frames: the function that has this frame.
    pub frame: u32,
    /// Canonical frame address: in a recorded stack less the stack pointer, in that of a thread absolute.
    pub cfa: u64,
    /// Where it will return to.
    pub return_address: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_greenlet_libraries_are_of_tasks() {
        let of = |file: &str| {
            let frame = Frame {
                function: Some("run".to_owned()),
                module: Some(PYTHON.to_owned()),
                file: Some(file.to_owned()),
                ..Frame::default()
            };
            frame.is_of_tasks()
        };
        assert!(of("/srv/lib/python3.10/site-packages/gevent/hub.py"));
        assert!(!of("/srv/app/gevent_helpers.py"));
    }

    #[test]
    fn promises_of_ocaml_are_tasks() {
        let of = |function: &str| {
            let frame = Frame {
                function: Some(function.to_owned()),
                module: Some("shop".to_owned()),
                ..Frame::default()
            };
            frame.is_of_tasks()
        };
        assert!(of("Lwt_main.run_loop"));
        assert!(of("Lwt_unix.retry_syscall"));
        assert!(!of("Lwt_shop.serve"));
    }
}
