//! Suspended tasks of asyncio and virtual threads of Java as threads of control: what each waits for, by the functions of
//! the library in which it does, and which sockets it has.

use super::{java, wait::kind_of};
use crate::{
    model::{
        actor,
        input::{AsyncTask, Process, Thread},
        stack::Frame,
        wait::{FileKind, Target, Wait},
    },
    symbolize::{SuspendedTask, Symbolizer},
};

/// `None` for programs that have neither, or not such whose objects are known.
pub fn read(process: &Process, symbolizer: &mut Symbolizer) -> Option<Vec<AsyncTask>> {
    let found = symbolizer.tasks(process.key())?;
    let stack = |one: &SuspendedTask| found.stacks.get(one.stack as usize);
    let tasks = found
        .tasks
        .iter()
        .filter_map(|one| Some(task(process, one, stack(one)?, found.are_virtual_threads)));
    Some(tasks.collect())
}

fn task(
    process: &Process,
    one: &SuspendedTask,
    stack: &[Frame],
    is_virtual_thread: bool,
) -> AsyncTask {
    let inode = |fd: i32| kind_of(process.pid, process.pid, fd).socket();
    let held = one.holds.iter();
    let (kind, wait) = if is_virtual_thread {
        ("virtual thread", java::wait_of(stack))
    } else {
        ("task", wait_of(stack))
    };
    AsyncTask {
        holds: held
            .filter_map(|(fd, far)| Some((inode(*fd)?, *far)))
            .collect(),
        thread: Thread {
            tid: 0,
            comm: process.comm.clone(),
            state: 'S',
            syscall: None,
            fd: None,
            stack: stack.to_vec(),
            since: None,
            socket: None,
            name: Some(format!("{kind} {}", one.name)),
            wait,
            switches: 0,
            began: 0,
            frames_at: Vec::new(),
            goroutine: None,
            created: None,
            sampled: None,
            task: Some(actor::Task {
                pid: process.pid,
                id: one.id,
                is_virtual_thread,
            }),
        },
    }
}

/// By the end of the file and the last part of the name of a function of the library.
fn wait_of(stack: &[Frame]) -> Wait {
    const UNKNOWN: Target = Target {
        fd: -1,
        file: FileKind::Unknown,
    };
    let waits = stack.iter().find_map(|frame| {
        let file = frame.file.as_deref()?;
        let (_, file) = file.rsplit_once("/asyncio/")?;
        let function = frame.function.as_deref()?.rsplit('.').next()?;
        Some(match (file, function) {
            ("tasks.py", "sleep") => Wait::Sleep,
            ("locks.py", "acquire") => Wait::Lock {
                address: 0,
                owner: None,
            },
            (
                "streams.py",
                "_wait_for_data" | "read" | "readexactly" | "readuntil" | "readline",
            ) => Wait::Receive(UNKNOWN),
            ("streams.py", "_drain_helper" | "drain") => Wait::Send(UNKNOWN),
            _ => return None,
        })
    });
    waits.unwrap_or(Wait::Task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_waits_for_is_told_by_the_functions_of_asyncio() {
        let frame = |file: &str, function: &str| Frame {
            file: Some(file.to_owned()),
            function: Some(function.to_owned()),
            ..Frame::default()
        };
        let own = frame("/srv/app.py", "sleep");
        let library = |file: &str, function| {
            let file = format!("/usr/lib/python3.12/asyncio/{file}");
            wait_of(&[frame(&file, function), own.clone()])
        };
        assert_eq!(library("tasks.py", "sleep"), Wait::Sleep);
        assert!(matches!(
            library("locks.py", "Lock.acquire"),
            Wait::Lock { .. }
        ));
        assert!(matches!(
            library("streams.py", "StreamReader.read"),
            Wait::Receive(_)
        ));
        assert!(matches!(
            library("streams.py", "StreamWriter.drain"),
            Wait::Send(_)
        ));
        assert_eq!(library("queues.py", "Queue.get"), Wait::Task);
        assert_eq!(wait_of(&[own]), Wait::Task);
    }
}
