//! The user's filters as the middle knows them.

use super::session::ns;
use crate::{
    model::input::Scope,
    options::{Evidence, Mode, Options},
    probe::{object::Follows, target},
    source::process,
};

/// Fails where a filter names something that does not exist.
pub fn of(options: &Options) -> anyhow::Result<Scope> {
    let filter = &options.filter;
    for pid in &filter.pids {
        target::check_pid(*pid)?;
    }
    let cgroup = match &filter.cgroup {
        Some(asked) => {
            Some(process::cgroup_name(asked).map_err(|error| target::no_cgroup(asked, &error))?)
        }
        None => None,
    };
    Ok(Scope {
        pids: filter.pids.clone(),
        comm: filter
            .comm
            .as_ref()
            .map(|comm| comm.name().raw().to_owned()),
        ports: filter.ports.clone(),
        cgroup,
    })
}

/// The processes that are asked for, and their children. The one at the gate of `run` has none yet.
pub fn pids(options: &Options) -> Vec<u32> {
    match options.mode {
        Mode::Run(_) => options.filter.pids.clone(),
        _ if options.filter.pids.is_empty() => Vec::new(),
        _ => process::with_descendants(&options.filter.pids),
    }
}

/// For the report's headline: what was looked at, when not everything.
pub fn words(scope: &Scope) -> Option<String> {
    let mut parts = Vec::new();
    match scope.pids.as_slice() {
        [] => {}
        [pid] => parts.push(format!("pid {pid} and its children")),
        pids => {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            parts.push(format!("pids {} and their children", pids.join(", ")));
        }
    }
    parts.extend(
        scope
            .comm
            .as_ref()
            .map(|comm| format!("processes named {}", comm.escape_debug())),
    );
    match scope.ports.as_slice() {
        [] => {}
        [only] => parts.push(format!("port {only}")),
        several => {
            let several: Vec<String> = several.iter().map(u16::to_string).collect();
            parts.push(format!("ports {}", several.join(", ")));
        }
    }
    parts.extend(
        scope
            .cgroup
            .as_ref()
            .map(|path| format!("cgroup {}", path.escape_debug())),
    );
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Whose sockets the kernel program is to remember.
pub fn follows(options: &Options, pids: &[u32]) -> Follows {
    match exit_age(options) {
        Some(exit_age_ns) => Follows::Tree { exit_age_ns },
        None if pids.is_empty() && options.evidence == Evidence::Always => Follows::Everything,
        None => Follows::Processes,
    }
}

/// Where one tree of processes is followed.
pub fn exit_age(options: &Options) -> Option<u64> {
    match &options.mode {
        Mode::Run(run) => Some(ns(run.exit_age)),
        _ => None,
    }
}
