//! What the blocked threads of a process are at, in a form that shows whether they have moved since.

use std::collections::HashMap;

use procfs::process::{Process as Proc, Task};

const MAX_THREADS: usize = 1024;

/// A thread that is blocked in a system call. A thread that comes back to the same call has been
/// switched to meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// The line of /proc/PID/task/TID/syscall: number, arguments, stack pointer, program counter.
    call: String,
    switches: (u64, u64),
}

impl Moment {
    /// Not in a futex, where threads wait for each other and for work.
    pub(super) fn is_outward(&self) -> bool {
        let number = self.call.split(' ').next().unwrap_or_default();
        number.parse() != Ok(libc::SYS_futex)
    }
}

#[cfg(test)]
impl Moment {
    pub(super) fn new(call: &str, switches: u64) -> Self {
        let call = call.to_owned();
        let switches = (switches, 0);
        Self { call, switches }
    }
}

#[derive(Debug)]
pub(super) struct Seen {
    /// The thread's id in its own pid namespace.
    pub own_tid: u32,
    /// `None` when it was not blocked.
    pub moment: Option<Moment>,
}

/// By thread id as this process sees it.
pub(super) type Moments = HashMap<u32, Seen>;

/// Those that wait for something other than each other.
pub(super) fn waiting(moments: &Moments) -> Vec<u32> {
    let waits = |seen: &Seen| seen.moment.as_ref().is_some_and(Moment::is_outward);
    let waiting = moments.iter().filter(|(_, seen)| waits(seen));
    waiting.map(|(tid, _)| *tid).collect()
}

pub(super) fn of(pid: u32) -> Moments {
    let tasks = Proc::new(pid as i32).and_then(|proc| proc.tasks());
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .take(MAX_THREADS)
        .filter_map(|task| Some((task.tid as u32, seen(pid, &task)?)))
        .collect()
}

fn seen(pid: u32, task: &Task) -> Option<Seen> {
    // Before the count of switches: a thread that moves in between shows in the count.
    let call = std::fs::read_to_string(format!("/proc/{pid}/task/{}/syscall", task.tid));
    let status = task.status().ok()?;
    let own = status.nspid.and_then(|ids| ids.last().copied());
    let switches = status
        .voluntary_ctxt_switches
        .zip(status.nonvoluntary_ctxt_switches);
    // "running" when it is not blocked, "-1 …" outside a system call.
    let call = call
        .ok()
        .filter(|call| call.starts_with(|first: char| first.is_ascii_digit()));
    let moment = call
        .zip(switches)
        .map(|(call, switches)| Moment { call, switches });
    Some(Seen {
        own_tid: own.unwrap_or(task.tid) as u32,
        moment,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_that_went_on_in_the_same_call_has_moved() {
        let (send, receive) = channel::<()>();
        let (tell, told) = channel();
        let waiting = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32)
                .unwrap();
            while receive.recv().is_ok() {}
        });
        let tid = told.recv().unwrap();
        let look = || {
            std::thread::sleep(Duration::from_millis(100));
            let seen = of(std::process::id()).remove(&tid).unwrap();
            assert_eq!(seen.own_tid, tid);
            seen.moment
        };
        let (first, second) = (look(), look());
        assert!(first.is_some() && first == second, "{first:?} {second:?}");
        send.send(()).unwrap();
        let third = look();
        assert!(third.is_some() && first != third, "{first:?} {third:?}");
        drop(send);
        waiting.join().unwrap();
    }
}
