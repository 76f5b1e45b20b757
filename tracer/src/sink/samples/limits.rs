//! Reports that know little, or are made of names chosen to deceive.

use super::descriptors::{eof_site, hidden_closed, idle_pool};
use super::parts::{frame, hook, process, report, site, text};
use crate::model::report::{Blame, EventCounts, Holder, Hook, HookStatus, Report, Site, Stacks};
use crate::model::verdict::{Confidence, Severity, Verdict};

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
        name: None,
        waits_for: None,
        samples: None,
        goroutine: None,
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
        age_seconds_at_most: None,
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
        age_seconds_at_most: None,
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
