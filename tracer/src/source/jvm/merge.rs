//! Joins what a virtual machine says of its threads with what was read of them from outside. Pure.

use std::collections::HashMap;

use super::dump::{Dump, JavaThread};
use super::moments::{Moment, Moments};
use crate::model::input::Thread;
use crate::model::stack::{Frame, FrameAddress};

/// The kernel's own page of code, which is native though no file.
const VDSO: &str = "[vdso]";

/// A thread of the dump, and the moment for which its frames are true.
#[derive(Debug)]
pub(super) struct Named {
    thread: JavaThread,
    moment: Option<Moment>,
}

/// All that a machine said of its threads, by thread id as this process sees it.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<u32, Named>);

impl Names {
    /// `before` was seen before the threads' own stacks were read and the dump was made.
    pub(super) fn of(mut dump: Dump, before: Moments) -> Self {
        let named = before.into_iter().filter_map(|(tid, seen)| {
            let thread = dump.remove(&seen.own_tid)?;
            let moment = seen.moment;
            Some((tid, Named { thread, moment }))
        });
        Self(named.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn waiting(&self) -> Vec<u32> {
        let waits = |named: &Named| named.moment.as_ref().is_some_and(Moment::is_outward);
        let waiting = self.0.iter().filter(|(_, named)| waits(named));
        waiting.map(|(tid, _)| *tid).collect()
    }

    /// Names all; frames are given to those threads only that have not moved from `before` until `now`.
    pub(super) fn give(&self, now: &Moments, threads: &mut [Thread]) {
        for thread in threads {
            let Some(named) = self.0.get(&thread.tid) else {
                continue;
            };
            if !named.thread.name.is_empty() {
                thread.name = Some(named.thread.name.clone());
            }
            let moment = now.get(&thread.tid).and_then(|seen| seen.moment.as_ref());
            let unmoved = moment.is_some() && moment == named.moment.as_ref();
            if unmoved && thread.syscall.is_some() && !named.thread.frames.is_empty() {
                let stack = std::mem::take(&mut thread.stack);
                thread.stack = joined(stack, &named.thread.frames);
                let java = thread.stack.len() - named.thread.frames.len();
                let native = |place: &FrameAddress| (place.frame as usize) < java;
                thread.frames_at.retain(native);
            }
        }
    }
}

/// The native frames down to the first one of made code, which only the machine can name, and then
/// its names for all that is further out.
fn joined(native: Vec<Frame>, java: &[Frame]) -> Vec<Frame> {
    let in_file = |frame: &Frame| {
        let module = frame.module.as_deref();
        module.is_some_and(|module| !module.starts_with('[') || module == VDSO)
    };
    let mut stack: Vec<Frame> = native.into_iter().take_while(in_file).collect();
    stack.extend(java.iter().cloned());
    stack
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::wait::Wait;
    use crate::source::jvm::{dump, moments::Seen};

    fn frame(module: &str, function: Option<&str>) -> Frame {
        Frame {
            function: function.map(str::to_owned),
            module: Some(module.to_owned()),
            ..Frame::default()
        }
    }

    fn thread(tid: u32) -> Thread {
        Thread {
            tid,
            goroutine: None,
            created: None,
            sampled: None,
            task: None,
            comm: "pool-1-thread-1".to_owned(),
            state: 'S',
            syscall: Some("write".to_owned()),
            fd: Some(9),
            stack: vec![
                frame("libc.so.6", Some("write")),
                frame("libnio.so", Some("Java_sun_nio_ch_SocketDispatcher_write0")),
                frame("[interpreter]", None),
                frame("[jit]", None),
                frame("libjvm.so", Some("JavaThread::run()")),
            ],
            since: None,
            socket: None,
            name: None,
            frames_at: Vec::new(),
            wait: Wait::default(),
            switches: 0,
            began: 0,
        }
    }

    fn seen(own_tid: u32, switches: u64) -> Seen {
        let moment = Some(Moment::new("1 0x9", switches));
        Seen { own_tid, moment }
    }

    #[test]
    fn frames_are_given_to_threads_that_stayed_where_they_were() {
        let dump = dump::parse(
            "\"pool-1-thread-1-of-many\" #1 nid=0x11 x\n\tat sun.nio.ch.SocketDispatcher.write0(Native Method)\n\
             \tat app.Handler.handle(Handler.java:7)\n\n\"mover\" #2 nid=0x12 x\n\tat app.Mover.f(M.java:1)\n\n",
        );
        let before = [
            (101, seen(0x11, 5)),
            (102, seen(0x12, 5)),
            (103, seen(0x13, 5)),
        ];
        let names = Names::of(dump, before.into());
        let now = [
            (101, seen(0x11, 5)),
            (102, seen(0x12, 6)),
            (103, seen(0x13, 5)),
        ];
        let mut threads = [thread(101), thread(102), thread(103)];
        names.give(&now.into(), &mut threads);
        assert_eq!(threads[0].name.as_deref(), Some("pool-1-thread-1-of-many"));
        let functions: Vec<_> = threads[0]
            .stack
            .iter()
            .map(|frame| frame.function.as_deref().unwrap())
            .collect();
        assert_eq!(
            functions,
            [
                "write",
                "Java_sun_nio_ch_SocketDispatcher_write0",
                "sun.nio.ch.SocketDispatcher.write0",
                "app.Handler.handle"
            ]
        );
        assert_eq!(threads[1].name.as_deref(), Some("mover"));
        assert_eq!(threads[1].stack, thread(102).stack);
        assert_eq!(threads[2], thread(103));
    }

    #[test]
    fn an_unread_native_stack_leaves_the_java_frames() {
        let dump = dump::parse("\"a\" nid=1 x\n\tat app.A.f(A.java:1)\n");
        let names = Names::of(dump, [(1, seen(1, 1))].into());
        let mut threads = [Thread {
            stack: Vec::new(),
            ..thread(1)
        }];
        names.give(&[(1, seen(1, 1))].into(), &mut threads);
        assert_eq!(threads[0].stack.len(), 1);
    }
}
