//! What a process of this program that strangers can talk to gives up: user, capabilities, files, network,
//! system calls; and how to find out what really holds. Knows nothing of what the process is for.

pub(crate) mod process;
pub(crate) mod seccomp;

use std::fs::File;

use caps::CapSet;
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, Scope};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, geteuid, getrlimit, setrlimit,
};

/// The user and group `nobody` that owns nothing; the kernel's own number for "no such user".
const NOBODY: u32 = 65534;

/// Not above what the process was given.
pub(crate) fn limit(limits: &[(Resource, u64)]) -> bool {
    limits.iter().all(|(resource, limit)| {
        let maximum = getrlimit(*resource).maximum;
        let limit = maximum.map_or(*limit, |maximum| maximum.min(*limit));
        let both = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(*resource, both).is_ok()
    })
}

/// Another user without any capability, who cannot be looked into and ends with the process that started
/// this one. True when it holds.
pub(crate) fn become_unprivileged() -> bool {
    let no_new_privs = rustix::thread::set_no_new_privs(true).is_ok();
    let unprivileged = drop_rights() && no_new_privs;
    // Both are reset when the user changes.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    unprivileged && is_unprivileged()
}

/// Makes the list of this process's descriptors its root directory.
pub(crate) fn see_own_descriptors_only() -> rustix::io::Result<()> {
    rustix::process::chdir("/proc/self/fd")?;
    rustix::process::chroot(".")
}

/// The bounding set first, while that is still permitted. Without capabilities it bounds nothing.
fn drop_rights() -> bool {
    let _ = caps::clear(None, CapSet::Bounding);
    let nobody = !geteuid().is_root() || become_nobody().is_ok();
    let sets = [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ];
    let cleared = sets.into_iter().all(|set| caps::clear(None, set).is_ok());
    nobody && cleared
}

fn become_nobody() -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    // There is one thread, so what is set for the thread is set for the process.
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn is_unprivileged() -> bool {
    let none = |set| caps::read(None, set).is_ok_and(|held| held.is_empty());
    !geteuid().is_root() && none(CapSet::Permitted) && none(CapSet::Effective)
}

/// Denies every file, TCP and, where the kernel knows them, signals and abstract sockets.
pub(crate) fn landlock() -> Result<(), RulesetError> {
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?;
    ruleset.create()?.restrict_self()?;
    Ok(())
}

/// Files that everybody may read on every system. What comes of it is closed unread.
pub(crate) fn opens_files() -> bool {
    let known = ["/proc/self/status", "/proc/version", "/etc/passwd"];
    known.iter().any(|path| File::open(path).is_ok())
}

pub(crate) fn opens_for_writing() -> bool {
    File::options().append(true).open("/dev/null").is_ok()
}

pub(crate) fn makes_sockets() -> bool {
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).is_ok()
}
