//! What a user can do about a hook that is not attached as wished.

use caps::Capability;

use crate::probe::{
    caps::Held,
    hooks::{Hook, Kind, Purpose},
    host::Host,
    status::State,
    tracefs::Absence,
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
    match host.tracefs {
        Err(Absence::NotAllowed) if root => {
            "add cap_sys_admin where it is started, or mount tracefs (mount -t tracefs tracefs \
             /sys/kernel/tracing)"
        }
        Err(Absence::NotAllowed) => {
            "run it with sudo, or mount tracefs and add cap_dac_read_search"
        }
        Err(Absence::NotOffered) => {
            "mount -t tracefs tracefs /sys/kernel/tracing, or a kernel with CONFIG_FTRACE=y"
        }
        // Debian and Ubuntu kernels refuse perf_event_open() there whatever CAP_PERFMON says.
        Ok(_) if paranoid && !held.has(Capability::CAP_SYS_ADMIN) => {
            "sysctl kernel.perf_event_paranoid=2, or run it with sudo"
        }
        Ok(_) => "a kernel with CONFIG_FTRACE_SYSCALLS=y",
    }
    .to_owned()
}
