//! Loads and attaches the hooks in the order of their table, best alternative first.

use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, FExit, Program, ProgramError, TracePoint, fexit::FExitLink,
        tp_btf::BtfTracePointLink,
    },
};
use thiserror::Error;
use tracer_common::config::HAS_REGS;

pub use crate::options::AcceptHook;
use crate::options::{Evidence, Options};

use super::{
    hooks::{HOOKS, Hook, Kind, Need, Purpose},
    layout::Layout,
    load,
    status::{State, Status},
    tracepoint::{Attachment, TracepointError, Tracepoints},
};

#[derive(Debug, Error)]
#[error("the required hook {hook} cannot be attached: {reason}")]
pub struct AttachError {
    pub hook: &'static str,
    pub reason: String,
    pub source: HookError,
}

#[derive(Debug, Error)]
pub enum HookError {
    #[error("the kernel object has no program {0}")]
    NoProgram(&'static str),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Tracepoint(#[from] TracepointError),
}

/// What to attach.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub purposes: Vec<Purpose>,
    pub accept: AcceptHook,
    /// Of them, those that are attached only while something is stuck.
    pub on_demand: Vec<Purpose>,
    /// Of them, those whose programs are loaded when they are attached first: the verifier's work would hold up the
    /// start. Empty programs tell whether they can be.
    pub late: Vec<Purpose>,
    /// Attach the empty programs instead (benchmark floor).
    pub empty: bool,
}

impl Wanted {
    pub fn watch(accept: AcceptHook) -> Self {
        let purposes = vec![
            Purpose::Transitions,
            Purpose::Destruction,
            Purpose::Reads,
            Purpose::Writes,
            Purpose::Accepts,
            Purpose::Processes,
            Purpose::Loops,
        ];
        Self {
            purposes,
            accept,
            on_demand: Vec::new(),
            late: vec![Purpose::Loops],
            empty: false,
        }
    }

    /// What this kernel has no means for is left out: a system call's arguments are read from the registers.
    #[must_use]
    pub fn on(mut self, layout: &Layout) -> Self {
        if !layout.gate(HAS_REGS) {
            self.purposes.retain(|purpose| *purpose != Purpose::Loops);
        }
        self
    }

    /// As the user asks for evidence.
    pub fn asked(options: &Options) -> Self {
        let on_demand = match options.evidence {
            Evidence::Always => Vec::new(),
            Evidence::Leaking => vec![Purpose::Reads, Purpose::Writes, Purpose::Accepts],
        };
        Self {
            on_demand,
            ..Self::watch(options.accept_hook)
        }
    }

    /// `trace` needs the transitions alone.
    pub fn trace() -> Self {
        Self {
            purposes: vec![Purpose::Transitions],
            accept: AcceptHook::None,
            on_demand: Vec::new(),
            late: Vec::new(),
            empty: false,
        }
    }
}

/// How each hook ended.
pub struct Attached {
    pub statuses: Vec<Status>,
    /// The programs stay attached while these live.
    pub links: Vec<(&'static Hook, Link)>,
    pub tracepoints: Tracepoints,
    /// Attached in windows.
    pub loops: Vec<&'static Hook>,
}

/// A program at its hook, until this is dropped.
pub enum Link {
    TpBtf(BtfTracePointLink),
    Fexit(FExitLink),
    Syscall(Attachment),
}

/// Attaches what is wanted.
pub fn attach(ebpf: &mut Ebpf, btf: &Btf, wanted: &Wanted) -> Result<Attached, AttachError> {
    if !wanted.empty {
        let hooks = HOOKS.iter();
        let is_first =
            |purpose| wanted.purposes.contains(purpose) && !wanted.late.contains(purpose);
        let hooks = hooks.filter(|hook| is_first(&hook.purpose));
        let hooks = hooks.filter(|hook| refused(hook, wanted.accept).is_none());
        load::ahead(ebpf, btf, hooks);
    }
    let mut tracepoints = Tracepoints::default();
    let mut statuses: Vec<Status> = Vec::new();
    let mut served: Vec<(Purpose, Kind)> = Vec::new();
    let mut links = Vec::new();
    let mut loops = Vec::new();
    for hook in HOOKS {
        if !wanted.purposes.contains(&hook.purpose) || (wanted.empty && hook.empty.is_none()) {
            continue;
        }
        if let Some(reason) = refused(hook, wanted.accept) {
            statuses.push(hook.status(State::Unavailable { reason }));
            continue;
        }
        // An alternative of another kind already works.
        if served
            .iter()
            .any(|(purpose, kind)| *purpose == hook.purpose && *kind != hook.kind)
        {
            continue;
        }
        let empty = wanted.empty || wanted.late.contains(&hook.purpose);
        let outcome = loaded(ebpf, btf, hook, empty).and_then(|program| {
            if hook.purpose == Purpose::Loops {
                return Ok(None);
            }
            attach_loaded(program, hook, &mut tracepoints).map(Some)
        });
        match outcome {
            Ok(link) => {
                match link {
                    Some(link) => links.push((hook, link)),
                    None => loops.push(hook),
                }
                served.push((hook.purpose, hook.kind));
                let state = match hook.degrades {
                    Some(reason) => State::Degraded {
                        reason: reason.to_owned(),
                    },
                    None => State::Attached,
                };
                statuses.push(Status {
                    on_demand: hook.purpose == Purpose::Loops,
                    ..hook.status(state)
                });
            }
            Err(source) if hook.need == Need::Required => {
                let reason = explain(&source, hook);
                return Err(AttachError {
                    hook: hook.target,
                    reason,
                    source,
                });
            }
            Err(source) => {
                let reason = format!("{}; {}", explain(&source, hook), hook.why);
                statuses.push(hook.status(State::Unavailable { reason }));
            }
        }
    }
    drop_replaced(&mut statuses, &served);
    Ok(Attached {
        statuses,
        links,
        tracepoints,
        loops,
    })
}

/// The user's own choice of accept hook.
fn refused(hook: &Hook, accept: AcceptHook) -> Option<String> {
    if hook.purpose != Purpose::Accepts {
        return None;
    }
    let allowed = match accept {
        AcceptHook::Auto => true,
        AcceptHook::Fexit => hook.kind == Kind::Fexit,
        AcceptHook::Syscall => hook.kind == Kind::Syscall,
        AcceptHook::None => false,
    };
    (!allowed).then(|| format!("switched off by --accept-hook; {}", hook.why))
}

/// A missing first choice is no news once its alternative, which says so itself, works.
fn drop_replaced(statuses: &mut Vec<Status>, served: &[(Purpose, Kind)]) {
    statuses.retain(|status| {
        status.is_working()
            || !HOOKS
                .iter()
                .filter(|hook| hook.target == status.name)
                .any(|hook| served.iter().any(|(purpose, _)| *purpose == hook.purpose))
            || HOOKS.iter().any(|hook| {
                hook.target == status.name
                    && served
                        .iter()
                        .any(|(p, k)| *p == hook.purpose && *k == hook.kind)
            })
    });
}

fn loaded<'e>(
    ebpf: &'e mut Ebpf,
    btf: &Btf,
    hook: &Hook,
    empty: bool,
) -> Result<&'e mut Program, HookError> {
    let name = if empty {
        hook.empty.unwrap_or(hook.program)
    } else {
        hook.program
    };
    let program = ebpf
        .program_mut(name)
        .ok_or(HookError::NoProgram(hook.program))?;
    // Loaded ahead, or when another system call shares it.
    match hook.kind {
        Kind::TpBtf => {
            let program: &mut BtfTracePoint = (&mut *program).try_into()?;
            if program.fd().is_err() {
                program.load(hook.target, btf)?;
            }
        }
        Kind::Fexit => {
            let program: &mut FExit = (&mut *program).try_into()?;
            if program.fd().is_err() {
                program.load(hook.target, btf)?;
            }
        }
        Kind::Syscall => {
            let program: &mut TracePoint = (&mut *program).try_into()?;
            if program.fd().is_err() {
                program.load()?;
            }
        }
    }
    Ok(program)
}

