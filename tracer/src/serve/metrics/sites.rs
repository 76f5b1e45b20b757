//! What leaks where: the sites with most stuck sockets by fingerprint, all others as one.

use std::collections::BTreeMap;

use prometheus_client::metrics::MetricType::{Gauge, Info};

use super::{Family, Limits, OTHER, Sample, Value};
use crate::{
    model::{report::Site, untrusted::Untrusted},
    serve::published::{Published, ServiceName, is_over},
};

const BOUND: &str = "--max-sites (default 50), and one for all others";

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "sockleak_site_stuck",
        kind: Gauge,
        labels: &["site"],
        help: "Stuck sockets of a site: one place in the code of one program, one cause. The label is the fingerprint \
               of the report, which is the same on every host.",
        bound: BOUND,
        samples: |published, limits| {
            places(published, limits)
                .into_iter()
                .map(|place| Sample::now(place.stuck).with("site", &place.site))
                .collect()
        },
    },
    Family {
        name: "sockleak_site_growth_per_minute",
        kind: Gauge,
        labels: &["site"],
        help: "How fast they become more, over the time that the tracer has watched. Absent while that is too short.",
        bound: BOUND,
        samples: |published, limits| {
            let places = places(published, limits).into_iter();
            places
                .filter_map(|place| {
                    Some(Sample::of(Value::Now(place.growth?)).with("site", &place.site))
                })
                .collect()
        },
    },
    Family {
        name: "sockleak_site_oldest_timestamp_seconds",
        kind: Gauge,
        labels: &["site"],
        help: "When the oldest socket of the site got stuck, at the latest.",
        bound: BOUND,
        samples: |published, limits| {
            let places = places(published, limits).into_iter();
            places
                .map(|place| Sample::of(Value::Now(place.oldest)).with("site", &place.site))
                .collect()
        },
    },
    Family {
        name: "sockleak_site",
        kind: Info,
        labels: &[
            "site",
            "verdict",
            "confidence",
            "severity",
            "function",
            "module",
            "build_id",
            "service",
            "namespace",
            "pod",
            "container",
        ],
        help: "What the site is, and whose: of several services that share it, the one with most of its sockets. Join it by \
               the label site.",
        bound: "--max-sites (default 50)",
        samples: |published, limits| {
            let places = places(published, limits).into_iter();
            places
                .filter_map(|place| {
                    let site = place.worst?;
                    Some(info(&place.site, site, published.owners.get(&site.id)))
                })
                .collect()
        },
    },
];

struct Place<'a> {
    site: String,
    stuck: u64,
    growth: Option<f64>,
    /// Seconds since 1970.
    oldest: f64,
    /// `None` for all others together.
    worst: Option<&'a Site>,
}

/// Sites of the same fingerprint are one here: the same code, in several programs or at several ports.
fn places(published: &Published, limits: Limits) -> Vec<Place<'_>> {
    let end = published.report.window.end.as_millisecond() as f64 / 1e3;
    let mut by_site: BTreeMap<String, Place<'_>> = BTreeMap::new();
    for site in published.report.sites.iter().filter(|site| !is_over(site)) {
        let place = Place {
            site: fingerprint(site).to_owned(),
            stuck: site.count,
            growth: site.growth_per_minute,
            oldest: end - site.oldest_seconds,
            worst: Some(site),
        };
        match by_site.get_mut(&place.site) {
            Some(known) => known.add(&place),
            None => {
                by_site.insert(place.site.clone(), place);
            }
        }
    }
    let mut places: Vec<Place<'_>> = by_site.into_values().collect();
    places.sort_by(|one, other| {
        other
            .stuck
            .cmp(&one.stuck)
            .then_with(|| one.site.cmp(&other.site))
    });
    let rest = places.split_off(places.len().min(limits.max_sites));
    let mut other: Option<Place<'_>> = None;
    for place in rest {
        match &mut other {
            Some(other) => other.add(&place),
            None => other = Some(place),
        }
    }
    let omitted = &published.omitted;
    if omitted.stuck > 0 {
        let all = Place {
            site: OTHER.to_owned(),
            stuck: omitted.stuck,
            growth: None,
            oldest: end - omitted.oldest_seconds,
            worst: None,
        };
        match &mut other {
            Some(other) => other.add(&all),
            None => other = Some(all),
        }
    }
    places.extend(other.map(|all| Place {
        site: OTHER.to_owned(),
        worst: None,
        ..all
    }));
    places
}

impl Place<'_> {
    fn add(&mut self, more: &Self) {
        self.stuck += more.stuck;
        self.oldest = self.oldest.min(more.oldest);
        self.growth = match (self.growth, more.growth) {
            (Some(one), Some(other)) => Some(one + other),
            (known, None) | (None, known) => known,
        };
    }
}

fn fingerprint(site: &Site) -> &str {
    &site.fingerprint
}

fn info(label: &str, site: &Site, owner: Option<&ServiceName>) -> Sample {
    let mut sample = Sample::of(Value::Info)
        .with("site", label)
        .with("verdict", site.verdict.name())
        .with("confidence", site.confidence.name())
        .with("severity", site.severity.name());
    if let Some(blame) = &site.blame {
        sample = sample.with_untrusted("function", &blame.function);
        if let Some(module) = &blame.module {
            sample = sample.with_untrusted("module", module);
        }
    }
    if let Some(build_id) = build_id(site) {
        sample = sample.with_untrusted("build_id", &Untrusted::new(build_id));
    }
    match owner {
        Some(owner) => sample.with_owner(owner),
        None => sample,
    }
}

/// Of the module that is blamed, from whichever stack shows it.
fn build_id(site: &Site) -> Option<&str> {
    let blame = site.blame.as_ref()?;
    if let Some(known) = &blame.build_id {
        return Some(known);
    }
    let module = blame.module.as_ref()?.raw();
    let stacks = [
        &site.stacks.opened,
        &site.stacks.eof,
        &site.stacks.last_used,
    ];
    let holders = site.stacks.holders.iter().map(|holder| &holder.stack);
    let frames = stacks.into_iter().flatten().chain(holders).flatten();
    let mut of_module = frames.filter(|frame| frame.module.as_deref() == Some(module));
    of_module.find_map(|frame| frame.build_id.as_deref())
}
