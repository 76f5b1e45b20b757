//! Signals that we got and CMD is to get.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, getpid, kill_process};

/// It may have ended a moment ago, which is no news: who waits for it will tell.
pub(super) fn pass_on(pid: Pid, number: i32) {
    if let Some(signal) = Signal::from_named_raw(number) {
        let _ = kill_process(pid, signal);
        return;
    }
    // Real-time signals have no name, and sending them by number is not safe to the compiler. They are rare
    // enough for a shell.
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -\"$1\" \"$2\"", "sh", &number.to_string()])
        .arg(pid.as_raw_nonzero().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// CMD is stopped. So are we, or the shell would wait for us; it lets both go on.
pub(super) fn stop_too() {
    let _ = kill_process(getpid(), Signal::STOP);
}
