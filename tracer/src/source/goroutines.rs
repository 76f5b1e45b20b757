//! Goroutines as threads of control: what each waits for, by the functions in which it does, and on which thread it
//! is. The numbers by which Go tells a reason mean another one in each release; functions keep their names.

use std::collections::{BTreeMap, BTreeSet};

use super::wait::kind_of;
use crate::{
    model::{
        actor,
        input::{Created, Process, Thread},
        stack::Frame,
        wait::{FileKind, Target, Wait},
    },
    symbolize::{Goroutine, Goroutines, Running, Symbolizer},
};

/// Stacks that are told of one process, those of goroutines that touched stuck sockets first.
const MAX_STACKS: usize = 1024;

/// A thread that stood still, with its thread pointer.
pub type Standing = (u32, u64);

/// Replaces the threads of a Go program by its goroutines and those threads that are not its runtime's; tells
/// whether that is all of them. `None` for other programs, whose threads stay.
pub fn read(
    process: &Process,
    standing: &[Standing],
    asked: &BTreeSet<actor::Goroutine>,
    threads: &mut Vec<Thread>,
    symbolizer: &mut Symbolizer,
) -> Option<bool> {
    let asked: Vec<u64> = asked
        .iter()
        .filter(|goroutine| goroutine.pid == process.pid)
        .map(|goroutine| goroutine.id)
        .collect();
    let found = symbolizer.goroutines(process.key(), standing, &asked)?;
    let mut all = found.all;
    let mut by_id: BTreeMap<u32, Thread> = std::mem::take(threads)
        .into_iter()
        .filter(|thread| !found.idle_threads.contains(&thread.tid))
        .map(|thread| (thread.tid, thread))
        .collect();
    for (number, one) in found.goroutines.iter().enumerate() {
        let on = match one.running {
            Running::OnThread(tid) => by_id.remove(&tid),
            Running::Waits | Running::Moves => None,
        };
        let thread = match on {
            Some(thread) => thread,
            None => waiting(process, &found, one, number < MAX_STACKS),
        };
        all &= number < MAX_STACKS || one.running != Running::Waits;
        threads.push(Thread {
            name: Some(format!("goroutine {}", one.id)),
            goroutine: Some(actor::Goroutine {
                pid: process.pid,
                id: one.id,
            }),
            // Of the thread, on which it may have been for a moment only.
            switches: 0,
            began: 0,
            created: created(&found, one).filter(|_| number < MAX_STACKS),
            ..thread
        });
    }
    // What runs a goroutine that could not be told, or is not Go's.
    threads.extend(by_id.into_values());
    Some(all)
}

fn waiting(process: &Process, found: &Goroutines, one: &Goroutine, with_stack: bool) -> Thread {
    let place = one.stack.filter(|_| with_stack);
    let place = place.and_then(|place| found.stacks.get(place as usize));
    let (stack, frames_at) = place
        .map(|place| (place.frames.clone(), place.frames_at.clone()))
        .unwrap_or_default();
    let wait = match one.running {
        Running::Waits => wait_of(&stack, one.waits_for.map(|fd| target(process.pid, fd))),
        Running::Moves => Wait::Running,
        Running::OnThread(_) => Wait::Unknown,
    };
    let (fd, socket) = (wait.target().map(|target| target.fd), wait.socket());
    Thread {
        tid: 0,
        comm: process.comm.clone(),
        state: if one.running == Running::Moves {
            'R'
        } else {
            'S'
        },
        syscall: None,
        fd: fd.filter(|fd| *fd >= 0),
        stack,
        since: (one.since != 0).then_some(one.since),
        socket,
        name: None,
        wait,
        switches: 0,
        began: 0,
        frames_at,
        goroutine: None,
        created: None,
        sampled: None,
        task: None,
    }
}

fn created(found: &Goroutines, one: &Goroutine) -> Option<Created> {
    let place = found.stacks.get(one.created_in? as usize)?;
    Some(Created {
        by: (one.creator != 0).then_some(one.creator),
        at: place.frames.clone(),
    })
}

