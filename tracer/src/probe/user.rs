//! Lets a thread of its own act as the user of a traced process, so that what it does in that user's
//! places can go no further than what the user could do there alone.

use caps::{CapSet, Capability};
use rustix::{
    process::{Gid, Uid},
    thread,
};

#[derive(Debug, thiserror::Error)]
#[error("this process may not act as another user")]
pub struct NotAllowed;

/// Makes the calling thread act as this user, without any capability. Only that thread, and for good:
/// call it in one that ends soon. Its real and saved ids stay, so that the user can neither signal nor
/// trace it (`kernel/signal.c:kill_ok_by_cred`, `kernel/ptrace.c:__ptrace_may_access`).
pub fn act_as(uid: u32, gid: u32) -> Result<(), NotAllowed> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let is_other = rustix::process::geteuid() != uid || rustix::process::getegid() != gid;
    if is_other || caps::has_cap(None, CapSet::Permitted, Capability::CAP_SETGID).unwrap_or(false) {
        become_user(uid, gid)?;
    }
    caps::clear(None, CapSet::Effective).map_err(|_| NotAllowed)
}

fn become_user(uid: Uid, gid: Gid) -> Result<(), NotAllowed> {
    // Since the hooks were attached, both are permitted and not in effect.
    for capability in [Capability::CAP_SETGID, Capability::CAP_SETUID] {
        caps::raise(None, CapSet::Effective, capability).map_err(|_| NotAllowed)?;
    }
    // The user last: it takes the right to change the groups along.
    thread::set_thread_groups(&[]).map_err(|_| NotAllowed)?;
    thread::set_thread_res_gid(None, gid, None).map_err(|_| NotAllowed)?;
    thread::set_thread_res_uid(None, uid, None).map_err(|_| NotAllowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_alone_acts_as_the_user_and_without_capabilities() {
        let root = rustix::process::geteuid().is_root();
        let acting = std::thread::spawn(move || {
            let acted = act_as(65534, 65534);
            if !root {
                assert!(acted.is_err());
                return;
            }
            acted.unwrap();
            assert_eq!(rustix::process::geteuid().as_raw(), 65534);
            assert_eq!(rustix::process::getegid().as_raw(), 65534);
            assert!(rustix::process::getuid().is_root());
            assert!(caps::read(None, CapSet::Effective).unwrap().is_empty());
            assert!(std::fs::read("/etc/shadow").is_err());
        });
        acting.join().unwrap();
        assert_eq!(rustix::process::geteuid().is_root(), root);
    }
}
