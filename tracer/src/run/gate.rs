//! The process that becomes CMD: waits until the tracer follows it, then executes CMD in its own place.
//! It adds nothing to what CMD inherits: no descriptor, no variable, no signal disposition.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::identity::Identity;
use crate::exit;

/// Not for users, and unknown to every other program that might stand here in its place.
pub(super) const ARGUMENT: &str = "--internal-run-gate";

/// What the gate could not do, sent back in place of CMD.
pub(super) const NOT_EXECUTED: u8 = 0;
pub(super) const NOT_THAT_USER: u8 = 1;

/// Waits and becomes CMD, when that is what this process was started for.
pub fn serve_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        return None;
    }
    let identity = arguments.next().unwrap_or_default();
    let command: Vec<OsString> = arguments.collect();
    // Nobody is left to tell: the parent is gone.
    Some(pass(&identity, &command).unwrap_or(ExitCode::FAILURE))
}

fn pass(identity: &OsStr, command: &[OsString]) -> io::Result<ExitCode> {
    // Duplicated with close-on-exec: when CMD runs, the parent sees the end of it.
    let parent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some(stdin) = wait(&parent)? else {
        return Ok(ExitCode::FAILURE);
    };
    rustix::stdio::dup2_stdin(&stdin)?;
    drop(stdin);
    if let Some(identity) = Identity::from_argument(identity)
        && let Err(error) = identity.assume()
    {
        return failed(&parent, NOT_THAT_USER, error.raw_os_error());
    }
    let Some((program, arguments)) = command.split_first() else {
        return failed(&parent, NOT_EXECUTED, Some(libc::ENOENT));
    };
    let error = Command::new(program).args(arguments).exec();
    failed(&parent, NOT_EXECUTED, error.raw_os_error())
}

/// CMD's stdin, which comes with the word to go; `None` when the parent ended without it.
fn wait(parent: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        parent,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Ok(files.last())
}

fn failed(mut parent: &UnixStream, what: u8, errno: Option<i32>) -> io::Result<ExitCode> {
    let errno = errno.unwrap_or_default();
    let mut message = vec![what];
    message.extend(errno.to_le_bytes());
    parent.write_all(&message)?;
    Ok(exit::not_executed(errno).into())
}
