//! CMD as seen by its parent: started at the gate, let go, signalled, waited for.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Pid;

use crate::exit::{self, Explained};
use crate::model::untrusted::Untrusted;

use super::gate::{self, NOT_THAT_USER};
use super::identity::Identity;

pub(super) struct Child {
    pub(super) pid: Pid,
    gate: UnixStream,
}

/// Why CMD does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotStarted {
    #[error("{0}")]
    Exec(io::Error),
    #[error("{0}")]
    User(io::Error),
}

impl Child {
    /// Starts the gate, with everything that CMD is to inherit.
    pub(super) fn at_gate(
        command: &[OsString],
        identity: Option<Identity>,
        variable: Option<(&str, &OsStr)>,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg0("sockleak-gate")
            .arg(gate::ARGUMENT)
            .arg(Identity::to_argument(identity))
            .args(command)
            .envs(variable)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Self { pid, gate: ours })
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Lets CMD begin. Returns when it has begun, or cannot.
    pub(super) fn let_go(&mut self) -> io::Result<Result<(), NotStarted>> {
        let stdin = io::stdin();
        let fds = [stdin.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(
            &self.gate,
            &[IoSlice::new(&[1])],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        let mut answer = Vec::new();
        // The end of it comes with the execution of CMD, or with the gate's own end.
        self.gate.read_to_end(&mut answer)?;
        let Some((what, errno)) = answer.split_first() else {
            return Ok(Ok(()));
        };
        let errno = errno.try_into().map_or(0, i32::from_le_bytes);
        let error = io::Error::from_raw_os_error(errno);
        Ok(Err(match *what {
            NOT_THAT_USER => NotStarted::User(error),
            _ => NotStarted::Exec(error),
        }))
    }
}

impl NotStarted {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Exec(error) => exit::not_executed(error.raw_os_error().unwrap_or_default()),
            Self::User(_) => exit::FAILED,
        }
    }

    pub(super) fn explained(&self, program: Option<&OsString>) -> Explained {
        let program = program.map_or(&[][..], |program| program.as_encoded_bytes());
        let program = Untrusted::from_bytes(program);
        let (error, cause, fix) = match self {
            Self::User(error) => (
                error,
                "CMD should run as the user who called sudo, and the system refuses that",
                "run `sockleak run` without sudo: it asks for sudo itself, for the tracer alone",
            ),
            Self::Exec(error) if self.code() == exit::NOT_FOUND => (
                error,
                "there is no such program in PATH, or the interpreter it names is missing",
                "check the name, and PATH",
            ),
            Self::Exec(error) => (
                error,
                "it is no program, or its permissions do not allow to execute it",
                "check the file and its permissions",
            ),
        };
        Explained::new(format!("cannot execute {program}: {error}"), cause, fix)
    }
}
