//! What the tracer says of itself: is it complete, what does it cost, what did it lose.

use std::collections::BTreeMap;

use prometheus_client::metrics::MetricType::{Counter, Gauge, Info};

use super::{Family, Sample, Value};
use crate::{
    model::{report::Danger, untrusted::Untrusted},
    serve::published::{Map, Published, is_over},
};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "sockleak_sockets",
        kind: Gauge,
        labels: &["state"],
        help: "Sockets of the whole host: in CLOSE_WAIT; stuck; closed by the kernel with their descriptor still open \
               (hidden); never accepted.",
        bound: "4",
        samples: |published, _| {
            let totals = &published.report.totals;
            [
                ("close_wait", totals.close_wait),
                ("stuck", totals.stuck),
                ("hidden", totals.hidden),
                ("unaccepted", totals.unaccepted),
            ]
            .into_iter()
            .map(|(state, count)| Sample::now(count).with("state", state))
            .collect()
        },
    },
    Family {
        name: "sockleak_about_to_be_stuck",
        kind: Gauge,
        labels: &["danger"],
        help: "Open connections that are likely to get stuck: not read, with a receive window of 0 (window-closed); with \
               a peer that does not answer keepalive probes (peer-silent).",
        bound: "2",
        samples: |published, _| {
            let count = |danger: Danger| {
                let all = published.report.about_to_be_stuck.iter();
                let of = all.filter(|entry| entry.danger == danger);
                Sample::now(of.map(|entry| entry.count).sum::<u64>()).with("danger", danger.name())
            };
            vec![count(Danger::WindowClosed), count(Danger::PeerSilent)]
        },
    },
    Family {
        name: "sockleak_findings",
        kind: Gauge,
        labels: &["severity"],
        help: "Sites of the report that are not over, by how grave they are.",
        bound: "3",
        samples: |published, _| {
            let mut by_severity: BTreeMap<&str, u64> = ["leak", "suspect", "info"]
                .into_iter()
                .map(|name| (name, 0))
                .collect();
            for site in published.report.sites.iter().filter(|site| !is_over(site)) {
                *by_severity.entry(site.severity.name()).or_default() += 1;
            }
            let severities = by_severity.into_iter();
            severities
                .map(|(name, count)| Sample::now(count).with("severity", name))
                .collect()
        },
    },
    Family {
        name: "sockleak_sites_omitted",
        kind: Gauge,
        labels: &[],
        help: "Sites beyond the 500 that a report holds here, the least grave.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.omitted.sites)],
    },
    Family {
        name: "sockleak_report_complete",
        kind: Gauge,
        labels: &[],
        help: "1 when nothing was lost that was not repaired: only then does no finding mean that nothing leaks.",
        bound: "1",
        samples: |published, _| vec![Sample::now(u64::from(published.report.window.complete))],
    },
    Family {
        name: "sockleak_warnings",
        kind: Gauge,
        labels: &[],
        help: "Ways in which the report knows less than it could; the report says which.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.report.warnings.len() as u64)],
    },
    Family {
        name: "sockleak_events",
        kind: Counter,
        labels: &["stage"],
        help: "What the kernel program had to tell: seen by it, submitted to user space, received there.",
        bound: "3",
        samples: |published, _| {
            let events = &published.report.window.events;
            [
                ("seen", events.seen),
                ("submitted", events.submitted),
                ("received", events.received),
            ]
            .into_iter()
            .map(|(stage, count)| Sample::total(count).with("stage", stage))
            .collect()
        },
    },
    Family {
        name: "sockleak_lost",
        kind: Counter,
        labels: &["cause"],
        help: "What did not arrive, or was not recorded, by cause. After a loss the iterators repair the table.",
        bound: "10",
        samples: |published, _| counted(&published.tracer.lost, "cause"),
    },
    Family {
        name: "sockleak_forgotten",
        kind: Counter,
        labels: &["what"],
        help: "What was forgotten to stay within the bounds of memory.",
        bound: "10",
        samples: |published, _| counted(&published.tracer.forgotten, "what"),
    },
    Family {
        name: "sockleak_remembered",
        kind: Gauge,
        labels: &["what"],
        help: "What the tracer keeps in its memory, by kind: each has a bound, so none goes on growing.",
        bound: "20",
        samples: |published, _| {
            let remembered = published.tracer.remembered.iter();
            remembered
                .map(|(what, count)| Sample::now(*count).with("what", what))
                .collect()
        },
    },
    Family {
        name: "sockleak_drift",
        kind: Counter,
        labels: &["kind"],
        help: "Stuck sockets that only the iterators found (unseen), and followed ones that were gone without an event \
               (vanished).",
        bound: "2",
        samples: |published, _| {
            vec![
                Sample::total(published.tracer.drift_unseen).with("kind", "unseen"),
                Sample::total(published.tracer.drift_vanished).with("kind", "vanished"),
            ]
        },
    },
    Family {
        name: "sockleak_followed_sockets",
        kind: Gauge,
        labels: &[],
        help: "Sockets that are followed one by one, because they are or were stuck.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.tracer.followed)],
    },
    Family {
        name: "sockleak_followed_sockets_max",
        kind: Gauge,
        labels: &[],
        help: "How many can be.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.tracer.followed_limit)],
    },
    Family {
        name: "sockleak_inspections",
        kind: Counter,
        labels: &["result"],
        help: "Inspections: comparisons with all sockets that exist, and everything that is asked for a report.",
        bound: "2",
        samples: |published, _| {
            vec![
                Sample::total(published.tracer.inspections).with("result", "done"),
                Sample::total(published.tracer.inspections_failed).with("result", "failed"),
            ]
        },
    },
    Family {
        name: "sockleak_inspection_seconds",
        kind: Gauge,
        labels: &[],
        help: "How long the last inspection took.",
        bound: "1",
        samples: |published, _| vec![Sample::of(Value::Now(published.tracer.inspection_seconds))],
    },
    Family {
        name: "sockleak_last_inspection_timestamp_seconds",
        kind: Gauge,
        labels: &[],
        help: "When it ended. It is at most about 30 s ago while the tracer works.",
        bound: "1",
        samples: |published, _| vec![Sample::of(Value::Now(published.tracer.inspected))],
    },
    Family {
        name: "sockleak_helper_restarts",
        kind: Counter,
        labels: &["helper"],
        help: "How often a process had to be started again: the one that reads program files (symbolizer), or the one \
               that answers requests (http).",
        bound: "2",
        samples: |published, _| counted(&published.tracer.helper_restarts, "helper"),
    },
    Family {
        name: "sockleak_hook",
        kind: Gauge,
        labels: &["hook", "kind", "status"],
        help: "1 for the status that each hook has: attached, standby (put on once something is \
               stuck), degraded or unavailable. `sockleak doctor` says why.",
        bound: "20",
        samples: |published, _| {
            let hooks = published.report.hooks.iter();
            hooks
                .map(|hook| {
                    Sample::now(1)
                        .with("hook", &hook.name)
                        .with("kind", &hook.kind)
                        .with("status", hook.status.name())
                })
                .collect()
        },
    },
    Family {
        name: "sockleak_bpf_run_seconds",
        kind: Counter,
        labels: &["program"],
        help: "Time that the kernel spent in each program. The kernel counts it only with kernel.bpf_stats_enabled=1; \
               absent otherwise.",
        bound: "30",
        samples: |published, _| {
            let programs = published
                .tracer
                .programs
                .iter()
                .filter(|program| program.runs > 0);
            programs
                .map(|it| Sample::of(Value::Total(it.run_seconds)).with("program", &it.name))
                .collect()
        },
    },
    Family {
        name: "sockleak_bpf_runs",
        kind: Counter,
        labels: &["program"],
        help: "How often each program ran, counted as above.",
        bound: "30",
        samples: |published, _| {
            let programs = published
                .tracer
                .programs
                .iter()
                .filter(|program| program.runs > 0);
            programs
                .map(|it| Sample::total(it.runs).with("program", &it.name))
                .collect()
        },
    },
    Family {
        name: "sockleak_bpf_map_bytes",
        kind: Gauge,
        labels: &["map"],
        help: "Memory of each map of the kernel program. It is charged to the cgroup that started the tracer.",
        bound: "40",
        samples: |published, _| maps(published, |map| Some(map.bytes)),
    },
    Family {
        name: "sockleak_bpf_map_entries",
        kind: Gauge,
        labels: &["map"],
        help: "Entries in use, of maps whose entries can be counted cheaply.",
        bound: "40",
        samples: |published, _| maps(published, |map| map.entries),
    },
    Family {
        name: "sockleak_bpf_map_entries_max",
        kind: Gauge,
        labels: &["map"],
        help: "Entries that each map has room for.",
        bound: "40",
        samples: |published, _| maps(published, |map| Some(map.capacity)),
    },
    Family {
        name: "sockleak_build",
        kind: Info,
        labels: &["version", "bpf_object_sha256", "kernel"],
        help: "The version that runs, its kernel program, and the kernel that it runs on.",
        bound: "1",
        samples: |published, _| {
            let tool = &published.report.tool;
            let object = tool.bpf_object_sha256.clone().unwrap_or_default();
            vec![
                Sample::of(Value::Info)
                    .with("version", &tool.version)
                    .with("bpf_object_sha256", &object)
                    .with_untrusted(
                        "kernel",
                        &Untrusted::new(published.report.host.kernel.clone()),
                    ),
            ]
        },
    },
    Family {
        name: "process_cpu_seconds",
        kind: Counter,
        labels: &[],
        help: "User and system time of the tracer.",
        bound: "1",
        samples: |published, _| {
            vec![Sample::of(Value::Total(
                published.tracer.process.cpu_seconds,
            ))]
        },
    },
    Family {
        name: "process_resident_memory_bytes",
        kind: Gauge,
        labels: &[],
        help: "Memory of the tracer that is in use.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.tracer.process.resident_bytes)],
    },
    Family {
        name: "process_virtual_memory_bytes",
        kind: Gauge,
        labels: &[],
        help: "Memory of the tracer that is mapped.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.tracer.process.virtual_bytes)],
    },
    Family {
        name: "process_open_fds",
        kind: Gauge,
        labels: &[],
        help: "Open descriptors of the tracer.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.tracer.process.open_fds)],
    },
    Family {
        name: "process_max_fds",
        kind: Gauge,
        labels: &[],
        help: "Its limit of descriptors.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.tracer.process.max_fds)],
    },
    Family {
        name: "process_threads",
        kind: Gauge,
        labels: &[],
        help: "Threads of the tracer.",
        bound: "1",
        samples: |published, _| vec![Sample::now(published.tracer.process.threads)],
    },
    Family {
        name: "process_start_time_seconds",
        kind: Gauge,
        labels: &[],
        help: "When the tracer was started.",
        bound: "1",
        samples: |published, _| vec![Sample::of(Value::Now(published.tracer.started))],
    },
];

fn counted(counts: &[(String, u64)], label: &'static str) -> Vec<Sample> {
    let counts = counts.iter();
    counts
        .map(|(name, count)| Sample::total(*count).with(label, name))
        .collect()
}

fn maps(published: &Published, value: impl Fn(&Map) -> Option<u64>) -> Vec<Sample> {
    let maps = published.tracer.maps.iter();
    maps.filter_map(|map| Some(Sample::now(value(map)?).with("map", &map.name)))
        .collect()
}
