//! Leaks whose cause is what some threads do.

use super::parts::{frame, process, report, site, sockets, text};
use crate::model::report::{Blame, Direction, Holder, Report, Site, Socket, Stacks};
use crate::model::stack::Frame;
use crate::model::verdict::Verdict;

/// A gevent server whose 32 slots are taken.
pub(crate) fn never_accepted() -> Report {
    let stack = vec![
        frame("epoll_wait", "libc.so.6", ""),
        Frame {
            function: None,
            offset: 0x1b_2c40,
            ..frame("", "_corecext.so", "")
        },
        frame(
            "gevent.pool.Pool._semaphore.acquire",
            "python3.12",
            "gevent/pool.py:391",
        ),
        frame("main", "python3.12", "/srv/app/serve.py:31"),
    ];
    let holder = Holder {
        pid: 900,
        tid: 900,
        comm: "gunicorn".into(),
        state: Some('S'),
        syscall: Some("epoll_wait".to_owned()),
        fd: Some(5),
        since_seconds: Some(402.0),
        stack: stack.clone(),
        name: None,
        waits_for: None,
        samples: None,
        goroutine: None,
    };
    let waiting = |mut socket: Socket| {
        socket.inode = None;
        socket.fds = Vec::new();
        socket.recv_q = Some(119);
        socket
    };
    let site = Site {
        summary:
            "gunicorn stopped calling accept() 6m 42s ago; 129 connections wait in its listen \
                  queue, and the clients of all of them have given up."
                .to_owned(),
        evidence: text(&[
            "the sockets have no inode, so accept() was never called for them",
            "the last accept() on 10.0.0.5:8000 was 6m 42s ago",
            "the listen queue holds 129 of at most 128",
            "the accepting thread waits for a free slot of its pool",
        ]),
        advice:
            "Find out why all pool slots are taken, or make the pool larger than the number of \
                 clients that may be slow at once. A longer listen backlog would only let more \
                 dead connections pile up."
                .to_owned(),
        oldest_seconds: 398.0,
        growth_per_minute: Some(0.0),
        process: Some(process(
            900,
            "gunicorn",
            "/usr/bin/python3.12",
            "shop-api.service",
        )),
        local: Some("10.0.0.5:8000".parse().unwrap()),
        peers: [
            "10.0.0.9",
            "10.0.0.10",
            "10.0.0.11",
            "10.0.0.12",
            "10.0.0.13",
        ]
        .map(|ip| ip.parse().unwrap())
        .to_vec(),
        direction: Some(Direction::Unaccepted),
        blame: stack.get(2).map(Blame::from),
        stacks: Stacks {
            holders: vec![holder],
            ..Stacks::default()
        },
        sockets: sockets(5).into_iter().map(waiting).collect(),
        ..site(Verdict::NeverAccepted, "77de68daecd823ba", 129)
    };
    let mut report = report(vec![site]);
    report.totals.unaccepted = 129;
    report
}

/// The founding case: scrapers that stop reading pin all workers of a metrics server.
pub(crate) fn worker_starvation() -> Report {
    let stack = vec![
        frame("write", "libc.so.6", ""),
        frame("sun.nio.ch.SocketDispatcher.write", "libjvm.so", ""),
        frame("java.nio.channels.Channels.writeFully", "libjvm.so", ""),
        frame(
            "io.prometheus.client.exporter.HTTPServer$HTTPMetricHandler.handle",
            "simpleclient_httpserver.jar",
            "HTTPServer.java:95",
        ),
        frame(
            "java.util.concurrent.ThreadPoolExecutor.runWorker",
            "libjvm.so",
            "",
        ),
        frame("java.lang.Thread.run", "libjvm.so", ""),
    ];
    let worker = |nth: u32| Holder {
        pid: 2100,
        tid: 2170 + nth,
        comm: format!("prometheus-http-1-{nth}").into(),
        state: Some('S'),
        syscall: Some("write".to_owned()),
        fd: Some(90 + nth as i32),
        since_seconds: Some(f64::from(93_600 - nth * 60)),
        stack: stack.clone(),
        name: None,
        waits_for: None,
        samples: None,
        goroutine: None,
    };
    let holders: Vec<Holder> = (1..=7).map(worker).collect();
    let site = Site {
        summary:
            "All 7 worker threads of the metrics server are stuck in write() to scrapers that \
                  stopped reading, so nobody serves the 79,705 requests behind them."
                .to_owned(),
        evidence: text(&[
            "7 of 7 threads of the pool prometheus-http-1 wait in write()",
            "each writes to a connection whose Send-Q is full: 10.0.0.9:41210, 192.0.2.77:41876 and \
             5 more",
            "the first has been stuck for 1d 02h",
            "the sockets were accepted, then never read: Recv-Q 214, the whole request is unread",
        ]),
        advice: "Give the server a write timeout (the JDK's HttpServer has none), or put a proxy \
                 that has one in front. Tuning keepalive hides these sockets and frees nothing."
            .to_owned(),
        oldest_seconds: 93_012.0,
        growth_per_minute: Some(12.0),
        process: Some(process(
            2100,
            "java",
            "/usr/lib/jvm/java-17/bin/java",
            "replicator.service",
        )),
        local: Some("10.0.0.5:9404".parse().unwrap()),
        peers: vec!["10.0.0.9".parse().unwrap(), "192.0.2.77".parse().unwrap()],
        blame: stack.get(3).map(Blame::from),
        stacks: Stacks {
            holders,
            opened: Some(vec![]),
            ..Stacks::default()
        },
        relief: Some(
            "ss -K src 10.20.0.5:9404 dst 10.20.0.9:51234; ss -K src 10.20.0.5:9404 dst 192.0.2.77:40022".to_owned(),
        ),
        ..site(Verdict::WorkerStarvation, "2c26b46b68ffc68f", 79_705)
    };
    report(vec![site])
}
