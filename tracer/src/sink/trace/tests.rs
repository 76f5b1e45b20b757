use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::model::cookie::Cookie;
use crate::model::endpoint::Endpoint;
use crate::model::tcp_state::TcpState;
use crate::model::trace_event::{TraceProcess, TransitionCause};
use crate::sink::samples::golden;

fn options(format: TraceFormat) -> TraceOptions {
    TraceOptions {
        format,
        redact_addrs: false,
        time_zone: TimeZone::UTC,
    }
}

fn event(cookie: u64, local: &str, remote: &str) -> TraceEvent {
    TraceEvent {
        at: "2026-03-01T13:05:12.000123456Z".parse().unwrap(),
        cookie,
        netns: 4_026_531_840,
        process: None,
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        old: TcpState::Established,
        new: TcpState::CloseWait,
        in_old: None,
        cause: None,
    }
}

fn session() -> Vec<TraceEvent> {
    let server = |comm: &str| {
        Some(TraceProcess {
            pid: 4242,
            tid: 4245,
            comm: comm.into(),
        })
    };
    let mut fin = event(0x1f, "10.0.0.5:11112", "10.0.0.9:50412");
    fin.in_old = Some(Duration::from_micros(12_345));
    fin.cause = Some(TransitionCause::PeerFin);
    let mut close = fin.clone();
    (close.old, close.new) = (TcpState::CloseWait, TcpState::LastAck);
    close.in_old = Some(Duration::from_millis(812_345));
    close.process = server("leaky-server");
    close.cause = Some(TransitionCause::Close);
    let mut v6 = event(u64::MAX, "[::ffff:10.0.0.5]:443", "[2001:db8::9]:50413");
    v6.in_old = Some(Duration::from_micros(45));
    let mut hostile = event(
        0x20,
        "[2001:db8:1:2:3:4:5:6]:11112",
        "[2001:db8:1:2:3:4:5:7]:65535",
    );
    hostile.process = server("a\"\u{1b}[2J\u{202e}x");
    hostile.new = TcpState::Unknown(13);
    let after = fin.clone();
    vec![fin, close, v6, hostile, after]
}

fn written(options: TraceOptions, events: &[TraceEvent]) -> String {
    let mut out = Vec::new();
    let mut writer = TraceWriter::new(options);
    writer.write_header(&mut out).unwrap();
    for event in events {
        writer.write(&mut out, event).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn text_lines_up() {
    golden(
        "trace-text",
        &written(options(TraceFormat::Text), &session()),
    );
}

#[test]
fn ndjson_is_one_object_a_line_with_the_same_facts() {
    let text = written(options(TraceFormat::Ndjson), &session());
    golden("trace-ndjson", &text);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), session().len());
    for (line, event) in lines.iter().zip(session()) {
        assert_eq!(line["time"], serde_json::to_value(event.at).unwrap());
        assert_eq!(
            line["cookie"],
            serde_json::to_value(Cookie(event.cookie)).unwrap()
        );
        assert_eq!(
            line["remote"],
            serde_json::to_value(Endpoint(event.remote)).unwrap()
        );
        assert_eq!(line["new"], serde_json::to_value(event.new).unwrap());
        let comm = event.process.map(|process| process.comm);
        assert_eq!(line["comm"], serde_json::to_value(comm).unwrap());
    }
}

#[test]
fn redaction_hides_the_remote_address_in_both_forms() {
    for format in [TraceFormat::Text, TraceFormat::Ndjson] {
        let text = written(
            TraceOptions {
                redact_addrs: true,
                ..options(format)
            },
            &session(),
        );
        assert!(
            !text.contains("10.0.0.9") && text.contains("redacted:50412"),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn fast_formatting_says_what_display_says(ip in any::<std::net::IpAddr>(), port: u16, cookie: u64) {
        let mut out = Vec::new();
        bytes::endpoint(&mut out, std::net::SocketAddr::new(ip, port));
        out.push(b' ');
        bytes::cookie(&mut out, cookie);
        let shown = format!("{} {}", Endpoint((ip, port).into()), Cookie(cookie));
        prop_assert_eq!(String::from_utf8(out).unwrap(), shown);
    }
}

/// `cargo test --release -p tracer --lib sink::trace -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: only means something in a release build on an idle machine"]
fn nanoseconds_per_line() {
    const LINES: u32 = 1_000_000;
    let session = session();
    for format in [TraceFormat::Text, TraceFormat::Ndjson] {
        let mut out = io::BufWriter::with_capacity(64 * 1024, io::sink());
        let mut writer = TraceWriter::new(options(format));
        let start = Instant::now();
        for (_, event) in (0..LINES).zip(session.iter().take(2).cycle()) {
            writer.write(&mut out, event).unwrap();
        }
        let each = start.elapsed() / LINES;
        println!("{format:?}: {} ns a line", each.as_nanos());
    }
}
