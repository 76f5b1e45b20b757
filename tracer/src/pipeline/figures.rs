//! What goes to the metrics beside the report: figures by service, and what the tracer says of itself.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
};

use jiff::Timestamp;
use procfs::process::{LimitValue, Process as Proc};

use super::{pace::Pace, series::Series, session::Session, visits::Counts};
use crate::{
    diagnose::{Findings, Holding},
    model::{report::Report, untrusted::Untrusted},
    probe::host::Host,
    serve::published::{Map, Omitted, Process, Program, Published, Service, ServiceName, Tracer},
    source::service::{Owner, Owners},
};

pub struct Figures {
    owners: Owners,
    visits: Counts,
    series: Series,
    started: f64,
}

impl Figures {
    pub fn new(host: &Host) -> Self {
        Self {
            owners: Owners::default(),
            visits: Counts::new(host.cgroup2.clone()),
            series: Series::default(),
            started: seconds(Timestamp::now()),
        }
    }

    pub fn of(
        &mut self,
        findings: &Findings,
        session: &mut Session<'_>,
        pace: &Pace,
        http_restarts: u64,
    ) -> Published {
        let mut report = findings.report.clone();
        let owners = self.name_sites(&mut report);
        Published {
            report,
            owners,
            omitted: Omitted::default(),
            services: self.services(findings, session),
            tracer: self.tracer(findings, session, pace, http_restarts),
        }
    }

    fn services(&mut self, findings: &Findings, session: &mut Session<'_>) -> Vec<Service> {
        let end = seconds(findings.report.window.end);
        let mut by_name: BTreeMap<ServiceName, Service> = BTreeMap::new();
        for (pid, holding) in &findings.holdings.by_pid {
            let name = self.name_of(*pid);
            let service = match by_name.entry(name.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Service {
                    name,
                    ..Service::default()
                }),
            };
            add(service, *holding, end);
            let process = pid.and_then(|pid| session.tracker.process(pid));
            if let Some(process) = process.filter(|_| holding.stuck > 0) {
                let open = process.open_fds.unwrap_or(0);
                if open > service.fds_open {
                    (service.fds_open, service.fds_limit) = (open, process.fd_limit);
                }
            }
        }
        let news = self.visits.read(&mut session.live.visits, &mut self.owners);
        self.series.of(by_name, &news)
    }

    /// By the same names as services have.
    fn name_sites(&mut self, report: &mut Report) -> BTreeMap<String, ServiceName> {
        let mut owners = BTreeMap::new();
        for site in &mut report.sites {
            let Some(process) = &mut site.process else {
                continue;
            };
            let cgroup = process.cgroup.as_ref().map_or("", Untrusted::raw);
            let owner = self.owners.of(cgroup, process.comm.raw());
            process.service = Some(Untrusted::new(owner.service.clone()));
            owners.insert(site.id.clone(), service_name(&owner));
        }
        owners
    }

    fn name_of(&mut self, pid: Option<u32>) -> ServiceName {
        let owner = match pid {
            Some(pid) => self.owners.of_pid(pid),
            None => Some(Owner::named("(no process)")),
        };
        service_name(&owner.unwrap_or_else(|| Owner::named("(ended process)")))
    }

    fn tracer(
        &self,
        findings: &Findings,
        session: &Session<'_>,
        pace: &Pace,
        http_restarts: u64,
    ) -> Tracer {
        let counters = session.tracker.counters();
        let drift = session.tracker.drift();
        let named = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
            pairs
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        Tracer {
            started: self.started,
            inspected: seconds(findings.report.window.end),
            inspection_seconds: pace.took.as_secs_f64(),
            inspections: pace.inspections,
            inspections_failed: pace.failed,
            lost: named(&[
                ("ring_full", counters.lost),
                ("skipped_by_kernel", counters.missed),
                ("damaged", counters.damaged),
                ("stack_rate", counters.stacks_limited),
                ("stack_ring_full", counters.stacks_lost),
                ("map_full", counters.defects),
                ("closes_uncounted", counters.closes_uncounted),
                ("epoll_changes_lost", counters.epoll_changes_lost),
                ("sockets_not_followed", session.tracker.unfollowed()),
            ]),
            drift_unseen: drift.unseen,
            drift_vanished: drift.vanished,
            followed: session.tracker.count() as u64,
            followed_limit: crate::track::MAX_SOCKETS as u64,
            forgotten: named(&[
                ("stacks_processes_files", counters.evicted),
                ("table_slots", counters.slots_evicted),
            ]),
            remembered: session
                .remembered()
                .into_iter()
                .map(|(what, count)| (what.to_owned(), count as u64))
                .collect(),
            helper_restarts: named(&[
                ("symbolizer", session.symbolizer.helper_failures()),
                ("http", http_restarts),
            ]),
            programs: programs(session),
            maps: maps(session),
            process: own_process().unwrap_or_default(),
        }
    }
}

pub fn service_name(owner: &Owner) -> ServiceName {
    ServiceName::new(
        &owner.service,
        &owner.namespace,
        &owner.pod,
        &owner.container,
    )
}

fn add(service: &mut Service, holding: Holding, end: f64) {
    service.close_wait += holding.close_wait;
    service.stuck += holding.stuck;
    service.hidden += holding.hidden;
    service.unaccepted += holding.unaccepted;
    if holding.stuck > 0 {
        let since = end - holding.oldest as f64 / 1e9;
        service.oldest_stuck = Some(service.oldest_stuck.map_or(since, |known| known.min(since)));
    }
}

fn programs(session: &Session<'_>) -> Vec<Program> {
    let runs = session.live.program_runs().into_iter();
    runs.map(|it| Program {
        name: it.name,
        run_seconds: it.nanoseconds as f64 / 1e9,
        runs: it.runs,
    })
    .collect()
}

fn maps(session: &Session<'_>) -> Vec<Map> {
    let sizes = session.live.map_sizes.iter();
    sizes
        .map(|size| Map {
            name: size.name.clone(),
            bytes: size.bytes,
            capacity: size.capacity,
            entries: session.live.map_entries(&size.name),
        })
        .collect()
}

fn own_process() -> Option<Process> {
    let proc = Proc::myself().ok()?;
    let stat = proc.stat().ok()?;
    let limits = proc.limits().ok()?;
    let open_fds = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    Some(Process {
        cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        open_fds,
        max_fds: match limits.max_open_files.soft_limit {
            LimitValue::Value(limit) => limit,
            LimitValue::Unlimited => 0,
        },
        threads: stat.num_threads as u64,
    })
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}
