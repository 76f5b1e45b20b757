//! Diagnoses of hosts that are not this one.

use caps::Capability;

use super::*;
use crate::probe::{
    caps::FEATURES,
    hooks::Purpose,
    host::Lockdown,
    status::{State, Status},
    tracefs::{Absence, Origin},
};

fn host() -> Host {
    Host {
        kernel: "6.18.0".to_owned(),
        arch: "x86_64".to_owned(),
        btf: true,
        lockdown: Lockdown::None,
        tracefs: Ok(Origin::Mounted("/sys/kernel/tracing".into())),
        perf_event_paranoid: Some(2),
        in_user_namespace: false,
        in_pid_namespace: false,
        ptrace_scope: None,
        ..Host::probe()
    }
}

fn all() -> Held {
    FEATURES
        .iter()
        .flat_map(|feature| feature.needs)
        .copied()
        .collect()
}

fn trial(hooks: Vec<Status>) -> Trial {
    Trial {
        hooks: Some(hooks),
        iterators: vec![("tcp", Some(Ok(())))],
        helpers: Some(vec![(tracer_common::config::HAS_REGS, true)]),
        ..Trial::default()
    }
}

fn hook(name: &'static str, kind: &'static str, state: State) -> Status {
    let purpose = Purpose::Transitions;
    Status {
        name,
        purpose,
        kind,
        state,
        on_demand: false,
    }
}

fn shown(diagnosis: &Diagnosis) -> String {
    let mut out = Vec::new();
    diagnosis.write(false, false, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_host_without_limits_is_ready() {
    let hooks = vec![hook("inet_sock_set_state", "tp_btf", State::Attached)];
    let diagnosis = Diagnosis::new(&host(), &all(), true, trial(hooks));
    assert_eq!(diagnosis.verdict, Verdict::Ready);
    let text = shown(&diagnosis);
    assert!(
        text.contains("as root\nready: everything works here\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  attached     tp_btf      inet_sock_set_state\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}') && !text.contains("fix:"), "{text}");
}

#[test]
fn what_holds_for_two_hooks_is_said_once_with_its_fix() {
    let degraded = || State::Degraded {
        reason: "costs every system call".to_owned(),
    };
    let hooks = vec![
        hook("sys_exit_accept", "tracepoint", degraded()),
        hook("sys_exit_accept4", "tracepoint", degraded()),
    ];
    let diagnosis = Diagnosis::new(&host(), &all(), true, trial(hooks));
    assert_eq!(diagnosis.verdict, Verdict::Limited);
    let text = shown(&diagnosis);
    assert_eq!(text.matches("costs every system call").count(), 1, "{text}");
    assert_eq!(text.matches("CONFIG_DYNAMIC_FTRACE").count(), 1, "{text}");
}

#[test]
fn a_tracepoint_out_of_reach_has_a_fix_that_fits() {
    let lost = || {
        let reason = "tracefs not found".to_owned();
        trial(vec![hook(
            "sys_exit_accept",
            "tracepoint",
            State::Unavailable { reason },
        )])
    };
    let fix = |host: &Host, held: &Held, root| {
        let mut hooks = Diagnosis::new(host, held, root, lost()).hooks;
        hooks.pop().and_then(|check| check.fix).unwrap()
    };
    let bare: Held = [Capability::CAP_BPF, Capability::CAP_PERFMON]
        .into_iter()
        .collect();
    let without = |absence| Host {
        tracefs: Err(absence),
        ..host()
    };
    let denied = without(Absence::NotAllowed);
    assert!(fix(&denied, &bare, false).contains("cap_dac_read_search"));
    assert!(fix(&denied, &bare, true).contains("cap_sys_admin"));
    let unmounted = without(Absence::NotOffered);
    assert!(fix(&unmounted, &bare, false).starts_with("mount -t tracefs"));
    let paranoid = Host {
        perf_event_paranoid: Some(3),
        ..host()
    };
    assert!(fix(&paranoid, &bare, true).contains("perf_event_paranoid=2"));
    assert!(fix(&host(), &all(), true).contains("CONFIG_FTRACE_SYSCALLS"));
}

#[test]
fn what_another_way_makes_needless_is_no_limit() {
    let hooks = vec![hook("inet_csk_accept", "fexit", State::Attached)];
    let unmounted = Host {
        tracefs: Err(Absence::NotOffered),
        ..host()
    };
    let diagnosis = Diagnosis::new(&unmounted, &all(), true, trial(hooks));
    assert_eq!(diagnosis.verdict, Verdict::Ready);
    assert!(shown(&diagnosis).contains("missing, but accept sites work here without"));
}

#[test]
fn without_privilege_it_says_what_it_can() {
    let problem = privilege::check(&host(), &Held::default(), false).err();
    let untried = Trial {
        problem,
        iterators: vec![("tcp", None)],
        ..Trial::default()
    };
    let diagnosis = Diagnosis::new(&host(), &Held::default(), false, untried);
    assert_eq!(diagnosis.verdict, Verdict::Unusable);
    let text = shown(&diagnosis);
    assert!(text.contains("not as root\ncannot trace here\n"), "{text}");
    assert!(
        text.contains("tracing needs CAP_BPF and CAP_PERFMON"),
        "{text}"
    );
    assert!(
        text.contains("  untested     tp_btf      inet_sock_set_state"),
        "{text}"
    );
    assert_eq!(
        text.matches("fix: run it with sudo, or give").count(),
        1,
        "{text}"
    );
}

#[test]
fn the_json_has_one_shape_for_every_check() {
    let diagnosis = Diagnosis::new(&host(), &Held::default(), false, trial(Vec::new()));
    let mut out = Vec::new();
    diagnosis.write(true, false, &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["schema"], "sockleak.doctor/1");
    assert_eq!(json["verdict"], "limited");
    assert_eq!(json["capabilities"][0]["needs"][0], "CAP_BPF");
    assert_eq!(json["capabilities"][0]["status"], "missing");
    for section in ["host", "capabilities", "iterators", "helpers"] {
        assert!(json[section][0]["name"].is_string(), "{section}: {json:#}");
    }
}
