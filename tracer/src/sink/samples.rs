//! Reports as real incidents produce them, for the tests of every sink.

use jiff::Timestamp;

use crate::model::cookie::Cookie;
use crate::model::report::{
    Blame, Direction, EventCounts, Family, FdRef, Holder, Hook, HookStatus, Host, Process, Report,
    SchemaId, Site, Socket, StackName, Stacks, Tool, Totals, Window,
};
use crate::model::stack::Frame;
use crate::model::tcp_state::TcpState;
use crate::model::verdict::{Confidence, Severity, Verdict};

pub(crate) fn all() -> [(&'static str, Report); 9] {
    [
        ("eof-ignored", eof_ignored()),
        ("never-accepted", never_accepted()),
        ("idle-pool", idle_pool()),
        ("hidden-closed", hidden_closed()),
        ("worker-starvation", worker_starvation()),
        ("inherited-and-unknown", inherited_and_unknown()),
        ("losses", losses()),
        ("hostile-names", hostile_names()),
        ("nothing-found", nothing_found()),
    ]
}

/// Compares with the committed rendering in tests/golden.
pub(crate) fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../tests/golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Enough of a classifier for the samples: what the C, C++ and Java runtimes bring is not the
/// program's own.
pub(crate) fn is_application(frame: &Frame) -> bool {
    let module = frame.module.as_deref().unwrap_or_default();
    let runtime = [
        "libc.so",
        "libstdc++",
        "ld-linux",
        "libjvm",
        "[vdso]",
        "[kernel]",
    ];
    let function = frame.function.as_deref().unwrap_or_default();
    !runtime.iter().any(|prefix| module.starts_with(prefix))
        && !["java.", "sun.", "jdk."]
            .iter()
            .any(|prefix| function.starts_with(prefix))
}

fn time(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

fn hook(name: &str, kind: &str) -> Hook {
    let (name, kind) = (name.to_owned(), kind.to_owned());
    Hook {
        name,
        kind,
        status: HookStatus::Attached,
        reason: None,
    }
}

fn report(sites: Vec<Site>) -> Report {
    let stuck = sites.iter().map(|site| site.count).sum();
    Report {
        schema: SchemaId::V1,
        tool: Tool {
            version: "0.1.0".to_owned(),
            bpf_object_sha256: Some("5f".repeat(32)),
        },
        host: Host {
            kernel: "6.18.44".to_owned(),
            boot_id: Some("2f1d6b7e-6a34-4a5e-8a73-0d2c1a7a9c11".to_owned()),
        },
        hooks: vec![
            hook("inet_sock_set_state", "tp_btf"),
            hook("sock_recv_length", "tp_btf"),
            hook("tcp_destroy_sock", "tp_btf"),
        ],
        window: Window {
            start: time("13:00:12"),
            end: time("13:05:12"),
            events: EventCounts {
                seen: 12_345,
                submitted: 12_345,
                received: 12_345,
                lost: 0,
            },
            complete: true,
            min_age_seconds: Some(60.0),
        },
        totals: Totals {
            close_wait: stuck + 3,
            stuck,
            ..Totals::default()
        },
        sites,
        warnings: Vec::new(),
    }
}

fn site(verdict: Verdict, id: &str, count: u64) -> Site {
    Site {
        id: id.to_owned(),
        verdict,
        confidence: Confidence::High,
        severity: Severity::Leak,
        summary: String::new(),
        evidence: Vec::new(),
        advice: String::new(),
        count,
        first_seen: time("13:01:40"),
        oldest_seconds: 812.345,
        age_is_lower_bound: false,
        growth_per_minute: Some(4.2),
        process: Some(process(
            4242,
            "leaky-server",
            "/opt/leaky/bin/leaky-server",
            "leaky.service",
        )),
        processes: 1,
        local: Some("10.0.0.5:11112".parse().unwrap()),
        peers: vec!["10.0.0.9".parse().unwrap()],
        direction: Some(Direction::Accepted),
        blame: None,
        stacks: Stacks::default(),
        truncated_stacks: Vec::new(),
        sockets: sockets(count.min(5)),
        sockets_omitted: count.saturating_sub(5),
    }
}

fn process(pid: u32, comm: &str, exe: &str, service: &str) -> Process {
    Process {
        pid,
        start_time: Some(time("08:12:44.25")),
        comm: comm.into(),
        exe: Some(exe.into()),
        service: Some(service.into()),
        cgroup: Some(format!("/system.slice/{service}").into()),
    }
}

fn sockets(number: u64) -> Vec<Socket> {
    let one = |nth: u64| Socket {
        cookie: Cookie(0x1f + nth),
        netns: 4_026_531_840,
        inode: Some(123 + nth),
        family: Family::Inet,
        local: "10.0.0.5:11112".parse().unwrap(),
        remote: format!("10.0.0.9:{}", 50_412 + nth).parse().unwrap(),
        state: TcpState::CloseWait,
        age_seconds: 812.345 - nth as f64 * 14.0,
        age_is_lower_bound: false,
        recv_q: Some(0),
        send_q: Some(0),
        fds: vec![FdRef {
            pid: 4242,
            fd: 7 + nth as i32,
        }],
    };
    (0..number).map(one).collect()
}

fn frame(function: &str, module: &str, source: &str) -> Frame {
    let (file, line) = match source.rsplit_once(':') {
        Some((file, line)) => (Some(file.to_owned()), line.parse().ok()),
        None => (None, None),
    };
    Frame {
        function: Some(function.to_owned()),
        module: Some(module.to_owned()),
        offset: 0x1234,
        build_id: Some("9a4f01c2d37b5e6a8c90d1e2f3a4b5c6d7e8f901".to_owned()),
        file,
        line,
        inlined: false,
    }
}

fn text(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// A C server that takes read() == 0 for "nothing yet".
fn eof_site() -> Site {
    let mut inlined = frame("process_request", "leaky-server", "src/request.c:118");
    inlined.inlined = true;
    let eof = vec![
        frame("__libc_recv", "libc.so.6", ""),
        frame("handle_client", "leaky-server", "src/conn.c:42"),
        inlined,
        frame("worker_main", "leaky-server", "src/pool.c:88"),
        frame("start_thread", "libc.so.6", ""),
        frame("__clone3", "libc.so.6", ""),
    ];
    let opened = vec![
        frame("accept4", "libc.so.6", ""),
        frame("accept_loop", "leaky-server", "src/main.c:203"),
        frame("main", "leaky-server", "src/main.c:251"),
        frame("__libc_start_main", "libc.so.6", ""),
    ];
    Site {
        summary: "handle_client gets 0 from recv() when the peer hangs up, and returns without \
                  closing the socket."
            .to_owned(),
        evidence: text(&[
            "recv() returned 0 on all 120 sockets; no close() or shutdown() followed",
            "412 sockets accepted at the same place were closed at conn_free (src/conn.c:77); these \
             120 were not",
            "Recv-Q is 0: everything the peer sent has been read",
            "at this rate leaky-server reaches its limit of 1,024 descriptors in 3h 35m",
        ]),
        advice: "Treat a return value of 0 from recv() as end-of-file: leave the loop and close() \
                 the descriptor. Shorter TCP keepalive would only hide it: the sockets leave \
                 CLOSE_WAIT, the descriptors stay open."
            .to_owned(),
        blame: eof.get(1).map(Blame::from),
        stacks: Stacks {
            eof: Some(eof),
            opened: Some(opened),
            ..Stacks::default()
        },
        ..site(Verdict::EofIgnored, "b1946ac92492d234", 120)
    }
}

pub(crate) fn eof_ignored() -> Report {
    report(vec![eof_site()])
}

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

/// urllib3's pool, harmless as long as it does not grow. Stripped binary: nothing has a name.
pub(crate) fn idle_pool() -> Report {
    let unnamed = |offset| Frame {
        function: None,
        offset,
        ..frame("", "billing-worker", "")
    };
    let opened = vec![
        frame("__libc_connect", "libc.so.6", ""),
        unnamed(0x4_8a10),
        unnamed(0x4_91fc),
        frame("__libc_start_main", "libc.so.6", ""),
    ];
    let site = Site {
        confidence: Confidence::Medium,
        severity: Severity::Info,
        summary: "The connection pool of billing-worker keeps 8 connections that the server has \
                  already closed; it will find out when it next uses them."
            .to_owned(),
        evidence: text(&[
            "connected from here, last use was a complete response 9m 10s ago",
            "Recv-Q is 1: only the end-of-file is unread",
            "the number has been between 7 and 8 for the whole window",
        ]),
        advice: "Nothing urgent. Give the pool a shorter idle time than the server's (keep-alive \
                 timeout), or let it check a connection before use."
            .to_owned(),
        oldest_seconds: 551.0,
        age_is_lower_bound: true,
        growth_per_minute: Some(0.01),
        process: Some(process(
            3001,
            "billing-worker",
            "/opt/billing/billing-worker",
            "billing.service",
        )),
        processes: 4,
        local: None,
        peers: vec!["203.0.113.4".parse().unwrap()],
        direction: Some(Direction::Connected),
        blame: opened.get(1).map(Blame::from),
        stacks: Stacks {
            opened: Some(opened),
            ..Stacks::default()
        },
        truncated_stacks: vec![StackName::Opened],
        ..site(Verdict::IdlePool, "4e07408562bedb8b", 8)
    };
    report(vec![site])
}

/// Reset by the peer: gone from ss, the descriptor is not.
pub(crate) fn hidden_closed() -> Report {
    let last_used = vec![
        frame("__libc_send", "libc.so.6", ""),
        frame(
            "std::_Function_handler<void (std::error_code const&, unsigned long), \
             feed::Session::on_write(std::shared_ptr<feed::Buffer>)::{lambda(auto:1, auto:2)#1}>::\
             _M_invoke(std::_Any_data const&, std::error_code const&, unsigned long&&)",
            "feedd",
            "/home/ci/build/workspace/feed/src/net/session/session_writer.cpp:512",
        ),
        frame(
            "feed::EventLoop::run()",
            "feedd",
            "/home/ci/build/workspace/feed/src/net/loop.cpp:90",
        ),
        frame("execute_native_thread_routine", "libstdc++.so.6", ""),
        frame("start_thread", "libc.so.6", ""),
        frame("__clone3", "libc.so.6", ""),
    ];
    let hidden = |mut socket: Socket| {
        socket.state = TcpState::Close;
        socket.family = Family::Inet6;
        socket.local = "[2001:db8::5]:7000".parse().unwrap();
        socket.remote = "[2001:db8::9]:40123".parse().unwrap();
        socket
    };
    let site = Site {
        summary:
            "The peer reset 17 connections and feedd kept their descriptors; ss and netstat no \
                  longer show them."
                .to_owned(),
        evidence: text(&[
            "the kernel state is CLOSE while a descriptor is still open",
            "ECONNRESET was delivered by send() on 17 of 17 sockets; no close() followed",
        ]),
        advice: "Close the descriptor when send() fails.".to_owned(),
        process: Some(process(812, "feedd", "/usr/sbin/feedd", "feedd.service")),
        local: Some("[2001:db8::5]:7000".parse().unwrap()),
        peers: vec!["2001:db8::9".parse().unwrap()],
        growth_per_minute: Some(0.6),
        oldest_seconds: 9_260.0,
        age_is_lower_bound: true,
        blame: last_used.get(1).map(Blame::from),
        stacks: Stacks {
            last_used: Some(last_used),
            ..Stacks::default()
        },
        sockets: sockets(5).into_iter().map(hidden).collect(),
        ..site(Verdict::HiddenClosed, "ef2d127de37b942b", 17)
    };
    let mut report = report(vec![site]);
    report.totals.hidden = 17;
    report.totals.close_wait = 3;
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
        ..site(Verdict::WorkerStarvation, "2c26b46b68ffc68f", 79_705)
    };
    report(vec![site])
}

/// What is left when little could be seen: a snapshot without hooks' history.
pub(crate) fn inherited_and_unknown() -> Report {
    let holder = Holder {
        pid: 5120,
        tid: 5120,
        comm: "logrotate-hook".into(),
        state: Some('S'),
        syscall: None,
        fd: Some(12),
        since_seconds: None,
        stack: Vec::new(),
    };
    let inherited = Site {
        confidence: Confidence::Medium,
        severity: Severity::Leak,
        summary: "guacd closed 2 connections, but its child logrotate-hook still holds copies of \
                  the descriptors."
            .to_owned(),
        evidence: text(&["guacd (pid 5100) no longer has the sockets open; pid 5120 has"]),
        advice: "Open sockets with SOCK_CLOEXEC, or close them in the child before exec()."
            .to_owned(),
        growth_per_minute: None,
        age_is_lower_bound: true,
        process: Some(process(
            5120,
            "logrotate-hook",
            "/usr/bin/perl",
            "guacd.service",
        )),
        stacks: Stacks {
            holders: vec![holder],
            ..Stacks::default()
        },
        ..site(Verdict::InheritedFd, "19581e27de7ced00", 2)
    };
    let unknown = Site {
        confidence: Confidence::Low,
        severity: Severity::Suspect,
        summary: "1 socket of nginx has been stuck since before sockleak started; what led there \
                  was not seen."
            .to_owned(),
        advice: "Run `sockleak watch` while the number grows to learn where it comes from."
            .to_owned(),
        growth_per_minute: None,
        age_is_lower_bound: true,
        process: Some(process(77, "nginx", "/usr/sbin/nginx", "nginx")),
        direction: None,
        ..site(Verdict::Unknown, "4fc82b26aecb47d2", 1)
    };
    let mut report = report(vec![unknown, inherited]);
    report.window.start = report.window.end;
    report.window.events = EventCounts::default();
    report.warnings =
        text(&["a snapshot has no history: ages are lower bounds and no growth can be told"]);
    report
}

/// Several sites, a full buffer, and a kernel that allows little.
pub(crate) fn losses() -> Report {
    let mut pool = idle_pool().sites;
    let mut hidden = hidden_closed().sites;
    let mut sites = vec![eof_site()];
    sites.append(&mut pool);
    sites.append(&mut hidden);
    let mut report = report(sites);
    report.totals.hidden = 17;
    report.totals.suppressed = 4;
    report.window.events = EventCounts {
        seen: 912_345,
        submitted: 912_300,
        received: 912_300,
        lost: 45,
    };
    report.window.complete = false;
    report.hooks.push(Hook {
        status: HookStatus::Degraded,
        reason: Some(
            "attached as a tracepoint, because this kernel refuses fexit (lockdown); every system \
             call of the machine costs about 60 ns more"
                .to_owned(),
        ),
        ..hook("inet_csk_accept", "fexit")
    });
    report.hooks.push(Hook {
        status: HookStatus::Unavailable,
        reason: Some("splice() is not followed: trampolines are refused (EPERM)".to_owned()),
        ..hook("tcp_splice_read", "fexit")
    });
    report.warnings = text(&[
        "3 stacks end early: libfoo.so has no unwind information",
        "17 sockets were already stuck when sockleak started: their ages are lower bounds",
    ]);
    report
}

/// Names chosen to repaint the terminal, fake a line of output or reverse the reading order.
pub(crate) fn hostile_names() -> Report {
    let evil = "\u{1b}[2J\u{1b}[H0 leaks found\r\n\u{202e}gpj.exe\u{2066}";
    let mut site = eof_site();
    site.process = Some(process(666, "x\u{1b}]0;own\u{7}", evil, evil));
    site.summary = format!("{evil} leaks");
    site.evidence = vec![format!("{evil} was read"), "a\"} 1\n# HELP".to_owned()];
    let stack = vec![frame(evil, "lib\u{9b}31m.so", "/tmp/\u{2028}x\u{0}.c:1")];
    site.blame = stack.first().map(Blame::from);
    site.stacks.eof = Some(stack);
    let mut report = report(vec![site]);
    report.warnings = vec![format!("symbols of {evil} were not read")];
    report
}

pub(crate) fn nothing_found() -> Report {
    let mut report = report(Vec::new());
    report.totals.close_wait = 3;
    report
}
