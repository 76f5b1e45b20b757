//! Which frame of a stack to blame: the first one that a person working on the application wrote.
//! Decides by names alone; what counts as library and runtime code is a table.

mod java;
mod libraries;
mod managed;
mod php;
mod ruby;
mod table;
mod wrappers;

use crate::model::stack::{self, Frame};
use managed::Tier;
use table::{
    EXACT, FUNCTIONS, HOSTS, JIT, JIT_FILES, JIT_FOLDERS, JIT_FUNCTIONS, MODULES, PACKAGES, SYSTEM,
};

pub use wrappers::Wrappers;

/// Code that users do not want to see blamed, beside the built-in table.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Names of modules, with or without version and suffix (`libmycompany` is `libmycompany.so.2`), and
    /// beginnings of names of functions, such as `mycompany::net::`.
    pub not_blamed: Vec<String>,
    /// What the processes read and write through.
    pub wrappers: Wrappers,
}

/// Index of the frame to blame under the built-in policy.
pub fn blamed(frames: &[Frame]) -> Option<usize> {
    Policy::default().blamed(frames)
}

pub fn is_application(frame: &Frame) -> bool {
    Policy::default().is_application(frame)
}

/// Whether a module is library or runtime code as a whole.
pub(super) fn is_library(module: &str) -> bool {
    MODULES.iter().any(|library| is_module(module, library))
}

impl Policy {
    /// The first application frame, innermost first; one of a package that the program was built with
    /// only when there is none of its own, as in a program that was installed as a package. `None` when
    /// there is none: then the caller shows where the first frame is, without calling it guilty.
    ///
    /// Where a runtime's own structures told what it executes, only its functions are meant, never what they are built on
    /// or called by; a library's only when none of the program's own is there.
    pub fn blamed(&self, frames: &[Frame]) -> Option<usize> {
        let made = frames.iter().find(|frame| is_made_at_run_time(frame));
        let of_python = made.is_some_and(managed::is_python);
        if of_python || frames.iter().any(Frame::is_managed) {
            return self.blamed_in_runtime(frames);
        }
        // What an interpreter calls are its extension modules, and where it is no library of another program, nobody
        // but they calls it.
        if let Some(inside) = frames.iter().rposition(managed::is_interpreter) {
            let called = inside + 1;
            let outside = frames.get(called..).unwrap_or_default();
            let module = frames.get(inside)?.module.as_deref()?;
            let is_embedded = module.starts_with("lib");
            return is_embedded
                .then(|| self.blamed(outside))?
                .map(|at| at + called);
        }
        // What runs the loop has not called what the loop calls.
        let inside = frames.iter().position(managed::is_loop);
        let frames = frames
            .get(..inside.unwrap_or(frames.len()))
            .unwrap_or_default();
        // With code that a runtime made and nobody named, the native functions are the runtime's.
        let runs_others = frames.iter().any(is_unnamed_at_run_time);
        let application = |frame: &Frame| {
            self.is_application(frame) && (!runs_others || is_made_at_run_time(frame))
        };
        let outwards = |frame: &Frame| application(frame) && !self.wrappers.has(frame);
        first(frames, |frame| outwards(frame) && !is_of_package(frame))
            .or_else(|| first(frames, |frame| application(frame) && !is_of_package(frame)))
            .or_else(|| first(frames, application))
    }

    fn blamed_in_runtime(&self, frames: &[Frame]) -> Option<usize> {
        let mut inside = frames.iter().take_while(|frame| !managed::is_loop(frame));
        let spared = |frame: &Frame| {
            let function = frame.function.as_deref();
            function.is_none_or(|function| self.spares_function(function))
        };
        let of = |wanted: Tier| {
            move |frame: &Frame| managed::tier(frame) == Some(wanted) && !spared(frame)
        };
        let own = inside.clone().position(of(Tier::Own));
        own.or_else(|| inside.position(of(Tier::Library)))
    }

    /// Whose code a function of a managed runtime is.
    pub fn tier(frame: &Frame) -> Option<stack::Tier> {
        Some(match managed::tier(frame)? {
            Tier::Own => stack::Tier::Own,
            Tier::Library => stack::Tier::Library,
            Tier::Runtime => stack::Tier::Runtime,
        })
    }

    /// The library that it is of, when it is not the program's own.
    pub fn library(frame: &Frame) -> Option<String> {
        managed::library(frame)
    }

