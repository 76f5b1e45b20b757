//! What managed runtimes execute, read from their own structures in the memory of the process: frames of Python,
//! Ruby, PHP, Java and JavaScript, goroutines, and of Node.js who listens to sockets.
//! Runs in the helper; knows no privilege and no file but the program's own.

pub(super) mod cpython;
mod exports;
pub(super) use exports::Exports;
pub(super) mod golang;
mod hotspot;
pub(super) mod memory;
pub(super) mod node;
mod php;
mod ruby;
mod threads;

use super::code::{Code, CodeIndex};
use super::open::FileId;
use super::request::{AddressRule, Functions, RuntimeOf};
use crate::model::runtime::Runtimes;
use crate::model::stack::Frame;
use cpython::Cpython;
use golang::Golang;
use hotspot::Hotspot;
use memory::Memory;
use node::Node;
use php::Php;
use ruby::Ruby;

/// The runtime of one process.
pub(super) struct Runtime(Kind);

enum Kind {
    Python(Box<Cpython>),
    Ruby(Ruby),
    Php(Php),
    Java(Box<Hotspot>),
    Go(Golang),
    Node(Box<Node>),
}

/// What was copied of a stack: memory from `sp` upwards.
#[derive(Clone, Copy)]
pub(super) struct CopiedStack<'s> {
    pub sp: u64,
    pub bytes: &'s [u8],
}

/// Frames of a runtime, innermost first.
pub(super) struct Managed {
    pub frames: Vec<Frame>,
    /// Outer ones are missing.
    pub truncated: bool,
    /// Native frames from the first one of this file on are the runtime's way of executing them.
    pub image: FileId,
}

/// What is found in the first of a process's files that has it.
fn first_file<T>(code: &CodeIndex, mut of: impl FnMut(&Code) -> Option<T>) -> Option<T> {
    let mut seen = Vec::new();
    code.iter().find_map(|code| {
        let id = code.image.as_deref()?.id;
        if seen.contains(&id) {
            return None;
        }
        seen.push(id);
        of(code)
    })
}

/// Where the code of a file begins, and its length. Some of it may be mapped once more elsewhere, as V8 does with its own.
fn extent(code: &CodeIndex, image: FileId) -> Option<(u64, u64)> {
    let of_image = |code: &&Code| code.image.as_deref().is_some_and(|own| own.id == image);
    let bias = code.iter().find(of_image)?.bias;
    let own = code.iter().filter(of_image);
    let own = own.filter(|code| code.bias == bias);
    let ranges: Vec<_> = own.map(|code| code.mapping.range.clone()).collect();
    let start = ranges.iter().map(|range| range.start).min()?;
    let end = ranges.iter().map(|range| range.end).max()?;
    Some((start, end - start))
}

impl Runtime {
    /// One of those that are `wanted`.
    pub(super) fn learn(
        code: &CodeIndex,
        memory: &mut Memory<'_>,
        wanted: Runtimes,
    ) -> Option<Self> {
        if code.iter().any(Code::is_go) {
            let go = wanted.go.then(|| Golang::learn(code, memory)).flatten()?;
            return Some(Self(Kind::Go(go)));
        }
        if wanted.python
            && let Some(python) = Cpython::learn(code, memory)
        {
            return Some(Self(Kind::Python(Box::new(python))));
        }
        if wanted.ruby
            && let Some(ruby) = Ruby::learn(code, memory)
        {
            return Some(Self(Kind::Ruby(ruby)));
        }
        if wanted.php
            && let Some(php) = Php::learn(code, memory)
        {
            return Some(Self(Kind::Php(php)));
        }
        if wanted.java
            && let Some(java) = Hotspot::learn(code, memory)
        {
            return Some(Self(Kind::Java(Box::new(java))));
        }
        if wanted.node {
            let node = Node::learn(code, memory)?;
            return Some(Self(Kind::Node(Box::new(node))));
        }
        None
    }

    /// The file of it, where the kernel program can note what is executed.
    pub(super) fn noted_image(&self) -> Option<FileId> {
        match &self.0 {
            Kind::Python(python) => Some(python.image),
            Kind::Ruby(ruby) => Some(ruby.image),
            Kind::Php(php) => Some(php.image),
            // Elsewhere the kernel program cannot walk its frames.
            Kind::Java(java) => cfg!(target_arch = "x86_64").then_some(java.image),
            Kind::Node(node) => node.noted_image(),
            Kind::Go(_) => None,
        }
    }

    /// The same, where native frames from there on say nothing while nobody has noted what is executed. Most that Node does
    /// with a socket is done without JavaScript.
    pub(super) fn unnoted_image(&self) -> Option<FileId> {
        match &self.0 {
            Kind::Node(_) => None,
            _ => self.noted_image(),
        }
    }

    /// Where it has executed the program to its end, the frames of C alone show that.
    pub(super) fn names_execution(&self) -> bool {
        matches!(&self.0, Kind::Ruby(ruby) if ruby.names_execution)
    }

    /// Where its goroutines are.
    pub(super) fn go(&self) -> Option<&Golang> {
        match &self.0 {
            Kind::Go(go) => Some(go),
            _ => None,
        }
    }

