//! What a user can do about a hook that is not attached as wished.

use caps::Capability;

use crate::probe::{
    caps::Held,
    hooks::{Hook, Kind, Purpose},
    host::Host,
    status::State,
};

const TRAMPOLINES: &str = "fexit needs Linux 5.17 or newer with CONFIG_FUNCTION_TRACER=y and \
     CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y; most distribution kernels have them";

pub(super) fn of(
    hook: &Hook,
    state: &State,
    host: &Host,
    held: &Held,
    root: bool,
) -> Option<String> {
    match (state, hook.kind) {
        (State::Attached, _) => None,
        (State::Degraded { .. }, Kind::Syscall) => Some(format!(
            "{TRAMPOLINES}; --accept-hook none does without accept sites and without their cost"
        )),
        (State::Degraded { .. }, Kind::Fexit | Kind::TpBtf) => {
            Some("Linux 6.3 or newer".to_owned())
        }
        (State::Unavailable { .. }, Kind::Fexit) => Some(TRAMPOLINES.to_owned()),
        (State::Unavailable { .. }, Kind::Syscall) => Some(tracepoint(host, held, root)),
        (State::Unavailable { .. }, Kind::TpBtf) => Some(match hook.purpose {
            Purpose::Reads | Purpose::Writes => "Linux 6.3 or newer".to_owned(),
            _ => "a distribution kernel from 5.10 on".to_owned(),
        }),
    }
}

fn tracepoint(host: &Host, held: &Held, root: bool) -> String {
    let paranoid = host.perf_event_paranoid.is_some_and(|level| level > 2);
    if host.tracefs.is_none() {
        "mount -t tracefs tracefs /sys/kernel/tracing".to_owned()
    } else if !root && !held.has(Capability::CAP_DAC_READ_SEARCH) {
        "run it with sudo, or add cap_dac_read_search: the folder of tracefs is root's".to_owned()
    } else if paranoid && !held.has(Capability::CAP_SYS_ADMIN) {
        // Debian and Ubuntu kernels refuse perf_event_open() there whatever CAP_PERFMON says.
        "sysctl kernel.perf_event_paranoid=2, or run it with sudo".to_owned()
    } else {
        "a kernel with CONFIG_FTRACE_SYSCALLS=y".to_owned()
    }
}
