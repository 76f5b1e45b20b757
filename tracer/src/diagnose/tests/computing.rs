//! Threads that compute, by samples: in the call that used a socket, in other work, in a runtime.

use super::{
    crowds::open,
    world::{END, S, SERVER, STUCK, World, conn, frame, libc, operation, process, thread, world},
};
use crate::model::{
    input::{Input, Thread},
    report::Site,
    samples::{Moments, Samples},
    socket::{LastOperation, SocketOperation},
    stack::{Frame, FrameAddress, Stack},
    wait::Wait,
};

const SP: u64 = 0x7000;
/// Where the functions that made the operation lie, from its stack pointer: `recv`, `handle`, `serve`, the thread's start.
const PLACES: [(u64, u64); 4] = [(16, 0x401), (64, 0x402), (128, 0x403), (160, 0x404)];
const COUNT: u32 = 60;

fn address((frame, (cfa, return_address)): (usize, &(u64, u64))) -> FrameAddress {
    FrameAddress {
        frame: frame as u32,
        cfa: *cfa,
        return_address: *return_address,
    }
}

fn operation_stack() -> Stack {
    Stack {
        frames: vec![
            libc("recv"),
            frame("handle", 0x401),
            frame("serve", 0x402),
            libc("start_thread"),
        ],
        frames_at: PLACES.iter().enumerate().map(address).collect(),
        ..Stack::default()
    }
}

/// Seen on a CPU in these functions, with the outermost of the operation's frames in their places.
fn samples(tid: u32, functions: Vec<Frame>, kept: usize) -> Samples {
    let all = functions.len();
    let kept = PLACES.iter().enumerate().rev().take(kept);
    let mut frames_at: Vec<FrameAddress> = kept
        .map(|(frame, place)| {
            let one = address((frame + all - PLACES.len(), place));
            FrameAddress {
                cfa: SP + one.cfa,
                ..one
            }
        })
        .collect();
    frames_at.reverse();
    Samples {
        tid,
        began: 0,
        moments: Moments {
            from: END - S + 1,
            to: END - S / 2,
            count: COUNT,
            inside: COUNT,
        },
        stack: functions,
        frames_at,
    }
}

fn in_the_call() -> Vec<Frame> {
    vec![
        frame("spin", 0x500),
        frame("handle", 0x409),
        frame("serve", 0x402),
        libc("start_thread"),
    ]
}

fn in_other_work() -> Vec<Frame> {
    vec![
        frame("sort", 0x500),
        frame("batch", 0x509),
        frame("jobs", 0x50a),
        libc("start_thread"),
    ]
}

fn runs(tid: u32, switches: u64) -> Thread {
    Thread {
        state: 'R',
        syscall: None,
        wait: Wait::Running,
        switches,
        ..thread(tid, "", Vec::new())
    }
}

fn last(kind: SocketOperation, tid: u32) -> LastOperation {
    LastOperation {
        tid,
        sp: SP,
        switches: 4,
        ..operation(kind, STUCK + S, 9)
    }
}

/// The socket was used last by the server's first thread.
fn owned(threads: Vec<Thread>, sampled: Vec<Samples>) -> World {
    let mut conn = conn(1).accepted().recv_q(120);
    let used = Some(last(SocketOperation::Recv, SERVER));
    conn.candidate.history.used = used;
    let mut known = open(1, (SocketOperation::Accept, STUCK - 5 * S), 0);
    known.1.used = used;
    let mut server = process(SERVER);
    server.threads = threads.len() as u32;
    world([conn])
        .with(Input::Stack {
            key: 9,
            stack: operation_stack(),
        })
        .with_process(server)
        .with_neighbours(&[known])
        .with_threads(SERVER, threads)
        .with(Input::Samples {
            pid: SERVER,
            threads: sampled,
        })
}

fn idle(tid: u32) -> Thread {
    thread(tid, "accept", vec![libc("accept"), frame("dispatch", 60)])
}

fn says(site: &Site) -> String {
    format!("{}; {}", site.summary, site.evidence.join("; "))
}