/// Loads what was to be loaded late, the first time it is asked for.
pub(super) fn load_late(ebpf: &mut Ebpf, hooks: &[&'static Hook]) -> Result<(), HookError> {
    let is_loaded = |hook: &&&Hook| (ebpf.program(hook.program)).is_some_and(|it| it.fd().is_ok());
    if hooks.iter().all(|hook| is_loaded(&hook)) {
        return Ok(());
    }
    let btf = Btf::from_sys_fs().map_err(ProgramError::from)?;
    for hook in hooks {
        loaded(ebpf, &btf, hook, false)?;
    }
    Ok(())
}

/// Needs no privilege but for the tracepoint of a system call.
pub(super) fn attach_loaded(
    program: &mut Program,
    hook: &Hook,
    tracepoints: &mut Tracepoints,
) -> Result<Link, HookError> {
    Ok(match hook.kind {
        Kind::TpBtf => {
            let program: &mut BtfTracePoint = program.try_into()?;
            let link = program.attach()?;
            Link::TpBtf(program.take_link(link)?)
        }
        Kind::Fexit => {
            let program: &mut FExit = program.try_into()?;
            let link = program.attach()?;
            Link::Fexit(program.take_link(link)?)
        }
        Kind::Syscall => {
            let program: &mut TracePoint = program.try_into()?;
            Link::Syscall(tracepoints.attach(program.fd()?, "syscalls", hook.target)?)
        }
    })
}

/// The kernel's refusal in words: its error number, and the end of the verifier's log if it spoke.
pub fn explain(error: &HookError, hook: &Hook) -> String {
    let HookError::Program(program) = error else {
        return error.to_string();
    };
    match program {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } if hook.kind == Kind::Fexit
            && io_error.raw_os_error() == Some(1)
            && reason(&verifier_log.to_string()).is_none() =>
        {
            "the kernel refuses fexit programs (EPERM)".to_owned()
        }
        ProgramError::LoadError { .. } => refusal(program),
        ProgramError::Btf(_) => format!("this kernel has no {}", hook.target),
        other => chain(other),
    }
}

/// Why a program was not loaded, without the verifier's whole log.
pub fn refusal(error: &ProgramError) -> String {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return chain(error);
    };
    match reason(&verifier_log.to_string()) {
        Some(line) => format!("the verifier refuses the program ({io_error}): {line}"),
        None => format!("the kernel refuses the program ({io_error})"),
    }
}

/// The verifier's reason stands before its statistics
/// (`kernel/bpf/verifier.c:print_verification_stats`; other words from 7.2 on).
fn reason(log: &str) -> Option<&str> {
    log.lines().map(str::trim).rfind(|line| {
        let statistics = [
            "processed ",
            "insns processed ",
            "subprog ",
            "verification time ",
            "stack depth ",
        ];
        !line.is_empty() && !statistics.iter().any(|word| line.starts_with(word))
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
