//! The helper as a process: started from this very program, ended and reaped without waiting for
//! long.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;

use super::Peer;
use crate::symbolize::helper::ARGUMENT;

/// A killed process that reads from a file system that does not answer ends when that answers.
const REAP: Duration = Duration::from_millis(200);

pub(super) struct Helper(Child);

/// `program` is `/proc/self/exe`: the file that runs, whatever has its path by now.
pub(super) fn start(program: &Path, socket: OwnedFd) -> io::Result<Helper> {
    // Ours are closed on exec anyway; a shell or a service may have left us others.
    close_fds::set_fds_cloexec(3, &[]);
    let child = Command::new(program)
        .arg0("sockleak-helper")
        .arg(ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C at the terminal is for the tracer, which still has stacks to name.
        .process_group(0)
        .spawn()?;
    Ok(Helper(child))
}

impl Peer for Helper {
    fn id(&self) -> Option<u32> {
        Some(self.0.id())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().map_or(true, |status| status.is_some())
    }

    fn end(&mut self) {
        // Ended already is fine.
        let _ = self.0.kill();
        let until = Instant::now() + REAP;
        while !self.has_ended() && Instant::now() < until {
            sleep(Duration::from_millis(1));
        }
    }
}
