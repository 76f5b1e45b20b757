//! Puts the kernel program in place for a run, and how large and how patient it is to be.

use std::{io, time::Duration};

use tracer_common::{
    config::MAX_CGROUPS,
    state::{CLOSE, CLOSE_WAIT, LISTEN},
};

use super::{scope, session::ns};
use crate::{
    model::{
        input::Observes,
        report::{Hook, HookStatus},
    },
    options::{Mode, Options},
    probe::{
        attach::Wanted,
        explain,
        hooks::Purpose,
        host::Host,
        live::Live,
        mappings::Mappings,
        object::Settings,
        privilege,
        status::{State, Status},
    },
    source::process,
};

/// States of sockets that can be stuck, and of those they came in through.
pub const ITER_STATES: u32 = 1 << CLOSE_WAIT | 1 << CLOSE | 1 << LISTEN;

/// What is lost when these are too small has to be told: tests make them so. Powers of two, the ring of whole pages.
const TABLE_SLOTS: &str = "SOCKLEAK_TABLE_SLOTS";
const RING_BYTES: &str = "SOCKLEAK_RING_BYTES";

fn asked(variable: &str) -> Option<u32> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How large the kernel program is to be, and whom it looks at.
pub fn settings(options: &Options, host: &Host, pids: &[u32]) -> Settings {
    let live_mode = options.mode.follows_events();
    Settings {
        grace_ns: grace(options.min_age),
        ports: options.filter.kernel_ports(),
        follows: scope::follows(options, pids),
        // Whether a port is used at all shows in any state.
        iter_states: if options.filter.ports.is_empty() {
            ITER_STATES
        } else {
            u32::MAX
        },
        slots: asked(TABLE_SLOTS).unwrap_or_else(|| {
            if live_mode {
                table_size()
            } else {
                tracer_common::table::MIN_SLOTS
            }
        }),
        event_ring_bytes: asked(RING_BYTES).unwrap_or(if live_mode { 4 << 20 } else { 4096 }),
        cgroups: match options.mode {
            Mode::Serve(_) => cgroups_to_count(host),
            _ => 0,
        },
        log_level: if options.verbosity > 1 { 5 } else { 0 },
        ..Settings::default()
    }
}

/// What a report lacks before 5.15.
pub const WITHOUT_STACKS: &str = "this kernel cannot copy user stacks (bpf_task_pt_regs came in 5.15): no function \
                                  can be named";

pub struct Started {
    pub live: Live,
    /// Of a tree that is followed from its beginning.
    pub mappings: Option<io::Result<Mappings>>,
}

/// Loads and attaches, then gives up every privilege that is not needed any more. A tree that is followed from its
/// beginning also has its mappings told, unless that fails.
pub fn start(
    settings: &Settings,
    wanted: &Wanted,
    pids: &[u32],
    mode: &Mode,
) -> anyhow::Result<Started> {
    privilege::raise_memlock_limit();
    let live =
        Live::start(settings, wanted, pids).map_err(|error| explain::explain_start(&error))?;
    // Its one process waits at the gate: nothing of what it will execute is missed.
    let tree = matches!(mode, Mode::Run(_)).then(|| pids.first()).flatten();
    let mappings = tree.map(|root| Mappings::of_tree(*root));
    if let Err(kept) = privilege::drop_privileges(&privilege::needed_after_attach(mode)) {
        tracing::info!("{kept}");
    }
    Ok(Started { live, mappings })
}

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

/// As the report lists it.
pub fn hook(status: &Status) -> Hook {
    let (outcome, reason) = match &status.state {
        State::Attached if status.purpose == Purpose::Loops => {
            (HookStatus::Standby, Some(Hook::IN_WINDOWS.to_owned()))
        }
        State::Attached if status.on_demand => {
            (HookStatus::Standby, Some(Hook::ON_DEMAND.to_owned()))
        }
        State::Degraded { reason } if status.on_demand => {
            let reason = format!("{}; {reason}", Hook::ON_DEMAND);
            (HookStatus::Standby, Some(reason))
        }
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
