//! May this process trace, and if not, what is missing? Afterwards: give up what is no longer needed.

use std::{collections::HashSet, fs};

use caps::{CapSet, Capability, errors::CapsError};

use super::{
    caps::{FEATURES, Held, RECOMMENDED, names, setcap, stand_in},
    host::{Host, Lockdown},
};
use crate::{exit::Explained, options::Mode};

/// Everything that is known to make the tracer fail, found before it is tried.
pub fn check_required(mode: &Mode, host: &Host) -> Result<(), Explained> {
    match mode {
        Mode::Replay(_) | Mode::Doctor | Mode::Explain(_) => Ok(()),
        Mode::Watch | Mode::Snapshot | Mode::Trace | Mode::Run(_) | Mode::Serve(_) => {
            check(host, &Held::now(), rustix::process::geteuid().is_root())
        }
    }
}

/// Are the capabilities that every tracer needs in effect?
pub fn may_trace() -> bool {
    let held = Held::now();
    FEATURES
        .iter()
        .filter(|feature| feature.required)
        .all(|feature| held.missing(feature).is_empty())
}

/// What privilege would help against comes last: without the rest it helps nothing.
pub fn check(host: &Host, held: &Held, root: bool) -> Result<(), Explained> {
    if !host.btf {
        return Err(no_btf());
    }
    if host.lockdown == Lockdown::Confidentiality {
        return Err(Explained::new(
            "this kernel refuses every tracing program",
            "kernel lockdown is at `confidentiality`: BPF programs may not read kernel memory, not \
             even for root",
            "boot with lockdown=integrity or lower (often tied to Secure Boot), or trace on another host",
        ));
    }
    let missing: Vec<Capability> = FEATURES
        .iter()
        .filter(|feature| feature.required)
        .flat_map(|feature| held.missing(feature))
        .collect();
    if !missing.is_empty() {
        return Err(lacking(&missing, root));
    }
    if host.in_user_namespace {
        return Err(Explained::new(
            "this process may not load programs into the kernel",
            "it runs in a user namespace (rootless container, `unshare -U`): its capabilities do not \
             count outside",
            "run it on the host with sudo, or in a container without user namespace",
        ));
    }
    Ok(())
}

pub(super) fn no_btf() -> Explained {
    Explained::new(
        "this kernel does not describe its own structures (no /sys/kernel/btf/vmlinux)",
        "it was built without CONFIG_DEBUG_INFO_BTF=y, or /sys is not mounted here",
        "boot a distribution kernel from 5.10 on, or build yours with CONFIG_DEBUG_INFO_BTF=y",
    )
}

pub(super) fn lacking(missing: &[Capability], root: bool) -> Explained {
    let what = format!("tracing needs {}, which this process lacks", names(missing));
    if root {
        return Explained::new(
            what,
            "it runs as root, but with reduced capabilities: a container or a service with a bounding set",
            format!(
                "add them where it is started: docker run --cap-add=…, or systemd's \
                 CapabilityBoundingSet= and AmbientCapabilities= ({})",
                names(missing)
            ),
        );
    }
    let program = std::env::current_exe().map_or_else(
        |_| "/path/to/sockleak".to_owned(),
        |path| path.display().to_string(),
    );
    Explained::new(
        what,
        "it was not started as root",
        format!(
            "run it with sudo, or once: sudo setcap {} {program}",
            setcap(RECOMMENDED)
        ),
    )
}

/// In how far the report will know less than it could, for the lack of privilege. For its warnings.
pub fn optional_losses(host: &Host) -> Vec<String> {
    losses(host, &Held::now())
}

fn losses(host: &Host, held: &Held) -> Vec<String> {
    let mut losses = held.losses();
    if host.in_pid_namespace {
        losses.push(
            "runs in a pid namespace (container): processes outside of it are not seen, nor who of them \
             holds a socket; run on the host or with --pid=host to see them"
                .to_owned(),
        );
    }
    if host.ptrace_scope == Some(3) {
        losses.push(
            "kernel.yama.ptrace_scope=3 forbids looking into processes: nothing tells what threads that \
             hold a socket are waiting for"
                .to_owned(),
        );
    }
    losses
}

