//! What really works here: loads and attaches everything, reads each iterator once, and lets go.

use std::io::Read as _;

use aya::{Ebpf, Endianness, programs::Iter};

use super::{
    attach::{AcceptHook, Wanted, attach},
    btf::Btf,
    explain::{explain_attach, explain_btf, explain_iterate, explain_layout, explain_object},
    hooks::{HOOKS, Kind, Purpose},
    host::VMLINUX,
    iterate::IterateError,
    layout::Layout,
    object::{Object, ObjectError, Settings},
    samples,
    status::{State, Status},
    turns, usage,
};
use crate::exit::Explained;

/// The outcome. Parts that were never reached are `None`.
#[derive(Debug, Default)]
pub struct Trial {
    /// Why the tool cannot work at all.
    pub problem: Option<Explained>,
    pub sha256: Option<String>,
    pub hooks: Option<Vec<Status>>,
    /// `None` beside the name of one that was not tried.
    pub iterators: Vec<(&'static str, Option<Result<(), String>>)>,
    /// Gates of `config`, and whether they are open.
    pub helpers: Option<Vec<(&'static str, bool)>>,
    /// Programs, and how many instructions the verifier went through for each; empty before 5.16.
    pub verified: Vec<(String, u64)>,
}

/// Program, target, and whether nothing works without it.
const ITERATORS: [(&str, &str, bool); 3] = [
    ("iter_task_file", "task_file", true),
    ("iter_tcp", "tcp", true),
    ("iter_task", "task", false),
];

/// With a `problem` found before, only what needs no privilege is looked at.
pub fn run(problem: Option<Explained>) -> Trial {
    let mut trial = Trial {
        problem,
        iterators: ITERATORS.map(|(_, target, _)| (target, None)).to_vec(),
        ..Trial::default()
    };
    let (layout, types) = match Layout::of_running_kernel() {
        Ok(known) => known,
        Err(error) => {
            trial.problem.get_or_insert_with(|| explain_layout(&error));
            return trial;
        }
    };
    let object = Object::find(&layout);
    trial.sha256 = object.as_ref().ok().map(|object| object.sha256.clone());
    let gates = layout.gates.iter().map(|(gate, on)| (*gate, *on != 0));
    trial.helpers = Some(gates.collect());
    if trial.problem.is_some() {
        trial.hooks = Some(absent_hooks());
        return trial;
    }
    if let Err(problem) = load(object, &layout, &types, &mut trial) {
        trial.problem = Some(problem);
    }
    trial
}

fn load(
    object: Result<Object, ObjectError>,
    layout: &Layout,
    types: &[u8],
    trial: &mut Trial,
) -> Result<(), Explained> {
    let btf = aya::Btf::parse(types, Endianness::default()).map_err(|error| explain_btf(&error))?;
    let mut object = object.map_err(|error| explain_object(&error))?;
    let mut ebpf = object
        .load(layout, &Settings::default())
        .map_err(|error| explain_object(&error))?;
    trial.sha256 = Some(object.sha256);
    let mut problem = None;
    for (slot, (program, target, required)) in trial.iterators.iter_mut().zip(ITERATORS) {
        let outcome = iterate(&mut ebpf, &btf, program, target);
        if required && let Err(error) = &outcome {
            problem.get_or_insert_with(|| explain_iterate(error));
        }
        slot.1 = Some(outcome.map_err(|error| error.to_string()));
    }
    let mut wanted = Wanted::watch(AcceptHook::Auto).on(layout);
    wanted.late.clear();
    let attached = attach(&mut ebpf, &btf, &wanted);
    // It is not attached here; where it cannot be loaded, it is not among those that the kernel has counted.
    let _sampler = samples::load(&mut ebpf);
    trial.verified = usage::verified(&ebpf);
    let turns = object.turns.map(|count| (turns::PROGRAM.to_owned(), count));
    trial.verified.extend(turns);
    match attached {
        Ok(attached) => {
            trial.hooks = Some(attached.statuses);
            problem.map_or(Ok(()), Err)
        }
        Err(error) => {
            let mut statuses = vec![Status {
                name: error.hook,
                purpose: Purpose::Transitions,
                kind: Kind::TpBtf.name(),
                state: State::Unavailable {
                    reason: error.reason.clone(),
                },
                on_demand: false,
            }];
            let rest = attach(&mut ebpf, &btf, &without_transitions(wanted));
            statuses.extend(rest.map(|attached| attached.statuses).unwrap_or_default());
            trial.hooks = Some(statuses);
            Err(explain_attach(&error))
        }
    }
}

/// The only required hook is the one on transitions.
fn without_transitions(mut wanted: Wanted) -> Wanted {
    wanted
        .purposes
        .retain(|purpose| *purpose != Purpose::Transitions);
    wanted
}

fn iterate(
    ebpf: &mut Ebpf,
    btf: &aya::Btf,
    program: &'static str,
    target: &'static str,
) -> Result<(), IterateError> {
    let refused = |error| IterateError::Refused(target, error);
    let iterator: &mut Iter = ebpf
        .program_mut(program)
        .and_then(|program| program.try_into().ok())
        .ok_or(IterateError::NoProgram(program))?;
    iterator.load(target, btf).map_err(refused)?;
    let id = iterator.attach().map_err(refused)?;
    let link = iterator.take_link(id).map_err(refused)?;
    let mut stream = link
        .into_file()
        .map_err(|error| IterateError::Link(target, error))?;
    // One read runs the program over many sockets already; the rest would tell nothing new.
    let mut some = [0; 4096];
    stream
        .read(&mut some)
        .map(|_| ())
        .map_err(|error| IterateError::Read(target, error))
}

/// Tracepoints that this kernel's BTF does not name: no privilege would bring them.
fn absent_hooks() -> Vec<Status> {
    let Ok(data) = std::fs::read(VMLINUX) else {
        return Vec::new();
    };
    let Ok(btf) = Btf::parse(&data) else {
        return Vec::new();
    };
    let absent = |target| State::Unavailable {
        reason: format!("this kernel has no {target}"),
    };
    HOOKS
        .iter()
        .filter(|hook| hook.kind == Kind::TpBtf && !btf.has_tracepoint(hook.target))
        .map(|hook| hook.status(absent(hook.target)))
        .collect()
}
