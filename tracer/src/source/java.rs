//! What a virtual thread of Java waits for, by the functions of Java's library in which it does.

use crate::model::{
    stack::Frame,
    wait::{FileKind, Target, Wait},
};

/// By these a virtual thread gives up the thread that carries it. Without them it is kept at the entry of a monitor, or in one.
const LEAVES: &str = "jdk.internal.vm.Continuation.yield";
/// This wakes it up when a descriptor is ready.
const POLLER: &str = "sun.nio.ch.Poller.";

/// Innermost frame first.
pub fn wait_of(stack: &[Frame]) -> Wait {
    const UNKNOWN: Target = Target {
        fd: -1,
        file: FileKind::Unknown,
    };
    let names = || stack.iter().filter_map(|frame| frame.function.as_deref());
    let polls = names().any(|name| name.starts_with(POLLER));
    let call = names().find_map(|name| {
        let (class, method) = name.rsplit_once('.')?;
        let of_channel = class.starts_with("sun.nio.ch.") && polls;
        Some(match (class, method) {
            ("java.lang.Thread", "sleep") => Wait::Sleep,
            ("java.lang.Object", "wait") => Wait::Condition,
            ("java.util.concurrent.locks.LockSupport", _) if !polls => Wait::Futex { address: 0 },
            (_, "implRead" | "timedRead" | "read" | "blockingRead") if of_channel => {
                Wait::Receive(UNKNOWN)
            }
            (_, "implWrite" | "write" | "blockingWriteFully") if of_channel => Wait::Send(UNKNOWN),
            (_, "connect" | "blockingConnect") if of_channel => Wait::Connect(UNKNOWN),
            (_, "accept" | "implAccept" | "blockingAccept") if of_channel => Wait::Accept(UNKNOWN),
            _ => return None,
        })
    });
    let first = names().next().unwrap_or_default();
    call.unwrap_or(if first.is_empty() || first.starts_with(LEAVES) {
        Wait::Task
    } else {
        Wait::Lock {
            address: 0,
            owner: None,
        }
    })
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
        wait_of(&frames)
    }

    #[test]
    fn what_a_virtual_thread_waits_for_is_told_by_the_functions_of_the_library() {
        const YIELD: &str = "jdk.internal.vm.Continuation.yield0";
        let parked = |functions: &[&str]| {
            wait(&[&[YIELD, "java.lang.VirtualThread.park"], functions].concat())
        };
        let park = "java.util.concurrent.locks.LockSupport.park";
        let locked = [
            park,
            "java.util.concurrent.Semaphore.acquire",
            "app.App.take",
        ];
        assert_eq!(parked(&locked), Wait::Futex { address: 0 });
        let slept = ["java.lang.Thread.sleep", "app.App.pause"];
        assert_eq!(parked(&slept), Wait::Sleep);
        let read = [
            "sun.nio.ch.NioSocketImpl.park",
            "sun.nio.ch.NioSocketImpl.implRead",
        ];
        let polled = [&[park, "sun.nio.ch.Poller.poll"], &read[..]].concat();
        assert!(matches!(parked(&polled), Wait::Receive(_)));
        let locked_out = [&[park][..], &read].concat();
        assert!(
            matches!(parked(&locked_out), Wait::Futex { .. }),
            "another one reads"
        );
        assert!(
            matches!(wait(&["app.App.take", "app.App.serve"]), Wait::Lock { .. }),
            "a monitor"
        );
        assert_eq!(parked(&["app.App.take"]), Wait::Task);
        assert_eq!(wait(&[]), Wait::Task);
    }
}
