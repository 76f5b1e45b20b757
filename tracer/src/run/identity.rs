//! As whom CMD runs: under `sudo sockleak run` as the user who asked, otherwise as whoever we are.

use std::env;
use std::ffi::{CString, OsStr};
use std::io;

use nix::unistd::{Gid, Uid, User};

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
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        match User::from_uid(uid)? {
            Some(user) => nix::unistd::initgroups(&CString::new(user.name)?, gid)?,
            None => nix::unistd::setgroups(&[gid])?,
        }
        nix::unistd::setgid(gid)?;
        nix::unistd::setuid(uid)?;
        Ok(())
    }
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
    fn root_goes_back_to_nobody() {
        assert_eq!(Identity::of(0, 0), None);
        assert_eq!(Identity::from_argument("0:0".as_ref()), None);
    }
}
