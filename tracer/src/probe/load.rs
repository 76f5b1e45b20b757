//! Loads hooks and iterators on all CPUs at once: the verifier takes nearly all of the time until the tracer is
//! ready, and the kernel lets it work on several programs (`kernel/bpf/verifier.c:bpf_check` takes its lock for
//! unprivileged users alone). Attaches nothing, and leaves what fails to whoever attaches, to say why.

use std::{collections::BTreeMap, thread};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FExit, Iter, Program, ProgramError, TracePoint},
};

use super::{
    hooks::{Hook, Kind},
    iterate::{TASK_FILE, TCP},
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
    thread::scope(|scope| {
        scope.spawn(move || {
            for (target, program) in iterators {
                // Whoever loads it next is told why it cannot be.
                let _ = <&mut Iter>::try_from(program).map(|program| program.load(target, btf));
            }
        });
        for hooks in purposes {
            scope.spawn(move || {
                let mut served = None;
                for (hook, program) in hooks {
                    if served.is_none_or(|kind| kind == hook.kind)
                        && load(hook, program, btf).is_ok()
                    {
                        served = Some(hook.kind);
                    }
                }
            });
        }
    });
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
