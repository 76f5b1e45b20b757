//! Tasks of asyncio that are suspended, of CPython 3.11 to 3.13: the coroutine of each with those that it awaits, and
//! which descriptors it has. From the set in which the library itself keeps its tasks.

mod held;

use std::collections::HashSet;

use super::objects::{self, Attributes, Types, is_pointer};
use super::{Activation, Cpython, text};
use crate::symbolize::runtimes::memory::Memory;
use crate::symbolize::tasks::{MAX_CHAIN, MAX_TOLD};

/// Where a release keeps what tasks are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// From the interpreter to `sys.modules`.
    modules: u64,
    /// The attribute of `asyncio.tasks` that is the set of all of them.
    all: &'static str,
    attributes: Attributes,
    /// In a coroutine: the state of its frame, and the frame. Generators are alike.
    state: u64,
    frame: u64,
    /// States in which it is suspended.
    suspended: &'static [i8],
    created: i8,
}

/// In a frame: how many words of `localsplus` are in use, and these.
const USED: u64 = 64;
const LOCALS: u64 = 72;
const MAX_LOCALS: u32 = 256;
/// The object that the iterator of a future is for; what a weak reference refers to; what a cell holds.
const REFERENT: u64 = 16;

pub(super) fn of_release(minor: u8) -> Option<Layout> {
    let twelve = Layout {
        modules: 944,
        all: "_scheduled_tasks",
        attributes: Attributes::Either,
        state: 67,
        frame: 72,
        suspended: &[-1],
        created: -2,
    };
    match minor {
        11 => Some(Layout {
            modules: 888,
            all: "_all_tasks",
            attributes: Attributes::Apart,
            state: 75,
            frame: 80,
            ..twelve
        }),
        12 => Some(twelve),
        13 => Some(Layout {
            modules: 7656,
            attributes: Attributes::Inline,
            suspended: &[-2, -1],
            created: -3,
            ..twelve
        }),
        _ => None,
    }
}

/// One task as it was read.
pub(in crate::symbolize) struct Suspended {
    pub at: u64,
    pub name: String,
    /// Innermost first.
    pub chain: Vec<Activation>,
    /// Outer ones or what is awaited are missing.
    pub truncated: bool,
    /// Descriptors, and by how many references each is away from a variable of its coroutines.
    pub holds: Vec<(i32, u8)>,
    /// Coroutines, each with its state and frame: where it is.
    places: Vec<(u64, [u64; 3])>,
    /// Of these its own, whose variables count.
    own: usize,
}

impl Cpython {
    /// Whether all could be read, and those that are suspended; `None` where asyncio is not used, or not known.
    pub(in crate::symbolize) fn tasks(
        &self,
        memory: &mut Memory<'_>,
    ) -> Option<(Vec<Suspended>, bool)> {
        let layout = self.tasks.filter(|_| !self.many_interpreters)?;
        let mut types = Types::default();
        let all = self.all_tasks(memory, &mut types, layout)?;
        let mut found = Vec::new();
        memory.want(all.iter().copied());
        let complete = all.len() <= MAX_TOLD;
        for task in all.into_iter().take(MAX_TOLD) {
            found.extend(self.suspended(memory, &mut types, layout, task));
        }
        held::find(memory, &mut types, layout, &mut found);
        Some((found, complete))
    }

    /// Whether each is where it was, by memory that was not read before.
    pub(in crate::symbolize) fn are_unchanged(
        &self,
        memory: &mut Memory<'_>,
        tasks: &[Suspended],
    ) -> Vec<bool> {
        let Some(layout) = self.tasks else {
            return vec![false; tasks.len()];
        };
        memory.want(
            tasks
                .iter()
                .flat_map(|task| task.places.iter().map(|(at, _)| *at)),
        );
        let same = |task: &Suspended| {
            let mut places = task.places.iter();
            places.all(|(at, known)| self.place(memory, layout, *at).as_ref() == Some(known))
        };
        tasks.iter().map(same).collect()
    }

