//! Loads hooks, iterators and what looks at samples on all CPUs at once: the verifier takes nearly all of the time until the tracer is
//! ready, and the kernel lets it work on several programs (`kernel/bpf/verifier.c:bpf_check` takes its lock for
//! unprivileged users alone). Attaches nothing, and leaves what fails to whoever attaches, to say why.

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FExit, Iter, PerfEvent, Program, ProgramError, TracePoint},
};

use super::{
    hooks::{Hook, Kind},
    iterate::{TASK_FILE, TCP},
    samples,
    threads::TASK,
};

pub fn ahead<'h>(ebpf: &mut Ebpf, btf: &Btf, hooks: impl Iterator<Item = &'h Hook>) {
    let mut programs: BTreeMap<String, &mut Program> = ebpf
        .programs_mut()
        .map(|(name, program)| (name.to_owned(), program))
        .collect();
    // Of one purpose, a later kind is wanted only where the earlier one is refused.
    let mut purposes: Vec<Vec<(&Hook, &mut Program)>> = Vec::new();
    for hook in hooks {
        let Some(program) = programs.remove(hook.program) else {
            continue;
        };
        let same = |(known, _): &(&Hook, &mut Program)| known.purpose == hook.purpose;
        match purposes.iter_mut().find(|hooks| hooks.iter().any(same)) {
            Some(hooks) => hooks.push((hook, program)),
            None => purposes.push(vec![(hook, program)]),
        }
    }
    let iterators: Vec<(&str, &mut Program)> = [TCP, TASK_FILE, TASK]
        .into_iter()
        .filter_map(|(name, target)| Some((target, programs.remove(name)?)))
        .collect();
    let sampler = programs.remove(samples::PROGRAM);
    // The hooks first, in their order: those that take longest come early, and no CPU is left alone with one in the end.
    let hooks = purposes.into_iter().map(Work::Hooks);
    let work = hooks
        .chain(iterators.into_iter().map(Work::Iterator))
        .chain(sampler.map(Work::Sampler));
    let work = Mutex::new(work);
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(work) = next() {
                    work.load(btf);
                }
            });
        }
    });
}

enum Work<'h, 'p> {
    /// Of one purpose.
    Hooks(Vec<(&'h Hook, &'p mut Program)>),
    Iterator((&'static str, &'p mut Program)),
    Sampler(&'p mut Program),
}

impl Work<'_, '_> {
    /// Whoever loads next what cannot be loaded is told why.
    fn load(self, btf: &Btf) {
        match self {
            Self::Iterator((target, program)) => {
                let _ = <&mut Iter>::try_from(program).map(|program| program.load(target, btf));
            }
            Self::Sampler(program) => {
                let _ = <&mut PerfEvent>::try_from(program).map(PerfEvent::load);
            }
            Self::Hooks(hooks) => {
                let mut served = None;
                for (hook, program) in hooks {
                    if served.is_none_or(|kind| kind == hook.kind)
                        && load(hook, program, btf).is_ok()
                    {
                        served = Some(hook.kind);
                    }
                }
            }
        }
    }
}

fn load(hook: &Hook, program: &mut Program, btf: &Btf) -> Result<(), ProgramError> {
    match hook.kind {
        Kind::TpBtf => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(hook.target, btf)
        }
        Kind::Fexit => {
            let program: &mut FExit = program.try_into()?;
            program.load(hook.target, btf)
        }
        Kind::Syscall => {
            let program: &mut TracePoint = program.try_into()?;
            program.load()
        }
    }
}
