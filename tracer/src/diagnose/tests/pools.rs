//! Pools of workers: starving, idle, and those that are no workers for clients.

use super::{
    crowds::{INODE, open},
    told,
    world::{END, MIN_AGE, S, SERVER, STUCK, World, conn, frame, libc, process, thread, world},
};
use crate::{
    diagnose::Ledger,
    model::{
        input::{Input, Relief, Thread},
        socket::SocketOperation,
        wait::{FileKind, Member, Polled, Target, Wait},
    },
    track::Tracker,
};

fn worker(nth: u32, syscall: &str, inode: u64) -> Thread {
    let stack = vec![libc(syscall), frame("serve", 50), frame("worker", 51)];
    Thread {
        comm: format!("pool-1-thread-{nth}"),
        fd: Some(90),
        socket: Some(inode),
        since: Some(END - 70 * S),
        ..thread(500 + nth, syscall, stack)
    }
}

fn starved(threads: Vec<Thread>) -> World {
    let mut server = process(SERVER);
    server.threads = threads.len() as u32;
    world([conn(1).accepted().recv_q(120)])
        .with_process(server)
        .with_threads(SERVER, threads)
        .with_neighbours(&[open(70, (SocketOperation::Accept, STUCK), 9000)])
}

fn dispatcher() -> Thread {
    thread(
        SERVER,
        "accept",
        vec![libc("accept"), frame("dispatch", 60)],
    )
}

#[test]
fn a_pool_without_a_free_worker_starves_the_queue() {
    let workers = [1, 2, 3].map(|nth| worker(nth, "write", INODE + 70));
    let site = starved([vec![dispatcher()], workers.to_vec()].concat()).site();
    assert_eq!(site.verdict.name(), "worker-starvation");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.blame.unwrap().function.raw(), "serve");
    let holders: Vec<_> = site.stacks.holders.iter().map(|h| h.comm.raw()).collect();
    assert_eq!(holders.first(), Some(&"pool-1-thread-1"));
    assert_eq!(site.stacks.holders[0].since_seconds, Some(70.0));
    let all = site.evidence.join("; ");
    assert!(
        all.contains("3 of 3 threads of the pool pool-1-thread-N"),
        "{all}"
    );
    assert!(
        all.contains("10.0.0.9:9000 to take what is written, whose Send-Q holds 9000 bytes"),
        "{all}"
    );
}

/// The longest may wait for a lock of those that wait for a server.
#[test]
fn what_the_others_of_a_pool_ask_for_is_told_beside_the_lock_of_the_longest() {
    let locked = [1, 2].map(|nth| Thread {
        wait: Wait::Lock {
            address: 8,
            owner: None,
        },
        ..worker(nth, "futex", 0)
    });
    let asking = worker(3, "read", INODE + 71);
    let mut around = vec![open(71, (SocketOperation::Connect, STUCK - 60 * S), 0)];
    around.extend([1, 2, 3].map(|nth| {
        let mut client = open(80 + nth, (SocketOperation::Accept, STUCK), 0);
        if let Some(used) = &mut client.1.used {
            used.tid = 500 + nth as u32;
        }
        client
    }));
    let threads = [vec![dispatcher(), asking], locked.to_vec()].concat();
    let site = starved(threads).with_neighbours(&around).site();
    let says = "the longest waits for a lock, and 1 of them waits for an answer from upstream 10.0.0.9:9000";
    assert!(site.summary.contains(says), "{}", site.summary);
}

