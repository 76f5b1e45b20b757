//! What the tracer hands to the process that answers requests, after each inspection: the finished report and
//! the figures that are not in it. Plain data; it crosses a pipe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::label::label;
use crate::model::{
    report::{Report, Site},
    untrusted::Untrusted,
    verdict::Verdict,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    pub report: Report,
    /// Whose each site is, by its id.
    pub owners: BTreeMap<String, ServiceName>,
    pub omitted: Omitted,
    pub services: Vec<Service>,
    pub tracer: Tracer,
}

/// Sites that a bound kept out of the report, the least grave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Omitted {
    pub sites: u64,
    /// Sockets of those that are not over.
    pub stuck: u64,
    pub oldest_seconds: f64,
}

impl Published {
    /// So that one report has a size that can be handed over.
    pub fn bound(&mut self, max_sites: usize) {
        let sites = &mut self.report.sites;
        let rest = sites.split_off(sites.len().min(max_sites));
        self.omitted.sites = rest.len() as u64;
        for site in &rest {
            self.owners.remove(&site.id);
            if !is_over(site) {
                self.omitted.stuck += site.count;
                self.omitted.oldest_seconds = self.omitted.oldest_seconds.max(site.oldest_seconds);
            }
        }
    }
}

/// Services that have series of their own; a host has some hundred units or pods.
pub const MAX_SERVICES: usize = 500;
/// The one value that stands for all beyond a bound.
pub const OTHER: &str = "other";

/// Whose sockets: the most specific name that is known of the owner, as the labels have it, so that what is one series is
/// one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceName {
    /// systemd unit, container, or the name of the process.
    pub service: Untrusted,
    /// Of Kubernetes; empty elsewhere.
    pub namespace: Untrusted,
    pub pod: Untrusted,
    pub container: Untrusted,
}

impl ServiceName {
    pub fn new(service: &str, namespace: &str, pod: &str, container: &str) -> Self {
        Self {
            service: label(service),
            namespace: label(namespace),
            pod: label(pod),
            container: label(container),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    pub close_wait: u64,
    pub stuck: u64,
    pub hidden: u64,
    pub unaccepted: u64,
    /// Seconds since 1970; `None` when nothing is stuck.
    pub oldest_stuck: Option<f64>,
    /// Of processes that hold stuck sockets.
    pub fds_open: u64,
    pub fds_limit: Option<u64>,
    /// Entries into `CLOSE_WAIT`, counted by the kernel program.
    pub entered: u64,
    /// Time spent there, of those that have left it.
    pub stays: Stays,
}

/// A histogram whose buckets are powers of two of a second, so that it is a classic and a native one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stays {
    /// Not cumulative.
    pub buckets: Vec<u64>,
    pub sum_seconds: f64,
}

/// The tracer about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracer {
    pub started: f64,
    pub inspected: f64,
    pub inspection_seconds: f64,
    pub inspections: u64,
    pub inspections_failed: u64,
    /// Cause and count of what did not arrive.
    pub lost: Vec<(String, u64)>,
    /// What the iterators found that no event had announced, and the reverse.
    pub drift_unseen: u64,
    pub drift_vanished: u64,
    pub followed: u64,
    pub followed_limit: u64,
    pub forgotten: Vec<(String, u64)>,
    /// What the tracer keeps in its memory, and how many of them.
    pub remembered: Vec<(String, u64)>,
    pub helper_restarts: Vec<(String, u64)>,
    pub programs: Vec<Program>,
    pub maps: Vec<Map>,
    pub process: Process,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub name: String,
    /// Zero unless `kernel.bpf_stats_enabled` is 1.
    pub run_seconds: f64,
    pub runs: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Map {
    pub name: String,
    pub bytes: u64,
    pub capacity: u64,
    /// Where it can be counted.
    pub entries: Option<u64>,
}

/// Of the tracer itself, by /proc/self.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
    pub threads: u64,
}

/// None of its sockets exists any more.
pub fn is_over(site: &Site) -> bool {
    site.over.is_some() || site.verdict == Verdict::ClosedAtExit
}
