//! Functions through which a program does all its reading, or all its writing: its own wrappers around
//! system calls. They are on every such stack and no more to blame than `recv` is.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    socket::SocketOperation,
    stack::{Frame, Stack},
};

/// A function, by the build it is of.
type Function = (Option<String>, Option<String>, Option<String>);

/// Of all processes whose stacks are known.
#[derive(Clone, Debug, Default)]
pub struct Wrappers(BTreeSet<Function>);

impl Wrappers {
    /// Own functions that are innermost on all stacks of one kind in a process, and lead on to at least two
    /// places of its own code.
    pub fn of<'a>(
        stacks: impl Iterator<Item = &'a Stack>,
        is_own: impl Fn(&Frame) -> bool,
    ) -> Self {
        let mut kinds: BTreeMap<(u32, bool), BTreeMap<Vec<&Frame>, bool>> = BTreeMap::new();
        for stack in stacks {
            let reads = match stack.kind {
                Some(SocketOperation::Recv) => true,
                Some(SocketOperation::Send) => false,
                _ => continue,
            };
            let own: Vec<&Frame> = stack.frames.iter().filter(|frame| is_own(frame)).collect();
            if let Some(pid) = stack.pid.filter(|_| !own.is_empty()) {
                let ends = kinds.entry((pid, reads)).or_default().entry(own);
                *ends.or_default() |= !stack.truncated && !stack.one_of_several;
            }
        }
        let mut wrappers = BTreeSet::new();
        for paths in kinds.values() {
            // What ends where nobody knows the callers says nothing that a longer path does not say.
            let goes_on = |path: &[&Frame]| {
                let mut others = paths.keys().filter(|other| other.len() > path.len());
                others.any(|other| begins_with(other, path))
            };
            let paths: Vec<&[&Frame]> = paths
                .iter()
                .filter(|(path, ends)| **ends || !goes_on(path))
                .map(|(path, _)| path.as_slice())
                .collect();
            wrappers.extend(shared(&paths).into_iter().map(function));
        }
        Self(wrappers)
    }

    pub(super) fn has(&self, frame: &Frame) -> bool {
        !self.0.is_empty() && self.0.contains(&function(frame))
    }
}

fn begins_with(path: &[&Frame], with: &[&Frame]) -> bool {
    let mut pairs = path.iter().zip(with);
    pairs.all(|(one, other)| function(one) == function(other))
}

/// The functions that all paths begin with, if they part after them.
fn shared<'a>(paths: &[&[&'a Frame]]) -> Vec<&'a Frame> {
    let mut shared = Vec::new();
    for depth in 0.. {
        let mut at_depth = paths.iter().map(|path| path.get(depth).copied());
        let Some(Some(first)) = at_depth.next() else {
            break;
        };
        if first.function.is_none() {
            break;
        }
        if !at_depth.all(|other| other.is_some_and(|other| function(other) == function(first))) {
            break;
        }
        shared.push(first);
    }
    let callers: BTreeSet<Function> = paths
        .iter()
        .filter_map(|path| path.get(shared.len()).map(|frame| enclosing(frame)))
        .collect();
    let part = callers.len() > 1 && paths.iter().all(|path| path.len() > shared.len());
    if part { shared } else { Vec::new() }
}

fn function(frame: &Frame) -> Function {
    (
        frame.build_id.clone(),
        frame.module.clone(),
        frame.function.clone(),
    )
}

/// Closures are places of the function they are written in: Go makes one of each `go` statement with arguments.
fn enclosing(frame: &Frame) -> Function {
    let (build_id, module, name) = function(frame);
    let name = name.map(|name| {
        let mut outer = name.as_str();
        while let Some(shorter) = without_closure(outer) {
            outer = shorter;
        }
        outer.to_owned()
    });
    (build_id, module, name)
}

/// `main.serve.func2` and `main.serve.gowrap1` (Go), `serve::{{closure}}` (Rust).
fn without_closure(name: &str) -> Option<&str> {
    if let Some(outer) = name.strip_suffix("::{{closure}}") {
        return Some(outer);
    }
    let (outer, last) = name.rsplit_once('.')?;
    let number = last
        .strip_prefix("func")
        .or_else(|| last.strip_prefix("gowrap"))
        .unwrap_or(last);
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    numbered.then_some(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(kind: SocketOperation, names: &[&str]) -> Stack {
        let frame = |name: &&str| Frame {
            function: Some((*name).to_owned()),
            module: Some("app".to_owned()),
            ..Frame::default()
        };
        Stack {
            frames: names.iter().map(frame).collect(),
            kind: Some(kind),
            pid: Some(7),
            ..Stack::default()
        }
    }

    fn wrappers(stacks: &[Stack]) -> Vec<String> {
        let is_own = |frame: &Frame| frame.function.as_deref() != Some("recv");
        let Wrappers(found) = Wrappers::of(stacks.iter(), is_own);
        found
            .into_iter()
            .filter_map(|function| function.2)
            .collect()
    }

    #[test]
    fn what_every_read_goes_through_is_a_wrapper() {
        use SocketOperation::{Recv, Send};
        let reads = [
            stack(Recv, &["recv", "get", "get_all", "header", "main"]),
            stack(Recv, &["recv", "get", "get_all", "body", "main"]),
            stack(Send, &["put", "reply", "main"]),
        ];
        assert_eq!(wrappers(&reads), ["get", "get_all"]);
        // Called from one place, as far as was seen.
        assert!(wrappers(&reads[1..]).is_empty());
        let other = [&reads[..], &[stack(Recv, &["recv", "peek", "main"])]].concat();
        assert!(wrappers(&other).is_empty());
    }

    #[test]
    fn a_path_whose_callers_are_not_known_ends_nowhere() {
        use SocketOperation::Recv;
        let cut = |names| Stack {
            truncated: true,
            ..stack(Recv, names)
        };
        let reads = [
            cut(&["recv", "get"]),
            stack(Recv, &["recv", "get", "header", "main"]),
            stack(Recv, &["recv", "get", "body", "main"]),
        ];
        assert_eq!(wrappers(&reads), ["get"]);
        // It reads by another way as well.
        let other = [&reads[..], &[cut(&["recv", "peek"])]].concat();
        assert!(wrappers(&other).is_empty());
        assert!(wrappers(&[cut(&["recv", "get"]), cut(&["recv", "get"])]).is_empty());
    }

    #[test]
    fn two_closures_of_one_function_are_one_place() {
        let reads = |of: [&str; 2]| {
            of.map(|caller| stack(SocketOperation::Recv, &["recv", "copy", caller]))
        };
        assert!(wrappers(&reads(["main.proxy.func1", "main.proxy.func2"])).is_empty());
        assert!(wrappers(&reads(["main.proxy.gowrap1", "main.proxy.func2.1"])).is_empty());
        assert!(wrappers(&reads(["proxy::{{closure}}", "proxy"])).is_empty());
        assert_eq!(
            wrappers(&reads(["main.get.func1", "main.put.func1"])),
            ["copy"]
        );
    }

    #[test]
    fn a_function_that_ends_a_path_is_where_it_happened() {
        let reads = [
            stack(SocketOperation::Recv, &["recv", "main"]),
            stack(SocketOperation::Recv, &["recv", "main", "start"]),
        ];
        assert!(wrappers(&reads).is_empty());
    }
}
