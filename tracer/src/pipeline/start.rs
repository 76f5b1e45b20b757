//! Puts the kernel program in place for a run, and how large and how patient it is to be.

use std::time::Duration;

use tracer_common::config::MAX_CGROUPS;

use super::session::ns;
use crate::{
    model::{
        input::Observes,
        report::{Hook, HookStatus},
    },
    options::Mode,
    probe::{
        attach::Wanted,
        explain,
        hooks::Purpose,
        host::Host,
        live::Live,
        object::Settings,
        privilege,
        status::{State, Status},
    },
    source::process,
};

/// Loads and attaches, then gives up every privilege that is not needed any more.
pub fn start(
    settings: &Settings,
    wanted: &Wanted,
    pids: &[u32],
    mode: &Mode,
) -> anyhow::Result<Live> {
    privilege::raise_memlock_limit();
    let live =
        Live::start(settings, wanted, pids).map_err(|error| explain::explain_start(&error))?;
    if let Err(kept) = privilege::drop_privileges(&privilege::needed_after_attach(mode)) {
        tracing::info!("{kept}");
    }
    Ok(live)
}

/// As the report lists it.
/// What the attached hooks let the run see.
pub fn observes(statuses: &[Status]) -> Observes {
    let sees = |purpose: Purpose| {
        statuses
            .iter()
            .any(|status| status.purpose == purpose && status.is_working())
    };
    Observes {
        reads: sees(Purpose::Reads),
        writes: sees(Purpose::Writes),
    }
}

pub fn hook(status: &Status) -> Hook {
    let (outcome, reason) = match &status.state {
        State::Attached => (HookStatus::Attached, None),
        State::Degraded { reason } => (HookStatus::Degraded, Some(reason.clone())),
        State::Unavailable { reason } => (HookStatus::Unavailable, Some(reason.clone())),
    };
    Hook {
        name: status.name.to_owned(),
        kind: status.kind.to_owned(),
        status: outcome,
        reason,
    }
}

/// What a report lacks when the iterator over threads cannot be used.
pub fn without_threads(reason: &str) -> String {
    format!(
        "{reason}: nothing tells since when threads wait, and their stacks may end early (they come from /proc)"
    )
}

/// Four times the sockets of now, so that few lose their place; a small table stays in the caches.
pub fn table_size() -> u32 {
    use tracer_common::table::{DEFAULT_SLOTS, MAX_SLOTS};
    let sockets = process::tcp_sockets().unwrap_or(0);
    sockets
        .saturating_mul(4)
        .clamp(DEFAULT_SLOTS, MAX_SLOTS)
        .next_power_of_two()
}

/// Half of the threshold, so that a socket is known well before it counts as stuck.
pub fn grace(min_age: Duration) -> u64 {
    ns(min_age / 2).clamp(20_000_000, 1_000_000_000)
}

/// Four times the cgroups of now: the map has an element for each CPU.
pub fn cgroups_to_count(host: &Host) -> u32 {
    const FEWEST: u32 = 256;
    let stat = host.cgroup2.as_ref().map(|mount| mount.join("cgroup.stat"));
    let text = stat.and_then(|path| std::fs::read_to_string(path).ok());
    let now = text.as_deref().and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("nr_descendants "))?;
        line.trim().parse::<u32>().ok()
    });
    now.map_or(MAX_CGROUPS, |now| now.saturating_mul(4))
        .clamp(FEWEST, MAX_CGROUPS)
}
