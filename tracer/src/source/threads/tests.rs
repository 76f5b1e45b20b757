use std::sync::{Arc, Barrier, Mutex};

use super::*;

/// A process of 41 threads, 40 of which wait; gives the ids of those.
fn with_waiting_threads(check: impl FnOnce(&Process, &[u32])) {
    let (stop, tids) = (Arc::new(Barrier::new(41)), Arc::new(Mutex::new(Vec::new())));
    let workers: Vec<_> = (0..40)
        .map(|_| {
            let (stop, tids) = (Arc::clone(&stop), Arc::clone(&tids));
            std::thread::spawn(move || {
                let tid = rustix::thread::gettid().as_raw_nonzero().get() as u32;
                tids.lock().unwrap().push(tid);
                stop.wait();
            })
        })
        .collect();
    while tids.lock().unwrap().len() < 40 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    let own = crate::source::process::read(std::process::id(), false).unwrap();
    let waiting = tids.lock().unwrap().clone();
    check(&own, &waiting);
    stop.wait();
    for worker in workers {
        worker.join().unwrap();
    }
}

fn from_proc(own: &Process, asked: u32) -> Vec<Thread> {
    let mut symbolizer = Symbolizer::new();
    let asked = BTreeSet::from([asked]);
    let mut all = read(
        std::slice::from_ref(own),
        Asked {
            threads: &asked,
            goroutines: &BTreeSet::new(),
        },
        &mut |_| None,
        &mut symbolizer,
    );
    all.remove(0).threads
}

/// More threads than stacks are read of: all are listed, and the asked-for one has its stack.
#[test]
fn all_threads_are_seen_and_the_asked_for_ones_first() {
    with_waiting_threads(|own, waiting| {
        let last = *waiting.iter().max().unwrap();
        let threads = from_proc(own, last);
        assert!(threads.len() > 40);
        assert!(threads.is_sorted_by_key(|thread| thread.tid));
        let asked = threads.iter().find(|thread| thread.tid == last).unwrap();
        assert_eq!(asked.syscall.as_deref(), Some("futex"));
        assert!(!asked.stack.is_empty());
    });
}

/// As the iterator would show a thread of this process, by what /proc says.
fn seen(own: &Process, tid: u32, switches: u64) -> SeenThread {
    SeenThread {
        tgid: own.pid,
        tid,
        start_boot: own.start_boot,
        comm: *b"worker\0\0\0\0\0\0\0\0\0\0",
        state: 'S',
        switches,
        waits: 0,
        began_boot: own.start_boot,
        still: true,
        entry: outside::blocked_in(own.pid, tid),
        since: Some(5),
    }
}

#[test]
fn a_thread_that_ran_meanwhile_has_no_stack() {
    with_waiting_threads(|own, waiting| {
        let [still, moved, runs] = [waiting[0], waiting[1], waiting[2]];
        let mut first = true;
        let mut look = |pids: &[u32]| {
            assert_eq!(pids, [own.pid]);
            let later = u64::from(!std::mem::take(&mut first));
            let mut running = seen(own, runs, 7);
            running.still = later == 0;
            Some(vec![
                seen(own, still, 7),
                seen(own, moved, 7 + later),
                running,
            ])
        };
        let mut symbolizer = Symbolizer::new();
        let asked = waiting.iter().copied().collect();
        let own = std::slice::from_ref(own);
        let threads = read(
            own,
            Asked {
                threads: &asked,
                goroutines: &BTreeSet::new(),
            },
            &mut look,
            &mut symbolizer,
        )
        .remove(0)
        .threads;
        for thread in threads {
            assert_eq!(thread.comm, "worker");
            assert_eq!(thread.since, Some(5));
            assert_eq!(thread.syscall.as_deref(), Some("futex"));
            assert_eq!(!thread.stack.is_empty(), thread.tid == still);
        }
    });
}

#[test]
fn threads_of_another_process_with_the_same_number_are_not_taken() {
    with_waiting_threads(|own, waiting| {
        let mut look = |_: &[u32]| {
            let mut thread = seen(own, waiting[0], 7);
            thread.start_boot += 1_000_000_000;
            Some(vec![thread])
        };
        let mut symbolizer = Symbolizer::new();
        let threads = read(
            std::slice::from_ref(own),
            Asked {
                threads: &BTreeSet::new(),
                goroutines: &BTreeSet::new(),
            },
            &mut look,
            &mut symbolizer,
        );
        // /proc has them all, and no times.
        assert!(threads[0].threads.len() > 40);
        assert!(
            threads[0]
                .threads
                .iter()
                .all(|thread| thread.since.is_none())
        );
    });
}