/// Kernels before 5.11 charge maps to `RLIMIT_MEMLOCK`, whose default is far too small for them
/// (`bpf_charge_memlock` in kernel/bpf/syscall.c). Best effort: the load itself tells.
pub fn raise_memlock_limit() {
    let unlimited = rustix::process::Rlimit {
        current: None,
        maximum: None,
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited);
}

/// What the running tracer still needs once its hooks are attached. Reports of `trace` come from the
/// ring alone; `CAP_BPF` lets kernels before 5.19 read maps (`__sys_bpf` in kernel/bpf/syscall.c).
pub fn needed_after_attach(mode: &Mode) -> Vec<Capability> {
    match mode {
        Mode::Watch | Mode::Snapshot | Mode::Run(_) | Mode::Serve(_) => {
            let mut needs: Vec<Capability> = FEATURES
                .iter()
                .flat_map(|feature| feature.needs)
                .copied()
                .collect();
            needs.sort_unstable_by_key(Capability::index);
            needs.dedup();
            needs
        }
        Mode::Trace => vec![Capability::CAP_BPF],
        Mode::Replay(_) | Mode::Doctor | Mode::Explain(_) => Vec::new(),
    }
}

/// What the helper process that reads program files gives up by: it becomes another user, leaves the
/// file system, and empties its bounding set. Not effective in the tracer; a root tracer's helper is started with them, and
/// threads that act as another user have the first two in effect for that moment (`user`).
const FOR_THE_HELPER: [Capability; 4] = [
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SYS_CHROOT,
];

