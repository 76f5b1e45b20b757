//! Gives up everything that the helper does not need, before it reads the first request, and finds
//! out by trying what really holds. Knows nothing of requests.

use std::fs::{self, File};

use caps::CapSet;
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, Scope};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, geteuid, getrlimit, setrlimit,
};

use super::{MAX_MEMORY, seccomp};
use crate::symbolize::message::SandboxLayer;
use crate::symbolize::names::MAX_COPY;

/// The user and group `nobody` that owns nothing; the kernel's own number for "no such user".
const NOBODY: u32 = 65534;
/// 256 files, their debug files, copies of 64 symbol tables, and some in between.
const MAX_DESCRIPTORS: u64 = 1024;

/// What could not be had.
pub(super) fn confine() -> Vec<SandboxLayer> {
    // When memory runs out, this process is to go, not the tracer or what it watches.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let bounded = bound();
    // Only who started as root can; landlock does more, where there is one.
    let _ = see_own_descriptors_only();
    let no_new_privs = rustix::thread::set_no_new_privs(true).is_ok();
    let unprivileged = drop_rights() && no_new_privs;
    // Both are reset when the user changes.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let unprivileged = unprivileged && is_unprivileged();
    let _ = landlock();
    let filtered = seccomp::apply();
    [
        (SandboxLayer::User, unprivileged),
        (SandboxLayer::Files, !opens_files()),
        (
            SandboxLayer::Seccomp,
            filtered && !makes_sockets() && !opens_for_writing(),
        ),
        (SandboxLayer::Limits, bounded),
    ]
    .into_iter()
    .filter(|(_, holds)| !holds)
    .map(|(wall, _)| wall)
    .collect()
}

/// The time is bounded by the tracer, which waits only so long.
fn bound() -> bool {
    let limits = [
        (Resource::As, MAX_MEMORY),
        // Copies of symbol tables are files in memory.
        (Resource::Fsize, MAX_COPY),
        (Resource::Nofile, MAX_DESCRIPTORS),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ];
    limits.into_iter().all(|(resource, limit)| {
        let maximum = getrlimit(resource).maximum;
        let limit = maximum.map_or(limit, |maximum| maximum.min(limit));
        let both = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, both).is_ok()
    })
}

/// Makes the list of this process's descriptors its root directory.
fn see_own_descriptors_only() -> rustix::io::Result<()> {
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
fn landlock() -> Result<(), RulesetError> {
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?;
    ruleset.create()?.restrict_self()?;
    Ok(())
}

/// Files that everybody may read on every system. What comes of it is closed unread.
fn opens_files() -> bool {
    let known = ["/proc/self/status", "/proc/version", "/etc/passwd"];
    known.iter().any(|path| File::open(path).is_ok())
}

fn opens_for_writing() -> bool {
    File::options().append(true).open("/dev/null").is_ok()
}

fn makes_sockets() -> bool {
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).is_ok()
}