    fn all_tasks(
        &self,
        memory: &mut Memory<'_>,
        types: &mut Types,
        layout: Layout,
    ) -> Option<Vec<u64>> {
        let interpreter = memory.word(self.runtime.checked_add(self.layout.interpreters)?)?;
        let modules = memory.word(interpreter.checked_add(layout.modules)?)?;
        let module = objects::entry(memory, &self.layout, modules, "asyncio.tasks")?;
        let names = memory.word(module.checked_add(16)?)?;
        let all = objects::entry(memory, &self.layout, names, layout.all)?;
        let kind = types
            .of(memory, all)
            .filter(|kind| kind.name == "WeakSet")?;
        let mut found = Vec::new();
        for set in objects::attributes(memory, layout.attributes, &kind, all) {
            let kind = types.of(memory, set);
            if kind.is_none_or(|kind| kind.name != "set") {
                continue;
            }
            let references = objects::members(memory, set).unwrap_or_default();
            memory.want(references.iter().copied());
            let referents = references
                .into_iter()
                .filter_map(|at| memory.word(at.checked_add(REFERENT)?));
            found.extend(referents.filter(|at| is_pointer(*at)));
        }
        let mut seen = HashSet::new();
        found.retain(|task| seen.insert(*task));
        Some(found)
    }

    /// `None` for what is no task, runs, or has ended.
    fn suspended(
        &self,
        memory: &mut Memory<'_>,
        types: &mut Types,
        layout: Layout,
        task: u64,
    ) -> Option<Suspended> {
        let kind = types.of(memory, task)?;
        let words: Vec<u64> = (2..kind.size() / 8)
            .map(|number| memory.word(task.wrapping_add(number * 8)))
            .collect::<Option<_>>()?;
        let is = |memory: &mut Memory<'_>, types: &mut Types, object: u64| {
            is_pointer(object)
                && types
                    .of(memory, object)
                    .is_some_and(|kind| has_frame(&kind.name))
        };
        // `task_coro`, with `task_name` behind it; a result, which may be one too, lies before.
        let coroutine = (0..words.len())
            .rev()
            .find(|at| words.get(*at).is_some_and(|word| is(memory, types, *word)))?;
        let name = words.get(coroutine + 1);
        let name = name.and_then(|name| self.name_of(memory, types, *name));
        let mut found = Suspended {
            at: task,
            name: name.unwrap_or_else(|| "task".to_owned()),
            chain: Vec::new(),
            truncated: false,
            holds: Vec::new(),
            places: Vec::new(),
            own: 0,
        };
        self.follow(memory, types, layout, *words.get(coroutine)?, &mut found)?;
        found.chain.reverse();
        Some(found)
    }

    /// From a task's coroutine to what it awaits, and so on.
    fn follow(
        &self,
        memory: &mut Memory<'_>,
        types: &mut Types,
        layout: Layout,
        first: u64,
        found: &mut Suspended,
    ) -> Option<()> {
        let (mut at, mut own) = (first, true);
        loop {
            if found.places.len() >= MAX_CHAIN || found.places.iter().any(|(known, _)| *known == at)
            {
                found.truncated = true;
                break;
            }
            let state = self.place(memory, layout, at);
            let suspended = state.is_some_and(|[state, ..]| {
                layout
                    .suspended
                    .iter()
                    .any(|known| u64::from(known.cast_unsigned()) == state)
            });
            let created =
                state.is_some_and(|[state, ..]| u64::from(layout.created.cast_unsigned()) == state);
            let Some(state) = state.filter(|_| suspended || created) else {
                // Another task goes on, and this one will after it.
                found.truncated = true;
                break;
            };
            let (activation, _) = self.frame(memory, at.wrapping_add(layout.frame))?;
            found.chain.extend(activation);
            found.places.push((at, state));
            found.own += usize::from(own);
            if created {
                break;
            }
            let Some((next, is_own)) = awaited(memory, types, layout, at) else {
                break;
            };
            (at, own) = (next, own && is_own);
        }
        (!found.chain.is_empty()).then_some(())
    }

    fn place(&self, memory: &mut Memory<'_>, layout: Layout, coroutine: u64) -> Option<[u64; 3]> {
        let [state] = memory.array(coroutine.checked_add(layout.state)?)?;
        let frame = coroutine.checked_add(layout.frame)?;
        let used = memory.half(frame.checked_add(USED)?)?;
        let instruction = memory.word(frame.checked_add(self.layout.instruction)?)?;
        Some([state.into(), used.into(), instruction])
    }

    /// A string, or the number from which one is made when it is asked for.
    fn name_of(&self, memory: &mut Memory<'_>, types: &mut Types, object: u64) -> Option<String> {
        match types.of(memory, object)?.name.as_str() {
            "str" => text::text(memory, &self.layout, object),
            "int" => {
                let digit = memory.half(object.checked_add(24)?)?;
                Some(format!("Task-{digit}"))
            }
            _ => None,
        }
    }
}

