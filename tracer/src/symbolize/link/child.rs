//! The helper as a process: started from this very program, ended and reaped without waiting for
//! long.

use std::io;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::fd::OwnedFd;

use super::Peer;
use crate::confine::process::start_program;
use crate::symbolize::helper::ARGUMENT;

/// A killed process that reads from a file system that does not answer ends when that answers.
const REAP: Duration = Duration::from_millis(200);

pub(super) struct Helper(Child);

pub(super) fn start(program: &Path, socket: OwnedFd) -> io::Result<Helper> {
    start_program(program, "sockleak-helper", ARGUMENT, socket).map(Helper)
}

impl Peer for Helper {
    fn id(&self) -> Option<u32> {
        Some(self.0.id())
    }

    fn spent(&self) -> Duration {
        let pid = i32::try_from(self.0.id()).ok();
        let stat = pid.and_then(|pid| Process::new(pid).and_then(|process| process.stat()).ok());
        let ticks = stat.map_or(0, |stat| stat.utime + stat.stime);
        Duration::from_millis(ticks * 1000 / procfs::ticks_per_second().max(1))
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
