//! Many scrapes at once, readers that do not read, and a client that sends a byte now and then: none of them
//! holds up a normal scrape or makes the exporter grow.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use tests::exporter::Exporter;
use tests::rig::Rig;
use tests::{http, manifest, skip};

const RIG: &str = "c-eof-ignored-debug";
const AT_ONCE: usize = 1000;
const SLOW: usize = 200;
const ROUNDS: usize = 3;
/// What none of them may add to a normal scrape.
const DELAY: Duration = Duration::from_millis(100);
/// Of the thousand: they stand for other hosts, whose own work must not delay the scrape that is measured here.
const LAST: i32 = 19;
/// Of the process that answers.
const MAX_GROWTH: u64 = 16 << 20;
const MAX_CPU_MS: f64 = 5.0;
const CLOCK_TICKS: f64 = 100.0;
/// Between two scrapes during the burst.
const PAUSE: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_thousand_scrapes_and_slow_clients_hold_up_nobody() {
    if !skip::require_root("a_thousand_scrapes_and_slow_clients_hold_up_nobody") {
        return;
    }
    let exporter = Exporter::start(&[]);
    let _rig = Rig::leaking(&manifest::entry(RIG));
    exporter.wait_for_metric("sockleak_site_info", &["handle_client_and_forget"], |one| {
        one > 0.5
    });
    let answerer = exporter.answerer();
    let alone = usual(&exporter);

    let address = exporter.address.clone();
    let dripping = thread::spawn(move || drip(&address));
    let slow: Vec<TcpStream> = (0..SLOW).map(|_| slow_reader(&exporter)).collect();
    let beside_slow = usual(&exporter);
    assert!(
        beside_slow < alone + DELAY,
        "{beside_slow:?}, alone {alone:?}"
    );

    at_once(&exporter);
    let (memory, cpu) = (resident(answerer), cpu_ms(answerer));
    let among = thread::scope(|scope| {
        let burst = scope.spawn(|| {
            rustix::process::nice(LAST).expect("let others go first");
            (0..ROUNDS).for_each(|_| at_once(&exporter));
        });
        let mut took = Vec::new();
        while !burst.is_finished() {
            took.push(scrape(&exporter));
            thread::sleep(PAUSE);
        }
        took.sort();
        took
    });
    let scrapes = ROUNDS * AT_ONCE + among.len();
    let each = (cpu_ms(answerer) - cpu) / scrapes as f64;
    assert!(each <= MAX_CPU_MS, "{each} ms of CPU a scrape");
    let worst = *among.last().expect("a scrape");
    eprintln!(
        "{} scrapes in the burst: {:?} in the median, {worst:?} at worst",
        among.len(),
        middle(&among)
    );
    assert!(worst < alone + DELAY, "{worst:?}, alone {alone:?}");
    let grown = resident(answerer).saturating_sub(memory);
    assert!(
        grown < MAX_GROWTH,
        "{grown} bytes more after {ROUNDS} rounds"
    );
    let after = usual(&exporter);
    assert!(after < alone + DELAY, "{after:?}, alone {alone:?}");
    drop(slow);
    let patience = dripping.join().expect("the slow client");
    assert!(
        patience < LIMIT,
        "a byte a second was let on for {patience:?}"
    );
    eprintln!(
        "a scrape: {alone:?} alone, {beside_slow:?} beside slow readers, {after:?} after; {each:.2} ms of CPU, {grown} bytes"
    );
}

/// All ask at one moment, and the first is read when all have asked.
fn at_once(exporter: &Exporter) {
    let request = http::request(&exporter.address, "/metrics", &[]);
    let mut asking: Vec<TcpStream> = (0..AT_ONCE).map(|_| connect(exporter)).collect();
    for one in &mut asking {
        one.write_all(request.as_bytes()).expect("ask");
    }
    for mut one in asking {
        let mut answer = Vec::new();
        one.read_to_end(&mut answer).expect("an answer");
        assert!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        assert!(answer.windows(11).any(|part| part == b"sockleak_si"));
    }
}

fn connect(exporter: &Exporter) -> TcpStream {
    let stream = TcpStream::connect(&exporter.address).expect("connect");
    stream
        .set_read_timeout(Some(LIMIT))
        .expect("limit the wait");
    stream
}

/// Asks again and again, and never reads.
fn slow_reader(exporter: &Exporter) -> TcpStream {
    let request = http::request(&exporter.address, "/metrics", &[]);
    let request = request.replace("Connection: close\r\n", "").repeat(50);
    let mut stream = connect(exporter);
    stream.write_all(request.as_bytes()).expect("ask");
    stream
}

fn scrape(exporter: &Exporter) -> Duration {
    let began = Instant::now();
    exporter.metrics();
    began.elapsed()
}

/// The median of some scrapes.
fn usual(exporter: &Exporter) -> Duration {
    let mut took: Vec<Duration> = (0..21).map(|_| scrape(exporter)).collect();
    took.sort();
    middle(&took)
}

fn middle(sorted: &[Duration]) -> Duration {
    *sorted.get(sorted.len() / 2).expect("a median")
}

/// For how long a client that never ends its request is listened to.
fn drip(address: &str) -> Duration {
    let mut stream = TcpStream::connect(address).expect("connect");
    let began = Instant::now();
    for byte in http::request(address, "/metrics", &[]).into_bytes() {
        let hung_up = stream.write_all(&[byte]).is_err();
        if hung_up || began.elapsed() > LIMIT {
            break;
        }
        thread::sleep(Duration::from_secs(1));
    }
    began.elapsed()
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    kibibytes.expect("VmRSS").parse::<u64>().expect("a number") << 10
}

fn cpu_ms(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its times");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let mut fields = rest.split(' ').skip(11);
    let mut ticks = || {
        fields
            .next()
            .expect("a field")
            .parse::<f64>()
            .expect("a number")
    };
    (ticks() + ticks()) * 1000.0 / CLOCK_TICKS
}
