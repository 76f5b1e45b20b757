//! docs/metrics.md, from the table of families.

use std::fmt::Write as _;

use prometheus_client::metrics::MetricType;

use super::{Family, MAX_LABEL, families};

/// The document as it must stand in the repository.
pub fn reference() -> String {
    let mut out = format!(
        "# Metrics of `sockleak serve`\n\n\
         Made from the table in `tracer/src/serve/metrics/`; a test compares the two. `/metrics` answers in text 0.0.4, \
         OpenMetrics 1.0 and protobuf, whichever the client asks for. Label values are cut at {MAX_LABEL} characters; \
         control characters and marks that reorder text are shown as escapes, and a backslash that would begin one as \
         `\\x5c`. An empty label is left out.\n"
    );
    for family in families() {
        // Writing into a String cannot fail.
        let _ = write!(out, "\n{}", entry(family));
    }
    out
}

fn entry(family: &Family) -> String {
    let labels = match family.labels {
        [] => "none".to_owned(),
        labels => labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    format!(
        "## `{}`\n\n{}\n\n- type: {}\n- unit: {}\n- labels: {labels}\n- series at most: {}\n",
        name(family),
        family.help,
        kind(family.kind),
        unit(family.name),
        family.bound,
    )
}

/// As it is exposed.
pub(super) fn name(family: &Family) -> String {
    match family.kind {
        MetricType::Counter => format!("{}_total", family.name),
        MetricType::Info => format!("{}_info", family.name),
        _ => family.name.to_owned(),
    }
}

fn kind(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram (classic; in protobuf also native, schema 0)",
        MetricType::Info => "info (a gauge that is 1)",
        MetricType::Unknown => "unknown",
    }
}

fn unit(name: &str) -> &'static str {
    let ends = |unit: &str| name.ends_with(unit);
    if ends("timestamp_seconds") || ends("time_seconds") {
        "seconds since 1970"
    } else if ends("seconds") {
        "seconds"
    } else if ends("bytes") {
        "bytes"
    } else if ends("per_minute") {
        "sockets a minute"
    } else {
        "none"
    }
}
