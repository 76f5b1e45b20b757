//! One line a fact: from what the probes found to what it means for the user.

use caps::Capability;
use tracer_common::config;

use super::{Check, Standing, fix};
use crate::probe::{
    caps::{FEATURES, Held, RECOMMENDED, names, setcap},
    hooks::{HOOKS, Hook, Purpose},
    host::{Host, Lockdown},
    status::{State, Status},
    tracefs::{Absence, Origin},
    trial::Trial,
};

pub(super) fn host(host: &Host, trial: &Trial) -> Vec<Check> {
    vec![
        btf(host.btf),
        lockdown(host.lockdown),
        tracefs(&host.tracefs, has_accept_sites(trial)),
        namespaces(host),
        yama(host.ptrace_scope),
    ]
}

fn btf(present: bool) -> Check {
    let name = "type information (BTF)";
    if present {
        Check::new(name, Standing::Works)
    } else {
        Check::new(name, Standing::Missing)
            .because("without it the tracer cannot find its way through this kernel's structures")
            .fixed_by("a kernel with CONFIG_DEBUG_INFO_BTF=y")
    }
}

fn lockdown(mode: Lockdown) -> Check {
    let name = format!("lockdown: {}", mode.name());
    match mode {
        Lockdown::None | Lockdown::Integrity => Check::new(name, Standing::Works),
        Lockdown::Confidentiality => Check::new(name, Standing::Unavailable)
            .because("BPF programs may not read kernel memory, not even for root")
            .fixed_by("boot with lockdown=integrity or lower (often tied to Secure Boot)"),
        Lockdown::Unknown => Check::new(name, Standing::Works)
            .because("securityfs is not mounted; what lockdown refuses shows below"),
    }
}

const NOT_NEEDED: &str = "missing, but accept sites work here without";

/// Whether it is mounted does not matter: a mount that nobody sees does as well.
fn tracefs(found: &Result<Origin, Absence>, needless: bool) -> Check {
    let check = Check::new("tracefs", Standing::Works);
    match found {
        Ok(Origin::Mounted(_)) => check,
        Ok(Origin::Detached) => check.because("not mounted, and it need not be: it opens without"),
        Err(_) if needless => check.because(NOT_NEEDED),
        Err(absence) => Check::new("tracefs", Standing::Missing).because(format!(
            "{absence}: no accept sites on kernels that refuse fexit programs"
        )),
    }
}

/// Does one of the alternative hooks on accept work?
fn has_accept_sites(trial: &Trial) -> bool {
    let statuses = trial.hooks.as_deref().unwrap_or_default();
    HOOKS.iter().any(|hook| {
        hook.purpose == Purpose::Accepts
            && statuses
                .iter()
                .any(|it| it.name == hook.target && it.is_working())
    })
}

fn namespaces(host: &Host) -> Check {
    let name = "namespaces";
    if host.in_user_namespace {
        Check::new(name, Standing::Unavailable)
            .because("in a user namespace: capabilities do not count outside of it")
            .fixed_by("run it on the host, or in a container without user namespace")
    } else if host.in_pid_namespace {
        Check::new(name, Standing::Degraded)
            .because(
                "in a pid namespace: its processes are traced and named, those outside of it not",
            )
            .fixed_by("run it on the host, or with --pid=host")
    } else {
        Check::new(name, Standing::Works)
    }
}

fn yama(scope: Option<i32>) -> Check {
    let name = "looking into processes";
    if scope == Some(3) {
        Check::new(name, Standing::Unavailable)
            .because("nothing tells what threads that hold a socket are waiting for")
            .fixed_by("kernel.yama.ptrace_scope below 3, which takes a reboot")
    } else {
        Check::new(name, Standing::Works)
    }
}

