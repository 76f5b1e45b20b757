//! What each service has: sockets by state, how old, how many descriptors, and its visits to `CLOSE_WAIT`.

use prometheus_client::metrics::MetricType::{Counter, Gauge, Histogram};

use super::{Family, Sample, Value};
use crate::serve::published::{Published, Service};

const LABELS: &[&str] = &["service", "namespace", "pod", "container"];
const BOUND: &str = "500 services, and one for all others";

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "sockleak_service_sockets",
        kind: Gauge,
        labels: &["service", "namespace", "pod", "container", "state"],
        help: "Sockets in a state of interest: in CLOSE_WAIT, or closed by the kernel while their descriptor is still \
               open (hidden), which no other tool shows.",
        bound: "2 × (500 services, and one for all others)",
        samples: |published, _| {
            let mut samples = each(
                published,
                |service| Some(service.close_wait as f64),
                "close_wait",
            );
            samples.extend(each(
                published,
                |service| Some(service.hidden as f64),
                "hidden",
            ));
            samples
        },
    },
    Family {
        name: "sockleak_service_stuck_sockets",
        kind: Gauge,
        labels: LABELS,
        help: "Sockets that are in CLOSE_WAIT, or hidden, for longer than --min-age.",
        bound: BOUND,
        samples: |published, _| each(published, |service| Some(service.stuck as f64), ""),
    },
    Family {
        name: "sockleak_service_unaccepted_sockets",
        kind: Gauge,
        labels: LABELS,
        help: "Stuck connections that nobody has accepted: the peer has gone while they waited in the listener's queue.",
        bound: BOUND,
        samples: |published, _| each(published, |service| Some(service.unaccepted as f64), ""),
    },
    Family {
        name: "sockleak_service_oldest_stuck_timestamp_seconds",
        kind: Gauge,
        labels: LABELS,
        help: "When the oldest socket that is still stuck got stuck, at the latest. Absent when nothing is.",
        bound: BOUND,
        samples: |published, _| each(published, |service| service.oldest_stuck, ""),
    },
    Family {
        name: "sockleak_service_open_fds",
        kind: Gauge,
        labels: LABELS,
        help: "Open descriptors of the process of the service that is nearest to its limit, among those that hold stuck \
               sockets. Absent when there is none.",
        bound: BOUND,
        samples: |published, _| each(published, |service| leaking(service, service.fds_open), ""),
    },
    Family {
        name: "sockleak_service_max_fds",
        kind: Gauge,
        labels: LABELS,
        help: "Limit of descriptors of that process.",
        bound: BOUND,
        samples: |published, _| {
            each(
                published,
                |service| service.fds_limit.and_then(|limit| leaking(service, limit)),
                "",
            )
        },
    },
    Family {
        name: "sockleak_service_close_wait_entries",
        kind: Counter,
        labels: LABELS,
        help: "Sockets that got into CLOSE_WAIT, counted in the kernel by the cgroup of the socket. Healthy ones are \
               among them.",
        bound: BOUND,
        samples: |published, _| {
            let services = published.services.iter();
            services
                .filter(|service| !service.stays.buckets.is_empty())
                .map(|service| named(service, Value::Total(service.entered as f64)))
                .collect()
        },
    },
    Family {
        name: "sockleak_service_close_wait_seconds",
        kind: Histogram,
        labels: LABELS,
        help: "How long sockets were in CLOSE_WAIT that have left it, by the cgroup of the socket.",
        bound: "26 buckets, a sum and a count for each of 500 services, and one for all others",
        samples: |published, _| {
            let services = published.services.iter();
            services
                .filter(|service| !service.stays.buckets.is_empty())
                .map(|service| named(service, Value::Stays(service.stays.clone())))
                .collect()
        },
    },
];

fn leaking(service: &Service, value: u64) -> Option<f64> {
    (service.fds_open > 0).then_some(value as f64)
}

fn each(
    published: &Published,
    value: impl Fn(&Service) -> Option<f64>,
    state: &'static str,
) -> Vec<Sample> {
    let services = published.services.iter();
    services
        .filter_map(|service| {
            let sample = named(service, Value::Now(value(service)?));
            Some(match state {
                "" => sample,
                state => sample.with("state", state),
            })
        })
        .collect()
}

fn named(service: &Service, value: Value) -> Sample {
    Sample::of(value).with_owner(&service.name)
}
