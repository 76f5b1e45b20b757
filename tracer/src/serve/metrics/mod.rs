//! The metrics: one table of families, from which both the exposition and docs/metrics.md are made. Built anew
//! for each inspection, so what has vanished vanishes. No label holds a pid, an address, a port or a cookie.

mod itself;
pub(super) mod reference;
mod services;
mod sites;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, MetricEncoder, NativeHistogram, NativeHistogramBuckets, NoLabelSet,
        prometheus_protobuf, prometheus_text, text,
    },
    metrics::MetricType,
    registry::Registry,
};

use super::{
    label::{MAX_LABEL, label},
    published::{OTHER, Published, ServiceName, Stays},
};
use crate::model::untrusted::Untrusted;

/// One row of the table.
struct Family {
    /// Without the endings `_total` and `_info`, which the encoder adds.
    name: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
    /// How many series there can be, in words.
    bound: &'static str,
    samples: fn(&Published, Limits) -> Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub max_sites: usize,
}

struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

enum Value {
    /// Of a counter.
    Total(f64),
    /// Of a gauge.
    Now(f64),
    /// Of an info metric, which is always 1.
    Info,
    Stays(Stays),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    OpenMetrics,
    Protobuf,
}

fn families() -> impl Iterator<Item = &'static Family> {
    [services::FAMILIES, sites::FAMILIES, itself::FAMILIES]
        .into_iter()
        .flatten()
}

pub(super) fn encode(published: Arc<Published>, limits: Limits, form: Form) -> Vec<u8> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(All { published, limits }));
    // Writing into memory does not fail; what cannot be encoded leaves nothing rather than a half.
    let encoded = match form {
        Form::Text => in_text(|out| prometheus_text::encode(out, &registry)),
        Form::OpenMetrics => in_text(|out| text::encode(out, &registry)),
        Form::Protobuf => prometheus_protobuf::encode_to_vec(&registry).map_err(|_| fmt::Error),
    };
    encoded.unwrap_or_default()
}

fn in_text(encode: impl FnOnce(&mut String) -> fmt::Result) -> Result<Vec<u8>, fmt::Error> {
    let mut out = String::new();
    encode(&mut out)?;
    Ok(out.into_bytes())
}

struct All {
    published: Arc<Published>,
    limits: Limits,
}

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("All")
    }
}

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in families() {
            let samples = (family.samples)(&self.published, self.limits);
            if samples.is_empty() {
                continue;
            }
            let help = family.help;
            let mut family = encoder.encode_descriptor(family.name, help, None, family.kind)?;
            for sample in &samples {
                sample.encode(&mut family)?;
            }
        }
        Ok(())
    }
}

impl Sample {
    fn encode(&self, family: &mut MetricEncoder<'_>) -> fmt::Result {
        if let Value::Info = self.value {
            return family.encode_info(&self.labels);
        }
        if self.labels.is_empty() {
            self.value.encode(family)
        } else {
            self.value.encode(&mut family.encode_family(&self.labels)?)
        }
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Total(total) => encoder.encode_counter::<NoLabelSet, f64, f64>(total, None),
            Self::Now(now) => encoder.encode_gauge(now),
            Self::Stays(stays) => encode_stays(stays, encoder),
            Self::Info => Ok(()),
        }
    }
}

impl Sample {
    fn total(value: u64) -> Self {
        Self::of(Value::Total(value as f64))
    }

    fn now(value: u64) -> Self {
        Self::of(Value::Now(value as f64))
    }

    fn of(value: Value) -> Self {
        Self {
            labels: Vec::new(),
            value,
        }
    }

    /// Text of this program's own.
    fn with(mut self, label: &'static str, value: &str) -> Self {
        self.labels.push((label, value.to_owned()));
        self
    }

    /// Text that a traced process can choose. Nothing is left out of a label but what is empty.
    fn with_untrusted(self, label_name: &'static str, value: &Untrusted) -> Self {
        self.with_label(label_name, &label(value.raw()))
    }

    fn with_owner(self, name: &ServiceName) -> Self {
        self.with_label("service", &name.service)
            .with_label("namespace", &name.namespace)
            .with_label("pod", &name.pod)
            .with_label("container", &name.container)
    }

    /// What is a label's value already: shown and cut all the same, as it comes from another process.
    fn with_label(mut self, name: &'static str, value: &Untrusted) -> Self {
        if !value.is_empty() {
            let shown = Untrusted::new(value.to_string()).bounded(MAX_LABEL);
            self.labels.push((name, shown.raw().to_owned()));
        }
        self
    }
}

/// Upper bound of the first bucket, as a power of two of a second: about a millisecond.
const FIRST_POWER: i32 = -10;
/// Where native buckets begin to be zero; Prometheus' own choice.
const ZERO: f64 = 2.938_735_877_055_719e-39;

/// Buckets of powers of two are both classic ones and native ones of schema 0.
fn encode_stays(stays: &Stays, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    let count: u64 = stays.buckets.iter().sum();
    let last = stays.buckets.len().saturating_sub(1);
    let bounds = stays.buckets.iter().enumerate().map(|(index, count)| {
        let bound = if index == last {
            f64::INFINITY
        } else {
            2_f64.powi(FIRST_POWER + index as i32)
        };
        (bound, *count)
    });
    let classic: Vec<(f64, u64)> = bounds.collect();
    let mut deltas = Vec::with_capacity(stays.buckets.len());
    let mut before = 0;
    for count in &stays.buckets {
        let count = *count as i64;
        deltas.push(count - before);
        before = count;
    }
    let spans = [(FIRST_POWER, stays.buckets.len() as u32)];
    let none = NativeHistogramBuckets {
        spans: &[],
        deltas: &[],
    };
    let native = NativeHistogram {
        schema: 0,
        zero_threshold: ZERO,
        zero_count: 0,
        negative: none,
        positive: NativeHistogramBuckets {
            spans: &spans,
            deltas: &deltas,
        },
        created: None,
    };
    encoder.encode_histogram_with_native::<NoLabelSet>(
        stays.sum_seconds,
        count,
        &classic,
        None,
        native,
    )
}
