use std::{collections::BTreeMap, path::Path};

use super::*;
use crate::{
    serve::published::{Omitted, Service, ServiceName, Tracer},
    sink::samples,
};

/// A name that would end the label, the line and the reader's order of letters.
const HOSTILE: &str = "a\"} 1\n# TYPE x counter\nx 1\u{1b}[31m\u{202e}\\";

fn published() -> Published {
    Published {
        report: samples::eof_ignored(),
        owners: BTreeMap::new(),
        omitted: Omitted::default(),
        services: vec![Service {
            name: ServiceName {
                service: Untrusted::new(HOSTILE),
                ..ServiceName::default()
            },
            close_wait: 7,
            stuck: 5,
            oldest_stuck: Some(1.8e9),
            entered: 9,
            stays: Stays {
                buckets: (0..26).collect(),
                sum_seconds: 12.5,
            },
            ..Service::default()
        }],
        tracer: Tracer::default(),
    }
}

fn text(published: Published, max_sites: usize, form: Form) -> String {
    let encoded = encode(Arc::new(published), Limits { max_sites }, form);
    String::from_utf8(encoded).unwrap()
}

/// Sums the samples of one family.
fn sum(text: &str, name: &str) -> f64 {
    let samples = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    samples
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

#[test]
fn the_reference_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let made = reference::reference();
    if std::env::var_os("SOCKLEAK_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/metrics.md is out of date: SOCKLEAK_WRITE_DOCS=1 cargo test -p tracer --lib the_reference"
    );
}

#[test]
fn names_and_labels_keep_to_the_conventions() {
    let mut names: Vec<String> = families().map(reference::name).collect();
    for name in &names {
        assert!(
            name.starts_with("sockleak_") || name.starts_with("process_"),
            "{name}"
        );
        assert!(
            name.bytes()
                .all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }
    let labels = families().flat_map(|family| family.labels);
    for label in labels {
        assert!(
            ![
                "pid", "tid", "address", "addr", "ip", "port", "cookie", "peer"
            ]
            .contains(label),
            "{label}"
        );
    }
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn hostile_text_stays_in_its_label_and_is_cut() {
    let mut published = published();
    published.services[0].name.pod = Untrusted::new("p".repeat(4000));
    for form in [Form::Text, Form::OpenMetrics] {
        let text = text(published.clone(), 50, form);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        for line in text.lines() {
            let known = line.starts_with("# ")
                || line.starts_with("sockleak_")
                || line.starts_with("process_");
            assert!(known, "{line}");
        }
        let of_service = text
            .lines()
            .find(|line| line.starts_with("sockleak_service_stuck"))
            .unwrap();
        assert!(of_service.contains("service=\"a\\\"} 1"), "{of_service}");
        assert!(of_service.ends_with("} 5.0"), "{of_service}");
        let pod = of_service.split("pod=\"").nth(1).unwrap();
        assert_eq!(pod.split('"').next().unwrap().chars().count(), MAX_LABEL);
    }
}

#[test]
fn beyond_the_bound_sites_are_other_and_nothing_is_lost() {
    let mut published = published();
    let one = published.report.sites[0].clone();
    published.report.sites = (0..1000)
        .map(|index| {
            let mut site = one.clone();
            site.fingerprint = format!("{index:016x}");
            site.count = index + 1;
            site
        })
        .collect();
    // Half of them are not even handed over.
    published.bound(500);
    assert_eq!(published.omitted.sites, 500);
    let text = text(published, 50, Form::Text);
    let series = text
        .lines()
        .filter(|line| line.starts_with("sockleak_site_stuck{"));
    assert_eq!(series.count(), 51);
    assert!((sum(&text, "sockleak_site_stuck") - 500_500.0).abs() < 0.5);
    assert!(text.contains("sockleak_site_stuck{site=\"other\"}"));
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("sockleak_site_info{"))
            .count(),
        50
    );
}

#[test]
fn a_site_is_of_the_service_that_its_sockets_are_of() {
    let mut published = published();
    let owner = ServiceName::new("web-app", "prod", "shop-7d9f", "web-app");
    let site = &published.report.sites[0];
    published.owners.insert(site.id.clone(), owner.clone());
    published.services[0].name = owner;
    let text = text(published, 50, Form::Text);
    let owner = "service=\"web-app\",namespace=\"prod\",pod=\"shop-7d9f\",container=\"web-app\"}";
    for family in ["sockleak_site_info{", "sockleak_service_stuck_sockets{"] {
        let line = text.lines().find(|line| line.starts_with(family)).unwrap();
        assert!(line.contains(owner), "{line}");
    }
}

#[test]
fn a_histogram_is_cumulative_and_counts_all() {
    let text = text(published(), 50, Form::Text);
    let count = 25.0 * 26.0 / 2.0;
    assert!((sum(&text, "sockleak_service_close_wait_seconds_count") - count).abs() < 0.5);
    let last = text
        .lines()
        .rfind(|line| line.starts_with("sockleak_service_close_wait_seconds_bucket"));
    let last = last.unwrap();
    assert!(
        last.contains("le=\"+Inf\"") && last.ends_with(" 325"),
        "{last}"
    );
}

#[test]
fn openmetrics_ends_as_it_must_and_protobuf_is_not_text() {
    assert!(text(published(), 50, Form::OpenMetrics).ends_with("# EOF\n"));
    let limits = Limits { max_sites: 50 };
    let binary = encode(Arc::new(published()), limits, Form::Protobuf);
    assert!(binary.len() > 1000);
    let name = b"sockleak_service_close_wait_seconds";
    assert!(binary.windows(name.len()).any(|part| part == name));
}