    /// Where its virtual threads are.
    pub(super) fn java(&self) -> Option<&Hotspot> {
        match &self.0 {
            Kind::Java(java) => Some(java),
            _ => None,
        }
    }

    /// Where its tasks are.
    pub(super) fn python(&self) -> Option<&Cpython> {
        match &self.0 {
            Kind::Python(python) => Some(python),
            _ => None,
        }
    }

    /// Where its sockets are.
    pub(super) fn node(&self) -> Option<&Node> {
        match &self.0 {
            Kind::Node(node) => Some(node),
            _ => None,
        }
    }

    /// How the kernel program notes what its threads execute.
    pub(super) fn to_note(&self, code: &CodeIndex, memory: &mut Memory<'_>) -> RuntimeOf {
        match &self.0 {
            Kind::Python(python) => python.to_note(code, memory),
            Kind::Ruby(ruby) => ruby.to_note(code, memory),
            Kind::Php(php) => php.to_note(code),
            Kind::Java(java) => java.to_note(memory),
            Kind::Go(go) => go.to_note(),
            Kind::Node(node) => node.to_note(code, memory),
        }
    }

    /// Functions that the kernel program has noted; up to the first that is not what it was. `whole` says that the last is
    /// the outermost.
    pub(super) fn noted(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
        whole: bool,
    ) -> Option<Functions> {
        match &self.0 {
            Kind::Python(python) => python.noted(memory, functions),
            Kind::Ruby(ruby) => Some(ruby.noted(memory, functions)),
            Kind::Php(php) => Some(php.noted(memory, functions, whole)),
            Kind::Java(java) => java.noted(memory, functions),
            Kind::Node(node) => Some(node.noted(memory, functions)),
            Kind::Go(_) => None,
        }
    }

    /// The same of one of many samples, which need not be certain by itself.
    pub(super) fn sampled(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
        whole: bool,
    ) -> Option<Functions> {
        match &self.0 {
            Kind::Php(php) => Some(php.sampled(memory, functions)),
            Kind::Node(node) => Some(node.sampled(memory, functions)),
            _ => self.noted(memory, functions, whole),
        }
    }

    /// The functions on a copied stack, from where the runtime was left.
    pub(super) fn copied(
        &self,
        memory: &mut Memory<'_>,
        from: [u64; 3],
        stack: CopiedStack<'_>,
    ) -> Option<Functions> {
        match &self.0 {
            Kind::Python(_) | Kind::Ruby(_) | Kind::Php(_) | Kind::Go(_) | Kind::Node(_) => None,
            Kind::Java(java) => java.copied(memory, from, stack),
        }
    }

    /// The same from where its code was interrupted.
    pub(super) fn interrupted(
        &self,
        memory: &mut Memory<'_>,
        from: [u64; 3],
        stack: CopiedStack<'_>,
        lately: bool,
    ) -> Option<Functions> {
        match &self.0 {
            Kind::Python(_) | Kind::Ruby(_) | Kind::Php(_) | Kind::Go(_) | Kind::Node(_) => None,
            Kind::Java(java) => java.interrupted(memory, from, stack, lately),
        }
    }

    /// How the kernel program is to leave the frames of code that the runtime has compiled.
    pub(super) fn rules(
        &self,
        memory: &mut Memory<'_>,
        from: [u64; 3],
        stack: CopiedStack<'_>,
        on_heap: [u64; 3],
    ) -> Vec<AddressRule> {
        match &self.0 {
            Kind::Python(_) | Kind::Ruby(_) | Kind::Php(_) | Kind::Go(_) | Kind::Node(_) => {
                Vec::new()
            }
            Kind::Java(java) => java.rules(memory, from, stack, on_heap),
        }
    }

    /// What a thread that does not run executes; `None` when it is none of the runtime's, or nothing is known. `first`
    /// says that it is its process's first thread.
    pub(super) fn present(
        &self,
        memory: &mut Memory<'_>,
        thread: u64,
        first: bool,
    ) -> Option<Managed> {
        let (frames, truncated, image) = match &self.0 {
            Kind::Python(python) => {
                let (stack, truncated) = python.walk(memory, thread)?;
                let frames = python.name(memory, &stack);
                let truncated = truncated || frames.len() < stack.len();
                (frames, truncated, python.image)
            }
            Kind::Ruby(ruby) => {
                let (frames, truncated) = ruby.present(memory, thread)?;
                (frames, truncated, ruby.image)
            }
            Kind::Php(php) => {
                let (frames, truncated) = php.present(memory, first)?;
                (frames, truncated, php.image)
            }
            Kind::Java(java) => {
                let (frames, truncated) = java.present(memory, thread)?;
                (frames, truncated, java.image)
            }
            Kind::Node(node) => {
                let (frames, truncated) = node.present(memory, first)?;
                (frames, truncated, node.noted_image()?)
            }
            // Its frames are native ones.
            Kind::Go(_) => return None,
        };
        (!frames.is_empty()).then_some(Managed {
            frames,
            truncated,
            image,
        })
    }
}