pub(super) fn capabilities(held: &Held, root: bool, trial: &Trial) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for feature in FEATURES {
        let missing = held.missing(feature);
        let mut check = Check::new(feature.name, Standing::Works);
        check.needs = feature.needs.iter().map(ToString::to_string).collect();
        if !missing.is_empty() && feature.is_told_by_its_hook() && has_accept_sites(trial) {
            check.reason = Some(NOT_NEEDED.to_owned());
        } else if !missing.is_empty() {
            check.status = Standing::Missing;
            check.reason = Some(format!("without {}: {}", names(&missing), feature.lost));
            // The same for all; once is enough.
            let fix = Some(capability_fix(&missing, root));
            check.fix = fix.filter(|fix| checks.iter().all(|it| it.fix.as_ref() != Some(fix)));
        }
        checks.push(check);
    }
    checks
}

fn capability_fix(missing: &[Capability], root: bool) -> String {
    if root {
        let names = names(missing);
        format!("add {names} where it is started (--cap-add=, AmbientCapabilities=)")
    } else if missing.contains(&Capability::CAP_SYS_ADMIN) {
        "run it with sudo".to_owned()
    } else {
        format!(
            "run it with sudo, or give the program: setcap {}",
            setcap(RECOMMENDED)
        )
    }
}

/// Every hook of the table, except alternatives to one that works.
pub(super) fn hooks(host: &Host, held: &Held, root: bool, trial: &Trial) -> Vec<Check> {
    let tried = trial.problem.is_none();
    let statuses = trial.hooks.as_deref().unwrap_or_default();
    HOOKS
        .iter()
        .filter_map(|hook| {
            let found =
                |status: &&Status| status.name == hook.target && status.kind == hook.kind.name();
            match statuses.iter().find(found) {
                Some(status) => Some(tried_hook(hook, &status.state, |state| {
                    fix::of(hook, state, host, held, root)
                })),
                None if tried => None,
                None => Some(untested(hook)),
            }
        })
        .collect()
}

fn tried_hook(hook: &Hook, state: &State, fix: impl Fn(&State) -> Option<String>) -> Check {
    let (status, reason) = match state {
        State::Attached => (Standing::Attached, None),
        State::Degraded { reason } => (Standing::Degraded, Some(reason.clone())),
        State::Unavailable { reason } => (Standing::Unavailable, Some(reason.clone())),
    };
    Check {
        kind: Some(hook.kind.name()),
        reason,
        fix: fix(state),
        ..Check::new(hook.target, status)
    }
}

fn untested(hook: &Hook) -> Check {
    Check {
        kind: Some(hook.kind.name()),
        ..Check::new(hook.target, Standing::Untested)
    }
}

pub(super) fn iterators(trial: &Trial) -> Vec<Check> {
    trial
        .iterators
        .iter()
        .map(|(name, outcome)| match outcome {
            None => Check::new(*name, Standing::Untested),
            Some(Ok(())) => Check::new(*name, Standing::Works),
            Some(Err(reason)) => Check::new(*name, Standing::Unavailable)
                .because(reason.clone())
                .fixed_by("a distribution kernel from 5.10 on"),
        })
        .collect()
}

/// What each gate opens, and what is lost while it is shut.
const HELPERS: &[(&str, &str, &str, &str)] = &[
    (
        config::HAS_REGS,
        "bpf_task_pt_regs",
        "no stacks: findings name processes, not functions",
        "Linux 5.15 or newer",
    ),
    (
        config::HAS_COOKIE,
        "bpf_get_socket_cookie",
        "sockets are told apart by their address in the kernel, which is used again",
        "Linux 5.12 or newer",
    ),
    (
        config::HAS_SOCK_FROM_FILE,
        "bpf_sock_from_file",
        "holders are found by a slower way",
        "Linux 5.11 or newer",
    ),
];

pub(super) fn helpers(trial: &Trial) -> Vec<Check> {
    let gates = trial.helpers.as_deref().unwrap_or_default();
    HELPERS
        .iter()
        .filter_map(|(gate, helper, lost, since)| {
            let (_, open) = gates.iter().find(|(name, _)| name == gate)?;
            Some(if *open {
                Check::new(*helper, Standing::Works)
            } else {
                Check::new(*helper, Standing::Missing)
                    .because(*lost)
                    .fixed_by(*since)
            })
        })
        .collect()
}
