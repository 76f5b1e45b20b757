//! As whom CMD runs: under `sudo sockleak run` as the user who asked, otherwise as whoever we are.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::iter;

use nix::unistd::{Gid, Uid};
use procfs::process::{Process, Status};

/// The user who called sudo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    uid: u32,
    gid: u32,
}

impl Identity {
    /// From what sudo left in the environment; `None` where CMD keeps our own identity.
    pub(super) fn behind_sudo() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let number = |name: &str| env::var(name).ok()?.parse().ok();
        Self::of(number("SUDO_UID")?, number("SUDO_GID")?)
    }

    /// Root that was root before has nobody to go back to.
    fn of(uid: u32, gid: u32) -> Option<Self> {
        (uid != 0).then_some(Self { uid, gid })
    }

    pub(super) fn to_argument(this: Option<Self>) -> String {
        this.map_or_else(
            || "-".to_owned(),
            |identity| format!("{}:{}", identity.uid, identity.gid),
        )
    }

    pub(super) fn from_argument(text: &OsStr) -> Option<Self> {
        let (uid, gid) = text.to_str()?.split_once(':')?;
        Self::of(uid.parse().ok()?, gid.parse().ok()?)
    }

    /// For good, supplementary groups included. The user last: it takes the right to the rest along.
    pub(super) fn assume(self) -> io::Result<()> {
        let mut groups = self.groups_of_session().unwrap_or_else(groups_by_file);
        groups.push(self.gid);
        groups.sort_unstable();
        groups.dedup();
        let groups: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
        nix::unistd::setgroups(&groups)?;
        nix::unistd::setgid(Gid::from_raw(self.gid))?;
        nix::unistd::setuid(Uid::from_raw(self.uid))?;
        Ok(())
    }

    /// Those that the user had before sudo: of the nearest process above us that is theirs. A static program can ask no
    /// name service, and what LDAP says of a user is in no file.
    fn groups_of_session(self) -> Option<Vec<u32>> {
        let status = |pid: i32| Process::new(pid).ok()?.status().ok();
        let parent = |child: &Status| status(child.ppid);
        let own = Process::myself().ok()?.status().ok();
        // sudo itself still has the user's real id, and the groups of root.
        let theirs = |process: &Status| {
            let ids = [process.ruid, process.euid, process.suid, process.fuid];
            ids.iter().all(|id| *id == self.uid)
        };
        Some(iter::successors(own, parent).find(theirs)?.groups)
    }
}

/// Where sudo's caller has ended.
fn groups_by_file() -> Vec<u32> {
    let user = env::var("SUDO_USER").unwrap_or_default();
    groups_with(&user, &fs::read_to_string("/etc/group").unwrap_or_default())
}

/// By lines of `group(5)`.
fn groups_with(user: &str, file: &str) -> Vec<u32> {
    let group = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        let members = fields.next()?;
        let is_member = members.split(',').any(|name| name == user);
        (is_member && !user.is_empty()).then_some(gid)
    };
    file.lines().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_the_command_line() {
        let asked = Identity::of(1000, 100);
        assert!(asked.is_some());
        let argument = Identity::to_argument(asked);
        assert_eq!(Identity::from_argument(argument.as_ref()), asked);
        assert_eq!(Identity::to_argument(None), "-");
        assert_eq!(Identity::from_argument("-".as_ref()), None);
    }

    #[test]
    fn groups_are_those_of_the_session_or_the_file() {
        let status = Process::myself().unwrap().status().unwrap();
        let us = Identity {
            uid: status.ruid,
            gid: 0,
        };
        assert_eq!(us.groups_of_session(), Some(status.groups));
        let nobody = Identity {
            uid: u32::MAX - 1,
            gid: 0,
        };
        assert_eq!(nobody.groups_of_session(), None);

        let file = "root:x:0:\ndocker:x:998:jo,ann\nbroken\nadm:x:4:ann\nann:x:1000:\n";
        assert_eq!(groups_with("ann", file), [998, 4]);
        assert!(groups_with("an", file).is_empty());
        assert!(groups_with("", file).is_empty());
    }

    #[test]
    fn root_goes_back_to_nobody() {
        assert_eq!(Identity::of(0, 0), None);
        assert_eq!(Identity::from_argument("0:0".as_ref()), None);
    }
}