/// What ends the connections that keep the workers, and nothing else.
#[test]
fn relief_ends_the_connections_that_keep_the_workers() {
    let relief = |kernel_can, netns| {
        let workers = [1, 2, 3].map(|nth| worker(nth, "write", INODE + 70));
        let mut client = open(70, (SocketOperation::Accept, STUCK), 9000);
        client.2.netns = netns;
        starved([vec![dispatcher()], workers.to_vec()].concat())
            .with_neighbours(&[client])
            .with(Input::Relief(Relief {
                kernel_can,
                own_netns: 1,
                namespaces: vec![(7, 4242)],
            }))
            .site()
    };
    let site = relief(Some(true), 1);
    let command = "ss -K -t src 10.0.0.1:8080 dst 10.0.0.9:9000";
    assert_eq!(site.relief.as_deref(), Some(command));
    let says = "just the 1 connection of clients that keep the threads can be ended";
    assert!(site.advice.contains(says), "{}", site.advice);
    assert!(site.advice.contains("the code still leaks"));
    let pool = site.pool.unwrap();
    assert_eq!(
        (pool.name.raw(), pool.busy, pool.size),
        ("pool-1-thread-N", 3, 3)
    );
    let elsewhere = relief(None, 7);
    let entered = format!("nsenter -t 4242 -n {command}");
    assert_eq!(elsewhere.relief, Some(entered));
    assert!(elsewhere.advice.contains("is not known"));
    // A namespace that no known process is in cannot be entered, and one that is not known might be any.
    assert_eq!(relief(Some(true), 9).relief, None);
    assert_eq!(relief(Some(true), 0).relief, None);
    let cannot = relief(Some(false), 1);
    assert_eq!(cannot.relief, None);
    assert!(
        cannot.advice.contains("CONFIG_INET_DIAG_DESTROY"),
        "{}",
        cannot.advice
    );
}

/// A thread that should accept and cannot is relieved like a worker; brackets would be a pattern to a shell.
#[test]
fn relief_frees_a_thread_that_should_accept() {
    let mut client = open(70, (SocketOperation::Accept, STUCK), 9000);
    client.2.netns = 1;
    client.2.endpoints.local = "[::1]:80".parse().unwrap();
    client.2.endpoints.remote = "[::1]:40001".parse().unwrap();
    let server = Thread {
        socket: Some(INODE + 70),
        ..thread(SERVER, "write", vec![libc("write"), frame("serve", 50)])
    };
    let site = world([conn(1).unaccepted()])
        .with_process(process(SERVER))
        .with_listener("0.0.0.0:8080", &[SERVER], 1)
        .with_threads(SERVER, vec![server])
        .with_neighbours(&[client])
        .with(Input::Relief(Relief {
            kernel_can: Some(true),
            own_netns: 1,
            namespaces: Vec::new(),
        }))
        .site();
    assert_eq!(site.verdict.name(), "never-accepted");
    assert_eq!(
        (site.relief.as_deref(), site.confidence.name()),
        (Some("ss -K -t src '[::1]:80' dst '[::1]:40001'"), "high"),
        "{:?}",
        site.evidence
    );
}

/// Between two pieces of work, and when the last is done, a queue looks as if its connections had been forgotten.
#[test]
fn what_waited_for_its_turn_just_now_is_not_surely_forgotten() {
    let workers = [1, 2, 3].map(|nth| worker(nth, "write", INODE + 70));
    let mut tracker = starved([vec![dispatcher()], workers.to_vec()].concat()).tracker();
    let mut ledger = Ledger::default();
    let told = |ledger: &mut Ledger, tracker: &Tracker| {
        let site = told::report(ledger, tracker).sites.remove(0);
        let doubted = site
            .evidence
            .iter()
            .any(|line| line.contains("for their turn until"));
        (
            format!(
                "{} {} {}",
                site.verdict,
                site.confidence.name(),
                site.severity.name()
            ),
            doubted,
        )
    };
    assert_eq!(
        told(&mut ledger, &tracker),
        ("worker-starvation high leak".to_owned(), false)
    );
    let threads = vec![dispatcher()];
    tracker.apply(Input::Threads {
        pid: SERVER,
        threads,
    });
    let forgotten = told(&mut Ledger::default(), &tracker);
    assert_eq!(forgotten, ("never-read medium leak".to_owned(), false));
    for _ in 0..2 {
        let now = told(&mut ledger, &tracker);
        assert_eq!(now, ("never-read low suspect".to_owned(), true));
    }
    let item = conn(1).accepted().recv_q(120).item;
    tracker.apply(told::inventory(END + MIN_AGE, vec![item]));
    let now = told(&mut ledger, &tracker);
    assert_eq!(now, told(&mut Ledger::default(), &tracker));
    assert_eq!(now, ("never-read low leak".to_owned(), false));
}

