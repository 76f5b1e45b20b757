//! Pieces of sample reports with ordinary values; each sample changes what matters to it.

use jiff::Timestamp;

use crate::model::cookie::Cookie;
use crate::model::report::{
    Direction, EventCounts, Family, FdRef, Hook, HookStatus, Host, Process, Report, SchemaId, Site,
    Socket, Stacks, Tool, Totals, Window,
};
use crate::model::stack::Frame;
use crate::model::tcp_state::TcpState;
use crate::model::verdict::{Confidence, Severity, Verdict};

pub(super) fn time(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

pub(super) fn hook(name: &str, kind: &str) -> Hook {
    let (name, kind) = (name.to_owned(), kind.to_owned());
    Hook {
        name,
        kind,
        status: HookStatus::Attached,
        reason: None,
    }
}

pub(super) fn report(sites: Vec<Site>) -> Report {
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
            exit_age_seconds: None,
        },
        totals: Totals {
            close_wait: stuck + 3,
            stuck,
            ..Totals::default()
        },
        sites,
        about_to_be_stuck: Vec::new(),
        warnings: Vec::new(),
    }
}

pub(super) fn site(verdict: Verdict, id: &str, count: u64) -> Site {
    Site {
        id: id.to_owned(),
        fingerprint: format!("1-{id}"),
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
        age_seconds_at_most: Some(812.345),
        growth_per_minute: Some(4.2),
        process: Some(process(
            4242,
            "leaky-server",
            "/opt/leaky/bin/leaky-server",
            "leaky.service",
        )),
        processes: 1,
        local: Some("10.0.0.5:11112".parse().unwrap()),
        ports: vec![11112],
        peers: vec!["10.0.0.9".parse().unwrap()],
        direction: Some(Direction::Accepted),
        blame: None,
        stacks: Stacks::default(),
        truncated_stacks: Vec::new(),
        siblings_closed: None,
        sockets: sockets(count.min(5)),
        sockets_omitted: count.saturating_sub(5),
        over: None,
        upstream: None,
        pool: None,
        relief: None,
        listeners: None,
        runs: None,
    }
}

pub(super) fn process(pid: u32, comm: &str, exe: &str, service: &str) -> Process {
    Process {
        pid,
        start_time: Some(time("08:12:44.25")),
        comm: comm.into(),
        exe: Some(exe.into()),
        service: Some(service.into()),
        cgroup: Some(format!("/system.slice/{service}").into()),
        cmdline: None,
    }
}

pub(super) fn sockets(number: u64) -> Vec<Socket> {
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
        age_seconds_at_most: Some(812.345 - nth as f64 * 14.0),
        recv_q: Some(0),
        send_q: Some(0),
        fds: vec![FdRef {
            pid: 4242,
            fd: 7 + nth as i32,
        }],
    };
    (0..number).map(one).collect()
}

pub(super) fn frame(function: &str, module: &str, source: &str) -> Frame {
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
        runtime: None,
        tier: None,
        of_system: false,
        of_coroutine: false,
    }
}

pub(super) fn text(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}