    pub fn is_application(&self, frame: &Frame) -> bool {
        let Some(module) = frame.module.as_deref() else {
            return false;
        };
        if let Some(tier) = managed::tier(frame) {
            let function = frame.function.as_deref();
            return tier == Tier::Own
                && !function.is_some_and(|function| self.spares_function(function));
        }
        if JIT.contains(&module) && !self.spares_module(module) {
            return self.is_application_at_run_time(frame);
        }
        // Not the program's: the vDSO, a language runtime's stubs, an interpreter.
        if module.starts_with('[') || self.spares_module(module) || is_library(module) {
            return false;
        }
        let Some(function) = frame.function.as_deref() else {
            // Code of no file: a runtime made it, and nobody can look it up.
            if module.starts_with("memfd:") {
                return false;
            }
            // An interpreter's unnamed code is the interpreter.
            return !HOSTS.iter().any(|host| is_host(module, host));
        };
        if self.spares_function(function) {
            return false;
        }
        let subject = subject(function);
        let host = HOSTS.iter().find(|host| is_host(module, host));
        let runtime = EXACT.contains(&subject)
            || FUNCTIONS.iter().any(|prefix| subject.starts_with(prefix))
            || host.is_some();
        !runtime
    }
}

impl Policy {
    /// Code that a language runtime made, by the runtime's own names: another language than that of
    /// the program's file, so its table does not apply.
    fn is_application_at_run_time(&self, frame: &Frame) -> bool {
        // Without a name it is real, but nobody can look it up by its address.
        let Some(function) = frame.function.as_deref() else {
            return false;
        };
        let file = frame.file.as_deref().unwrap_or_default();
        let library = JIT_FUNCTIONS
            .iter()
            .any(|start| function.starts_with(start))
            || JIT_FILES.iter().any(|start| file.starts_with(start))
            || JIT_FOLDERS.iter().any(|folder| file.contains(folder));
        !library && !self.spares_function(function)
    }

    /// Does one of the user's names mean this frame?
    pub fn spares(&self, frame: &Frame) -> bool {
        let module = frame.module.as_deref();
        let function = frame.function.as_deref();
        module.is_some_and(|module| self.spares_module(module))
            || function.is_some_and(|function| self.spares_function(function))
    }

    fn spares_module(&self, module: &str) -> bool {
        self.not_blamed
            .iter()
            .any(|name| !name.is_empty() && (name == module || is_module(module, name)))
    }

    fn spares_function(&self, function: &str) -> bool {
        let mut names = self.not_blamed.iter().filter(|name| !name.is_empty());
        names.any(|start| {
            function.starts_with(start.as_str()) || subject(function).starts_with(start.as_str())
        })
    }
}

/// The first frame that is wanted.
fn first(frames: &[Frame], is_wanted: impl Fn(&Frame) -> bool) -> Option<usize> {
    let mut candidates = frames
        .iter()
        .enumerate()
        .filter(|(_, frame)| is_wanted(frame));
    let (first, frame) = candidates.next()?;
    // The innermost frame holds the system call instruction. Without a name, in a static and
    // stripped program, it is the C library's wrapper and not the code that called it.
    let anonymous_wrapper = first == 0 && frame.function.is_none();
    match candidates.next() {
        Some((next, _)) if anonymous_wrapper => Some(next),
        _ => Some(first),
    }
}

/// `libc` is `libc.so.6` and `libc-2.31.so`, but neither `libcurl.so` nor `libc++.so`.
pub(super) fn is_module(module: &str, library: &str) -> bool {
    let Some(rest) = module.strip_prefix(library) else {
        return false;
    };
    let mut rest = rest.chars();
    match rest.next() {
        None | Some('.') => true,
        Some('-' | '_') => rest.next().is_some_and(|c| c.is_ascii_digit() || c == 'x'),
        Some(_) => false,
    }
}

/// `python` is `python`, `python3`, `python3.11`, but not `pythonic-server`.
fn is_host(module: &str, host: &str) -> bool {
    let rest = module.strip_prefix(host);
    rest.is_some_and(|rest| {
        rest.chars()
            .all(|c| c.is_ascii_digit() || c == '.' || c == 'm')
    })
}

fn is_made_at_run_time(frame: &Frame) -> bool {
    frame.module.as_deref().is_some_and(|m| JIT.contains(&m))
}

fn is_unnamed_at_run_time(frame: &Frame) -> bool {
    is_made_at_run_time(frame) && frame.function.is_none()
}

/// Made from a file that the language's package manager keeps, or the system, or of a library that the system keeps, or
/// that is known by its name.
pub(super) fn is_of_package(frame: &Frame) -> bool {
    let file = frame.file.as_deref().unwrap_or_default();
    let function = frame.function.as_deref();
    frame.of_system
        || function.is_some_and(|function| libraries::is_of_one(subject(function)))
        || PACKAGES.iter().any(|folder| file.contains(folder))
        || SYSTEM.iter().any(|folder| file.starts_with(folder))
}

/// The part of a name that says whose code it is. Rust writes `<alloc::vec::Vec<T> as
/// core::ops::Drop>::drop` for code of the type before `as`; where that is any type at all, as in `<&mut
/// T as tokio::io::AsyncRead>::poll_read`, of the trait after it.
fn subject(function: &str) -> &str {
    let inner = function.trim_start_matches(['<', '&', '*', '[']);
    let inner = inner.strip_prefix("mut ").unwrap_or(inner);
    match inner.split_once(" as ") {
        Some((one, of)) if one.len() == 1 => of,
        _ => inner,
    }
}

#[cfg(test)]
mod tests;
