//! Leaks of one function: a descriptor that nobody closes.

use super::parts::{frame, process, report, site, sockets, text};
use crate::model::cookie::Cookie;
use crate::model::report::{
    AboutToBeStuck, Blame, Danger, Direction, EndangeredSocket, Family, Report, Site, Socket,
    StackName, Stacks,
};
use crate::model::stack::Frame;
use crate::model::tcp_state::TcpState;
use crate::model::verdict::{Confidence, Severity, Verdict};

/// A C server that takes `read() == 0` for "nothing yet".
pub(super) fn eof_site() -> Site {
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
        age_seconds_at_most: None,
        growth_per_minute: Some(0.01),
        process: Some(process(
            3001,
            "billing-worker",
            "/opt/billing/billing-worker",
            "billing.service",
        )),
        processes: 4,
        local: None,
        ports: vec![5432],
        peers: vec!["203.0.113.4".parse().unwrap()],
        direction: Some(Direction::Connected),
        blame: opened.get(1).map(Blame::from),
        stacks: Stacks {
            opened: Some(opened),
            ..Stacks::default()
        },
        truncated_stacks: vec![StackName::Opened],
        siblings_closed: None,
        ..site(Verdict::IdlePool, "4e07408562bedb8b", 8)
    };
    let mut report = report(vec![site]);
    report.about_to_be_stuck = vec![not_read_any_more()];
    report
}

fn not_read_any_more() -> AboutToBeStuck {
    AboutToBeStuck {
        danger: Danger::WindowClosed,
        summary: "2 open connections were not read while watched (1m 30s) and have no room left"
            .to_owned(),
        count: 2,
        process: Some(process(
            3007,
            "billing-api",
            "/opt/billing/billing-api",
            "billing.service",
        )),
        sockets: vec![EndangeredSocket {
            cookie: Cookie(0x77),
            netns: 4_026_531_840,
            local: "10.0.0.5:8080".parse().unwrap(),
            remote: "203.0.113.4:40112".parse().unwrap(),
            watched_seconds: 90.0,
            last_data_seconds: Some(91.5),
            recv_q: 131_072,
            probes: 0,
        }],
        sockets_omitted: 1,
    }
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
        age_seconds_at_most: None,
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