/// The first thread's table of files is that of all of them, in a Go program.
fn target(pid: u32, fd: i32) -> Target {
    Target {
        fd,
        file: kind_of(pid, pid, fd),
    }
}

/// `polled` is the file for which the runtime's poller will wake it.
fn wait_of(stack: &[Frame], polled: Option<Target>) -> Wait {
    const UNKNOWN: Target = Target {
        fd: -1,
        file: FileKind::Unknown,
    };
    let names = stack.iter().filter_map(|frame| frame.function.as_deref());
    let polled = polled.unwrap_or(UNKNOWN);
    for name in names {
        let wait = match name {
            "internal/poll.(*FD).Accept" => Wait::Accept(polled),
            "internal/poll.(*FD).WaitWrite" | "net.(*netFD).connect" => Wait::Connect(polled),
            "time.Sleep" => Wait::Sleep,
            "sync.runtime_notifyListWait" => Wait::Condition,
            "sync.runtime_Semacquire" | "sync.runtime_SemacquireWaitGroup" => Wait::Group,
            // `select {}`
            "runtime.block" | "runtime.selectgo" => Wait::Select,
            _ if has(name, "runtime.chansend") => Wait::Channel { sends: true },
            _ if has(name, "runtime.chanrecv") => Wait::Channel { sends: false },
            _ if has(name, "internal/poll.(*FD).Write")
                || has(name, "internal/poll.(*FD).Send") =>
            {
                Wait::Send(polled)
            }
            _ if has(name, "internal/poll.(*FD).Read") => Wait::Receive(polled),
            _ if has(name, "sync.runtime_Semacquire")
                || has(name, "internal/sync.runtime_Semacquire")
                // Two goroutines want to read one connection, or to write it.
                || has(name, "internal/poll.runtime_Semacquire") =>
            {
                Wait::Lock {
                    address: 0,
                    owner: None,
                }
            }
            _ => continue,
        };
        return wait;
    }
    match stack {
        [] => Wait::Unknown,
        _ => Wait::Other,
    }
}

fn has(name: &str, beginning: &str) -> bool {
    name.starts_with(beginning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(functions: &[&str]) -> Wait {
        let frames: Vec<Frame> = functions
            .iter()
            .map(|function| Frame {
                function: Some((*function).to_owned()),
                ..Frame::default()
            })
            .collect();
        let fd = Target {
            fd: 7,
            file: FileKind::Socket(70),
        };
        wait_of(&frames, Some(fd))
    }

    #[test]
    fn what_a_goroutine_waits_for_is_told_by_its_functions() {
        let lock = Wait::Lock {
            address: 0,
            owner: None,
        };
        let park = ["runtime.gopark", "runtime.semacquire1"];
        for take in [
            "sync.runtime_SemacquireMutex",
            "sync.runtime_SemacquireRWMutexR",
            "internal/sync.runtime_SemacquireMutex",
            "internal/poll.runtime_Semacquire",
        ] {
            assert_eq!(wait(&[park[0], park[1], take, "main.f"]), lock, "{take}");
        }
        for group in [
            "sync.runtime_Semacquire",
            "sync.runtime_SemacquireWaitGroup",
        ] {
            assert_eq!(wait(&[park[0], park[1], group]), Wait::Group);
        }
        let poll = "internal/poll.runtime_pollWait";
        let read = wait(&[
            park[0],
            poll,
            "internal/poll.(*FD).Read",
            "net.(*conn).Read",
        ]);
        assert_eq!(read.socket(), Some(70));
        assert!(matches!(read, Wait::Receive(_)));
        let accept = wait(&[park[0], poll, "internal/poll.(*FD).Accept"]);
        assert!(matches!(accept, Wait::Accept(_)));
        assert_eq!(
            wait(&[park[0], "runtime.chansend", "runtime.chansend1"]),
            Wait::Channel { sends: true }
        );
        assert_eq!(wait(&[park[0], "runtime.selectgo"]), Wait::Select);
        assert_eq!(wait(&[park[0], "main.waits"]), Wait::Other);
        assert_eq!(wait(&[]), Wait::Unknown);
    }
}
