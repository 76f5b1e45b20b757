//! Which form of an answer a client wants: `Accept` and `Accept-Encoding` with their weights (RFC 9110, 12.5).

use hyper::{
    HeaderMap,
    header::{ACCEPT, ACCEPT_ENCODING, HeaderName},
};

/// Of metrics, in the order of preference among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    OpenMetrics,
    Text,
}

impl Format {
    pub(super) const ALL: [Self; 3] = [Self::Protobuf, Self::OpenMetrics, Self::Text];

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    fn of(range: &Range<'_>) -> Option<Self> {
        let says = |name, values: &[&str]| {
            range
                .parameters()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .is_none_or(|(_, value)| values.contains(&value))
        };
        match range.kind.to_ascii_lowercase().as_str() {
            "application/vnd.google.protobuf"
                if says("proto", &["io.prometheus.client.MetricFamily"])
                    && says("encoding", &["delimited"]) =>
            {
                Some(Self::Protobuf)
            }
            "application/openmetrics-text" if says("version", &["1.0.0", "0.0.1"]) => {
                Some(Self::OpenMetrics)
            }
            "text/plain" | "text/*" if says("version", &["0.0.4"]) => Some(Self::Text),
            _ => None,
        }
    }
}

/// Plain text for who does not say, or wants something else altogether: an answer is worth more than a refusal.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let mut best = (0, Format::Text);
    for (range, weight) in weighted(headers, &ACCEPT) {
        if let Some(format) = Format::of(&Range::parse(&range))
            && weight > best.0
        {
            best = (weight, format);
        }
    }
    best.1
}

pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = None;
    for (coding, weight) in weighted(headers, &ACCEPT_ENCODING) {
        match Range::parse(&coding).kind {
            "gzip" | "x-gzip" => return weight > 0,
            "*" => any = Some(weight > 0),
            _ => {}
        }
    }
    any.unwrap_or(false)
}

struct Range<'a> {
    kind: &'a str,
    rest: &'a str,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let (kind, rest) = text.split_once(';').unwrap_or((text, ""));
        Self {
            kind: kind.trim(),
            rest,
        }
    }

    fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let parts = self.rest.split(';').filter_map(|part| part.split_once('='));
        parts.map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
    }
}

/// The parts of a header, each with its weight in thousandths.
fn weighted(headers: &HeaderMap, name: &HeaderName) -> Vec<(String, u32)> {
    let texts = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .map(|part| {
            let weight = Range::parse(part)
                .parameters()
                .find(|(name, _)| name.eq_ignore_ascii_case("q"))
                .and_then(|(_, value)| value.parse::<f32>().ok())
                .filter(|weight| (0.0..=1.0).contains(weight))
                .unwrap_or(1.0);
            (part.trim().to_owned(), (weight * 1000.0) as u32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        format(&headers)
    }

    #[test]
    fn prometheus_gets_what_it_prefers() {
        // Prometheus 2.42 with and without native histograms, 3.x, and a browser.
        let with_native = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                           encoding=delimited,application/openmetrics-text; version=1.0.0; q=0.8,\
                           text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        assert_eq!(accepting(with_native), Format::Protobuf);
        let text = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                    application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(accepting(text), Format::OpenMetrics);
        assert_eq!(
            accepting("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
            Format::Text
        );
        assert_eq!(
            accepting("text/html,application/xhtml+xml,*/*;q=0.8"),
            Format::Text
        );
        assert_eq!(format(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn what_is_ruled_out_is_not_sent() {
        assert_eq!(
            accepting("application/openmetrics-text;q=0, text/plain;q=0.1"),
            Format::Text
        );
        let other = "application/vnd.google.protobuf; proto=another.Message; encoding=delimited, text/plain;q=0.1";
        assert_eq!(accepting(other), Format::Text);
        assert_eq!(
            accepting("application/openmetrics-text;version=2.0.0"),
            Format::Text
        );
    }

    #[test]
    fn gzip_only_for_who_takes_it() {
        for (text, takes) in [
            ("gzip", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("br", false),
            ("*", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(takes_gzip(&headers), takes, "{text}");
        }
    }
}