#[test]
fn a_pool_with_a_free_worker_starves_nobody() {
    let unknown = "never-read low leak";
    let busy = [1, 2].map(|nth| worker(nth, "write", INODE + 70));
    let idle = worker(3, "futex", 0);
    let mut threads = vec![dispatcher()];
    threads.extend(busy);
    threads.push(idle);
    assert_eq!(starved(threads).verdict(), unknown);
    // A client that says nothing keeps its reader as well as a server that does.
    let readers = [1, 2, 3].map(|nth| worker(nth, "read", INODE + 70));
    let threads = [vec![dispatcher()], readers.to_vec()].concat();
    let starves = "worker-starvation high leak";
    assert_eq!(starved(threads.clone()).verdict(), starves);
    let mut around = vec![open(70, (SocketOperation::Connect, STUCK - 60 * S), 0)];
    around.extend([1, 2, 3].map(|nth| {
        let mut client = open(80 + nth, (SocketOperation::Accept, STUCK), 0);
        if let Some(used) = &mut client.1.used {
            used.tid = 500 + nth as u32;
        }
        client
    }));
    let asked = starved(threads).with_neighbours(&around);
    assert_eq!(asked.verdict(), starves);
}

/// Threads that ship logs or consume a queue are blocked like that when all is well.
#[test]
fn threads_that_serve_no_client_are_no_workers() {
    let shippers = [1, 2].map(|nth| worker(nth, "write", INODE + 70));
    let threads = [vec![dispatcher()], shippers.to_vec()].concat();
    let out = [open(70, (SocketOperation::Connect, STUCK - 60 * S), 9000)];
    let shipping = starved(threads).with_neighbours(&out);
    assert_eq!(shipping.verdict(), "never-read low leak");
    let sleepers = [1, 2].map(|nth| worker(nth, "nanosleep", 0));
    let threads = [vec![dispatcher()], sleepers.to_vec()].concat();
    assert_eq!(starved(threads).verdict(), "never-read low leak");
}

#[test]
fn workers_whose_writes_get_through_starve_nobody() {
    let workers = [1, 2, 3].map(|nth| worker(nth, "write", INODE + 70));
    let threads = [vec![dispatcher()], workers.to_vec()].concat();
    let flowing =
        starved(threads).with_neighbours(&[open(70, (SocketOperation::Accept, STUCK), 0)]);
    assert_eq!(flowing.verdict(), "never-read low leak");
}

/// Queued behind workers that are slow, not stuck: they have begun to wait since, or have touched a client.
#[test]
fn a_pool_that_goes_on_is_slow() {
    let slow = "worker-starvation low suspect";
    let workers = |since| {
        let workers = [1, 2, 3].map(|nth| worker(nth, "read", INODE + 70));
        let mut threads = vec![dispatcher()];
        threads.extend(workers.map(|worker| Thread {
            since: Some(since),
            ..worker
        }));
        threads
    };
    let site = starved(workers(END - 2 * S)).site();
    assert!(site.summary.contains("busy, and go on"), "{}", site.summary);
    assert_eq!(starved(workers(END - 2 * S)).verdict(), slow);
    let mut client = open(80, (SocketOperation::Accept, END - 9 * S), 0);
    if let Some(used) = &mut client.1.used {
        used.tid = 502;
    }
    let touched = starved(workers(END - 70 * S))
        .with_neighbours(&[open(70, (SocketOperation::Accept, STUCK), 9000), client]);
    assert_eq!(touched.verdict(), slow);
}

/// A wait that looks again from time to time begins as often.
#[test]
fn workers_that_look_again_and_again_are_stuck_all_the_same() {
    let workers = [1, 2, 3].map(|nth| Thread {
        since: Some(END - S),
        wait: Wait::Poll(Polled {
            members: vec![Member {
                target: Target {
                    fd: 90,
                    file: FileKind::Socket(INODE + 70),
                },
                input: true,
                output: false,
            }],
            complete: true,
            times_out: true,
            ..Polled::default()
        }),
        ..worker(nth, "poll", INODE + 70)
    });
    let threads = [vec![dispatcher()], workers.to_vec()].concat();
    assert_eq!(starved(threads).verdict(), "worker-starvation high leak");
}