#[test]
fn who_computes_in_the_call_that_used_the_socket_is_named() {
    let spins = samples(SERVER, in_the_call(), 3);
    let site = owned(vec![runs(SERVER, 4), idle(7)], vec![spins.clone()]).site();
    let is = (site.verdict.name(), site.confidence.name());
    // Another thread may have given it the same kind of work.
    assert_eq!(is, ("owner-blocked", "medium"), "{}", says(&site));
    assert_eq!(site.blame.as_ref().unwrap().function.raw(), "spin");
    let text = says(&site);
    assert!(text.contains("which computes in spin;"), "{text}");
    assert!(text.contains("it computes in spin (60 samples)"), "{text}");
    assert!(
        text.contains("it is still in that call, has not waited since"),
        "{text}"
    );
    let holder = &site.stacks.holders[0];
    assert_eq!((holder.tid, holder.samples), (SERVER, Some(COUNT)));
    assert_eq!(site.stacks.holders[1].samples, None);
    let doing = holder.waits_for.as_ref().unwrap();
    assert_eq!(doing.text, "nothing: it computes in spin (60 samples)");
    // Whoever else could have: nobody.
    let alone = owned(vec![runs(SERVER, 4)], vec![spins.clone()]);
    assert_eq!(alone.verdict(), "owner-blocked high leak");
    // It has waited since, perhaps for the next piece of work.
    let waited = owned(vec![runs(SERVER, 5)], vec![spins.clone()]).site();
    assert_eq!(waited.confidence.name(), "medium", "{}", says(&waited));
    assert!(!says(&waited).contains("still in that call"));
    // The function that used the socket has returned to the one that serves, which does something else.
    let mut returned = spins;
    returned.frames_at.remove(0);
    returned.stack.remove(1);
    let alone = owned(vec![runs(SERVER, 4)], vec![returned]).site();
    assert_eq!(alone.confidence.name(), "medium", "{}", says(&alone));
}

/// What serves was inlined into what the thread began with, as optimisers do: it has no place of its own on the stack.
#[test]
fn an_inlined_function_is_in_its_place_while_its_name_is() {
    let at = |frame: u32, slot: usize, sp: u64| FrameAddress {
        frame,
        cfa: PLACES[slot].0 + sp,
        return_address: PLACES[slot].1,
    };
    let used_in = Stack {
        frames: vec![
            libc("send"),
            frame("handle", 0x401),
            frame("spawned", 0x401),
            libc("run"),
            libc("start_thread"),
        ],
        frames_at: vec![at(0, 0, 0), at(3, 2, 0), at(4, 3, 0)],
        ..Stack::default()
    };
    let judged = |inlined: [&str; 2], places: bool| {
        let waits = Thread {
            frames_at: vec![at(0, 1, SP - 8), at(1, 1, SP), at(4, 2, SP), at(5, 3, SP)],
            wait: Wait::Futex { address: 1 },
            switches: 5,
            ..thread(
                500,
                "futex",
                vec![
                    libc("futex"),
                    frame("record", 0x500),
                    frame(inlined[0], 0x409),
                    frame(inlined[1], 0x409),
                    libc("run"),
                    libc("start_thread"),
                ],
            )
        };
        let mut conn = conn(1).accepted();
        let used = Some(last(SocketOperation::Send, 500));
        conn.candidate.history.used = used;
        let mut known = open(1, (SocketOperation::Accept, STUCK - 5 * S), 0);
        known.1.used = used;
        let mut server = process(SERVER);
        server.threads = 2;
        world([conn])
            .with(Input::Stack {
                key: 9,
                stack: Stack {
                    frames_at: used_in
                        .frames_at
                        .iter()
                        .copied()
                        .filter(|_| places)
                        .collect(),
                    ..used_in.clone()
                },
            })
            .with_process(server)
            .with_neighbours(&[known])
            .with_threads(SERVER, vec![idle(SERVER), waits])
            .site()
    };
    for places in [true, false] {
        let inside = judged(["handle", "spawned"], places);
        assert_eq!(inside.verdict.name(), "owner-blocked", "{}", says(&inside));
        let returned = judged(["next", "jobs"], places);
        let text = says(&returned);
        assert_ne!(returned.verdict.name(), "owner-blocked", "{text}");
        assert!(text.contains("have returned"), "{text}");
    }
}

#[test]
fn who_computes_in_other_work_is_not_kept_from_the_socket() {
    let other = samples(SERVER, in_other_work(), 1);
    let site = owned(vec![runs(SERVER, 4)], vec![other]).site();
    assert_ne!(site.verdict.name(), "owner-blocked", "{}", says(&site));
    assert_ne!(site.confidence.name(), "high", "{}", says(&site));
    assert!(
        says(&site).contains("computes something else"),
        "{}",
        says(&site)
    );
    let holder = &site.stacks.holders[0];
    assert_eq!(holder.samples, Some(COUNT));
}