/// Gives up every capability but `keep`, for good: neither it nor a program it starts gets one back.
/// Files that need privilege to open must be open by now. Capabilities belong to threads: call it
/// while there is only one, as the others would keep theirs.
pub fn drop_privileges(keep: &[Capability]) -> Result<(), Explained> {
    let kept = |cause: String| {
        Explained::new(
            "capabilities that are no longer needed could not be given up",
            cause,
            "tracing goes on; with less privilege to begin with (setcap instead of sudo) there is less to \
             give up",
        )
    };
    restrict_this_thread(keep).map_err(|error| kept(error.to_string()))?;
    match fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(threads) if threads > 1 => Err(kept(format!("{threads} threads were running already"))),
        _ => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
enum DropError {
    #[error("the kernel refuses to give up capabilities: {0}")]
    Caps(#[from] CapsError),
    #[error("the kernel refuses no_new_privs: {0}")]
    NoNewPrivs(#[from] rustix::io::Errno),
}

/// Effective before permitted: the kernel wants the former within the latter at any time.
fn restrict_this_thread(keep: &[Capability]) -> Result<(), DropError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let keep: HashSet<Capability> = keep
        .iter()
        .filter_map(|wanted| narrowest(*wanted, &permitted))
        .collect();
    let helper = FOR_THE_HELPER.into_iter().collect();
    let in_reserve = permitted.intersection(&helper).copied();
    // Without root, the helper has nothing to give up; without looking into processes, none is
    // started.
    let root = rustix::process::geteuid().is_root();
    let starts_one = root && keep.contains(&Capability::CAP_SYS_PTRACE);
    let kept = keep
        .iter()
        .copied()
        .chain(in_reserve.filter(|_| starts_one));
    let kept: HashSet<Capability> = kept.collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &keep)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// What this process has for the purpose: the capability itself, or else its stand-in.
fn narrowest(wanted: Capability, permitted: &HashSet<Capability>) -> Option<Capability> {
    [Some(wanted), stand_in(wanted)]
        .into_iter()
        .flatten()
        .find(|capability| permitted.contains(capability))
}

#[cfg(test)]
mod tests {
    use Capability::{CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE};

    use super::*;

    fn host() -> Host {
        Host {
            btf: true,
            lockdown: Lockdown::Integrity,
            in_user_namespace: false,
            in_pid_namespace: false,
            ptrace_scope: None,
            ..Host::probe()
        }
    }

    fn holding(capabilities: &[Capability]) -> Held {
        capabilities.iter().copied().collect()
    }

    fn refusal(host: &Host, capabilities: &[Capability], root: bool) -> String {
        check(host, &holding(capabilities), root)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_else() {
        assert_eq!(
            check(&host(), &holding(&[CAP_BPF, CAP_PERFMON]), false),
            Ok(())
        );
        assert_eq!(check(&host(), &holding(&[CAP_SYS_ADMIN]), true), Ok(()));
        let nobody = refusal(&host(), &[], false);
        assert!(
            nobody.starts_with("tracing needs CAP_BPF and CAP_PERFMON, which this process lacks\n"),
            "{nobody}"
        );
        assert!(nobody.contains("run it with sudo, or once: sudo setcap cap_bpf,cap_perfmon,"));
        let container = refusal(&host(), &[CAP_PERFMON, CAP_SYS_PTRACE], true);
        assert!(container.contains("needs CAP_BPF, which"), "{container}");
        assert!(
            !container.contains("PERFMON") && !container.contains("sudo"),
            "{container}"
        );
    }

    #[test]
    fn what_no_privilege_helps_against_is_told_first() {
        let blind = Host {
            btf: false,
            ..host()
        };
        assert!(refusal(&blind, &[], false).contains("CONFIG_DEBUG_INFO_BTF=y"));
        let locked = Host {
            lockdown: Lockdown::Confidentiality,
            ..host()
        };
        assert!(refusal(&locked, &[], false).contains("lockdown"));
        let rootless = Host {
            in_user_namespace: true,
            ..host()
        };
        assert!(refusal(&rootless, &[CAP_SYS_ADMIN], true).contains("user namespace"));
        assert!(check_required(&Mode::Replay("f".into()), &blind).is_ok());
    }

    #[test]
    fn a_report_says_what_it_cannot_see() {
        let all: Vec<Capability> = needed_after_attach(&Mode::Watch);
        assert!(losses(&host(), &holding(&all)).is_empty());
        let inside = Host {
            in_pid_namespace: true,
            ptrace_scope: Some(3),
            ..host()
        };
        let told = losses(&inside, &holding(&all));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|loss| loss.contains("--pid=host")));
    }

    #[test]
    fn only_without_the_capability_itself_its_stand_in_is_kept() {
        let both = HashSet::from([CAP_BPF, CAP_SYS_ADMIN]);
        assert_eq!(narrowest(CAP_BPF, &both), Some(CAP_BPF));
        let wide = HashSet::from([CAP_SYS_ADMIN]);
        assert_eq!(narrowest(CAP_BPF, &wide), Some(CAP_SYS_ADMIN));
        assert_eq!(narrowest(CAP_SYS_PTRACE, &wide), None);
    }

    #[test]
    fn a_restricted_thread_uses_no_more_than_it_keeps() {
        let restricted = std::thread::spawn(|| {
            restrict_this_thread(&[CAP_BPF, CAP_SYS_PTRACE]).unwrap();
            let kept = [CAP_BPF, CAP_SYS_PTRACE];
            let left = caps::read(None, CapSet::Permitted).unwrap();
            assert!(
                left.iter()
                    .all(|capability| kept.contains(capability)
                        || FOR_THE_HELPER.contains(capability)),
                "{left:?}"
            );
            let effective = caps::read(None, CapSet::Effective).unwrap();
            assert!(
                effective.iter().all(|capability| kept.contains(capability)),
                "{effective:?}"
            );
            assert!(caps::read(None, CapSet::Inheritable).unwrap().is_empty());
            assert!(rustix::thread::no_new_privs().unwrap());
            caps::raise(None, CapSet::Permitted, CAP_PERFMON).unwrap_err();
        });
        restricted.join().unwrap();
    }
}
