//! One finished report in every form that is asked for, each made once, by whoever asks first, and shared.

use std::{io::Write as _, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tokio::sync::OnceCell;

use super::negotiate::Format;
use crate::{
    model::report::Report,
    serve::{
        metrics::{self, Form, Limits},
        page::{History, Trend},
        published::Published,
    },
    sink::{json, redact},
};

/// What one inspection gave.
pub(super) struct Edition {
    pub number: u64,
    pub published: Arc<Published>,
    /// Without remote addresses: for who has not proved to be entitled to them.
    pub redacted: Arc<Report>,
    pub trend: Trend,
    limits: Limits,
    metrics: [OnceCell<Encoded>; Format::ALL.len()],
    whole_report: OnceCell<Encoded>,
    redacted_report: OnceCell<Encoded>,
}

#[derive(Clone)]
pub(super) struct Encoded {
    pub plain: Bytes,
    pub gzip: Bytes,
}

impl Edition {
    pub(super) fn new(
        number: u64,
        published: Published,
        limits: Limits,
        history: &mut History,
    ) -> Self {
        history.add(&published.report);
        let mut redacted = published.report.clone();
        redact::redact_remote_addresses(&mut redacted);
        Self {
            number,
            trend: history.trend(&published.report.window),
            published: Arc::new(published),
            redacted: Arc::new(redacted),
            limits,
            metrics: Default::default(),
            whole_report: OnceCell::new(),
            redacted_report: OnceCell::new(),
        }
    }

    pub(super) fn report(&self, redacted: bool) -> &Report {
        if redacted {
            &self.redacted
        } else {
            &self.published.report
        }
    }

    pub(super) async fn metrics(&self, format: Format) -> Option<&Encoded> {
        let form = match format {
            Format::Protobuf => Form::Protobuf,
            Format::OpenMetrics => Form::OpenMetrics,
            Format::Text => Form::Text,
        };
        let (published, limits) = (Arc::clone(&self.published), self.limits);
        let cell = self.metrics.get(format as usize)?;
        made(cell, move || metrics::encode(published, limits, form)).await
    }

    pub(super) async fn json(&self, redacted: bool) -> Option<&Encoded> {
        if redacted {
            let report = Arc::clone(&self.redacted);
            made(&self.redacted_report, move || written(&report)).await
        } else {
            let published = Arc::clone(&self.published);
            made(&self.whole_report, move || written(&published.report)).await
        }
    }
}

fn written(report: &Report) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing into memory does not fail.
    let _ = json::write_report(&mut out, report);
    out
}

/// On a thread beside the one that answers: a large report takes a while to compress.
async fn made(
    cell: &OnceCell<Encoded>,
    make: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Option<&Encoded> {
    let encode = move || {
        let plain = make();
        let gzip = compressed(&plain);
        Encoded {
            plain: plain.into(),
            gzip,
        }
    };
    let making = || tokio::task::spawn_blocking(encode);
    cell.get_or_try_init(making).await.ok()
}

fn compressed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // As above.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default().into()
}