/// They are in no function of the program, or only below one that may be any loop.
#[test]
fn what_spins_in_a_runtime_computes_nothing() {
    let collector = vec![libc("mark"), libc("collect"), libc("start_thread")];
    let below_main = vec![libc("poll"), libc("run_loop"), frame("main", 3)];
    let mut park = frame("runtime.findRunnable", 8);
    park.module = Some("libc.so.6".to_owned());
    let idle_go = vec![park, frame("handle", 0x409), frame("serve", 0x402)];
    for frames in [collector, below_main, idle_go] {
        let spins = samples(SERVER, frames, 0);
        let site = owned(vec![runs(SERVER, 4), idle(7)], vec![spins]).site();
        let text = says(&site);
        assert!(!text.contains("computes in"), "{text}");
        assert_ne!(site.confidence.name(), "high", "{text}");
        // That it was on the CPU is true all the same.
        assert_eq!(site.stacks.holders[0].samples, Some(COUNT), "{text}");
    }
}

#[test]
fn few_samples_name_nobody() {
    let mut few = samples(SERVER, in_the_call(), 3);
    (few.moments.count, few.moments.inside) = (49, 49);
    let site = owned(vec![runs(SERVER, 4), idle(7)], vec![few]).site();
    let text = says(&site);
    assert!(!text.contains("spin"), "{text}");
    let last = "which computes; it was used last in handle";
    assert!(text.contains(last), "{text}");
}

fn worker(nth: u32) -> Thread {
    Thread {
        comm: format!("pool-1-thread-{nth}"),
        ..runs(500 + nth, 4)
    }
}

/// Three workers, of which these functions were sampled, and a connection that nobody has touched.
fn pool(functions: &[Frame], kept: usize) -> World {
    let workers = [1, 2, 3];
    let mut around = vec![open(70, (SocketOperation::Accept, STUCK), 0)];
    around.extend(workers.map(|nth| {
        let mut client = open(80 + u64::from(nth), (SocketOperation::Accept, STUCK), 0);
        client.1.used = Some(last(SocketOperation::Recv, 500 + nth));
        client
    }));
    let mut threads = vec![idle(SERVER)];
    threads.extend(workers.map(worker));
    let mut server = process(SERVER);
    server.threads = threads.len() as u32;
    let sampled = workers.map(|nth| samples(500 + nth, functions.to_vec(), kept));
    world([conn(1).accepted().recv_q(120)])
        .with(Input::Stack {
            key: 9,
            stack: operation_stack(),
        })
        .with_process(server)
        .with_threads(SERVER, threads)
        .with(Input::Samples {
            pid: SERVER,
            threads: sampled.to_vec(),
        })
        .with_neighbours(&around)
}

#[test]
fn workers_that_compute_for_their_clients_starve_the_queue() {
    let site = pool(&in_the_call(), 3).site();
    let text = says(&site);
    assert_eq!(site.verdict.name(), "worker-starvation", "{text}");
    assert_eq!(site.blame.as_ref().unwrap().function.raw(), "spin");
    assert!(
        text.contains("one of them computes in spin (60 samples)"),
        "{text}"
    );
    assert!(
        text.contains("pool-1-thread-1 (tid 501): computes in spin"),
        "{text}"
    );
    // One of which nothing is known may be free.
    let mut world = pool(&in_the_call(), 3);
    for input in &mut world.inputs {
        if let Input::Samples { threads, .. } = input {
            threads.pop();
        }
    }
    let text = world.verdict();
    assert!(!text.contains("worker-starvation"), "{text}");
    // A loop that looks for work without waiting is free.
    let spins = [
        frame("pop", 0x510),
        frame("serve", 0x402),
        libc("start_thread"),
    ];
    let text = pool(&spins, 2).verdict();
    assert!(!text.contains("worker-starvation"), "{text}");
    let collector = [libc("mark"), libc("start_thread")];
    let text = pool(&collector, 1).verdict();
    assert!(!text.contains("worker-starvation"), "{text}");
}

/// What many threads are sampled in is one place, wherever in it each of them was met most often.
#[test]
fn samples_of_one_function_are_of_one_place() {
    let id = |offset| {
        let mut functions = in_the_call();
        functions[0].offset = offset;
        let spins = samples(SERVER, functions, 3);
        owned(vec![runs(SERVER, 4)], vec![spins]).site().id
    };
    assert_eq!(id(0x500), id(0x508));
}