fn has_frame(kind: &str) -> bool {
    matches!(kind, "coroutine" | "generator" | "async_generator")
}

/// The top of a suspended coroutine's stack is what it awaits. Whether that is part of the same task.
fn awaited(
    memory: &mut Memory<'_>,
    types: &mut Types,
    layout: Layout,
    coroutine: u64,
) -> Option<(u64, bool)> {
    let frame = coroutine.checked_add(layout.frame)?;
    let used = memory.half(frame.checked_add(USED)?)?;
    if used == 0 || used > MAX_LOCALS {
        return None;
    }
    let top = frame.checked_add(LOCALS + u64::from(used - 1) * 8)?;
    let object = memory.word(top).filter(|object| is_pointer(*object))?;
    let kind = types.of(memory, object)?;
    let inner = match kind.name.as_str() {
        name if has_frame(name) => return Some((object, true)),
        "coroutine_wrapper" | "async_generator_asend" | "async_generator_athrow" => {
            let inner = memory.word(object.checked_add(REFERENT)?)?;
            return Some((inner, true));
        }
        "FutureIter" | "_asyncio.FutureIter" => memory.word(object.checked_add(REFERENT)?)?,
        _ => return None,
    };
    // Another task, which is awaited.
    let kind = types
        .of(memory, inner)
        .filter(|kind| kind.name.ends_with("Task"))?;
    let words = (2..kind.size() / 8).rev();
    let coroutine = words
        .filter_map(|number| memory.word(inner.wrapping_add(number * 8)))
        .filter(|word| is_pointer(*word))
        .collect::<Vec<_>>()
        .into_iter()
        .find(|word| {
            types
                .of(memory, *word)
                .is_some_and(|kind| has_frame(&kind.name))
        })?;
    Some((coroutine, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::runtimes::memory::MAX_PAGES;

    /// Every word of the memory points to the next one, or to itself: no list in it ends.
    #[test]
    fn what_leads_nowhere_ends() {
        for step in [0, 8, 4096] {
            let mut rounds = 0;
            let mut fetch = |pages: &[u64]| {
                rounds += 1;
                let page = |page: &u64| {
                    let words = (0..512_u64).map(|word| page + word * 8 + step);
                    Some(words.flat_map(u64::to_le_bytes).collect())
                };
                pages.iter().map(page).collect()
            };
            let file = std::fs::File::open("/proc/self/exe").unwrap();
            let own = crate::symbolize::open::FileId::of(&file).unwrap();
            let mut memory = Memory::new(&mut fetch).with_room(MAX_PAGES);
            let python = Cpython {
                image: own,
                layout: super::super::layout::of_release(12).unwrap(),
                runtime: 0x10_0000,
                code_type: 0x20_0000,
                state: None,
                tasks: of_release(12),
                many_interpreters: false,
            };
            assert!(
                python
                    .tasks(&mut memory)
                    .is_none_or(|(found, _)| found.is_empty())
            );
            let mut types = Types::default();
            let layout = of_release(12).unwrap();
            let mut tasks = vec![Suspended {
                at: 0x30_0000,
                name: String::new(),
                chain: Vec::new(),
                truncated: false,
                holds: Vec::new(),
                places: vec![(0x40_0000, [0; 3])],
                own: 1,
            }];
            held::find(&mut memory, &mut types, layout, &mut tasks);
            assert!(
                tasks
                    .iter()
                    .all(|task| task.holds.len() <= crate::symbolize::tasks::MAX_HELD)
            );
            drop(memory);
            assert!(rounds <= MAX_PAGES, "{rounds}");
        }
    }
}
