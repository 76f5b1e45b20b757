//! What a tracker and its report take with very many stuck sockets at a few places, none of which the machine has to
//! have: the sockets are made up. `cargo xtask bench million` runs it and puts the table into docs/performance.md.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    missing_docs,
    reason = "a measurement that cannot be made fails by panicking, and prints what it found"
)]

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracer::diagnose::{self, Style};
use tracer::model::{
    input::{
        Input, Inventory, Item, Observes, Process, ProcessKey, RunHeader, Scope, StuckCandidate,
    },
    report::{Host, Tool},
    socket::{Endpoints, Entry, History, Holder, LastOperation, SocketOperation},
    stack::{Frame, Stack},
};
use tracer::track::Tracker;
use tracer_common::state::{CLOSE_WAIT, ESTABLISHED};

const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// Ten times the sockets may take so much more per socket: what is linear in theory meets colder caches.
const MOST_MORE: f64 = 2.5;
const PLACES: u64 = 20;
const PROCESSES: u64 = 5;
/// Addresses, the same for any number of sockets: the report names them.
const CLIENTS: u64 = 100;
/// Nanoseconds of the events' clock.
const S: u64 = 1_000_000_000;
const LISTED: usize = 5;
/// Set for a process of its own that measures one size: memory that another size has freed would count as its own.
const ONE: &str = "SOCKLEAK_BENCH_SOCKETS";

fn main() {
    // `cargo test --benches` only wants to know that it builds and runs.
    let is_test = !env::args().any(|word| word == "--bench");
    if let Ok(size) = env::var(ONE) {
        return println!("{}", one(size.parse().expect("a number")).line());
    }
    let sizes: &[u64] = if is_test { &[1000] } else { &SIZES };
    let figures: Vec<Figures> = sizes.iter().map(|size| apart(*size)).collect();
    println!("{}", table(&figures));
    for pair in figures.windows(2) {
        let [few, many] = pair else { continue };
        assert_eq!(few.json, many.json, "the report grows with the sockets");
        for (what, few, many) in [
            (
                "taking in",
                few.each(few.taken_in),
                many.each(many.taken_in),
            ),
            ("the report", few.each(few.report), many.each(many.report)),
        ] {
            assert!(
                many < few * MOST_MORE,
                "{what}: {few:.0} ns a socket, and {many:.0} with ten times as many"
            );
        }
    }
}

#[derive(Clone, Copy)]
struct Figures {
    sockets: u64,
    taken_in: Duration,
    /// A second look at the same sockets.
    again: Duration,
    report: Duration,
    write: Duration,
    bytes: u64,
    /// Of the report as it is written, without digits.
    json: u64,
}

impl Figures {
    /// Nanoseconds a socket.
    fn each(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / self.sockets as f64
    }

    fn line(&self) -> String {
        let times = [self.taken_in, self.again, self.report, self.write];
        let times = times.map(|time| time.as_nanos().to_string()).join(" ");
        format!("{} {times} {} {}", self.sockets, self.bytes, self.json)
    }

    fn parse(line: &str) -> Self {
        let numbers: Vec<u64> = line
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [sockets, taken_in, again, report, write, bytes, json] = numbers[..] else {
            panic!("no figures: {line:?}")
        };
        Self {
            sockets,
            taken_in: Duration::from_nanos(taken_in),
            again: Duration::from_nanos(again),
            report: Duration::from_nanos(report),
            write: Duration::from_nanos(write),
            bytes,
            json,
        }
    }
}

fn apart(size: u64) -> Figures {
    let output = Command::new(env::current_exe().expect("find this program"))
        .env(ONE, size.to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("measure apart");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("figures");
    Figures::parse(text.trim_end())
}

fn one(sockets: u64) -> Figures {
    let mut tracker = Tracker::default();
    tracker.apply(Input::RunHeader(Box::new(run_header())));
    for process in 0..PROCESSES {
        tracker.apply(Input::Process(self::process(process)));
    }
    for place in 0..PLACES {
        tracker.apply(stack(place));
    }
    let mut items: Vec<Item> = (0..sockets).map(item).collect();
    // Not the tracker's: the pages of this list are there before it, and after it.
    let before = resident();
    let begin = Instant::now();
    for number in 0..sockets {
        tracker.apply(Input::StuckCandidate(candidate(number)));
    }
    let later = items.clone();
    tracker.apply(inventory(200 * S, items.split_off(0)));
    let taken_in = begin.elapsed();
    let bytes = resident().saturating_sub(before);
    let begin = Instant::now();
    tracker.apply(inventory(210 * S, later));
    let again = begin.elapsed();
    let begin = Instant::now();
    let style = Style {
        sockets_per_site: LISTED,
    };
    // The innermost frame that is not the C library's.
    let blame = |frames: &[Frame]| frames.iter().position(|frame| frame.function.is_some());
    let found = diagnose::report(&tracker, style, &blame).expect("a report");
    let report = begin.elapsed();
    let sites = &found.report.sites;
    let count: u64 = sites.iter().map(|site| site.count).sum();
    assert_eq!((sites.len() as u64, count), (PLACES, sockets));
    let begin = Instant::now();
    let json = serde_json::to_vec(&found.report).expect("write the report");
    let write = begin.elapsed();
    Figures {
        sockets,
        taken_in,
        again,
        report,
        write,
        bytes,
        json: json.iter().filter(|byte| b"{[\"".contains(byte)).count() as u64,
    }
}

fn table(figures: &[Figures]) -> String {
    let mut text = String::from(
        "| sockets | taking them in, ms | ns a socket | memory, B a socket | the same again at the next look, ms | \
         the report, ms | ns a socket | writing it as JSON, ms |\n|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    for one in figures {
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {} | {:.0} | {:.0} | {:.0} | {:.2} |",
            one.sockets,
            ms(one.taken_in),
            one.each(one.taken_in),
            one.bytes / one.sockets,
            ms(one.again),
            ms(one.report),
            one.each(one.report),
            ms(one.write),
        );
    }
    text
}

fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("read our memory");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse::<u64>().ok());
    pages.expect("resident pages") * procfs::page_size()
}

fn run_header() -> RunHeader {
    RunHeader {
        tool: Tool::default(),
        host: Host::default(),
        hooks: Vec::new(),
        warnings: Vec::new(),
        at: 100 * S,
        wall: Timestamp::UNIX_EPOCH,
        scope: Scope::default(),
        live: true,
        some_processes_unseen: false,
        min_age_ns: 60 * S,
        grace_ns: S,
        exit_age_ns: None,
        observes: Observes {
            reads: true,
            writes: true,
        },
    }
}

fn pid(number: u64) -> u32 {
    1000 + (number % PROCESSES) as u32
}

fn process(number: u64) -> Process {
    Process {
        pid: pid(number),
        start_boot: S,
        start_wall: None,
        comm: "server".to_owned(),
        exe: Some("/usr/bin/server".to_owned()),
        cmdline: None,
        service: Some("server.service".to_owned()),
        cgroup: None,
        parent: 1,
        state: 'S',
        threads: 1,
        fd_limit: Some(1 << 20),
        open_fds: None,
        frozen: false,
    }
}

fn stack(place: u64) -> Input {
    let frame = |function: Option<String>, module: &str, offset| Frame {
        function,
        module: Some(module.to_owned()),
        offset,
        ..Frame::default()
    };
    let frames = vec![
        frame(None, "libc.so.6", 0x10_0000),
        frame(Some(format!("keep_{place}")), "server", place * 64),
        frame(Some("main".to_owned()), "server", 0x9000),
    ];
    let stack = Stack {
        frames,
        truncated: false,
        one_of_several: false,
        of_end: false,
        thread: Some("server".to_owned()),
        pid: Some(pid(place)),
        kind: None,
        frames_at: Vec::new(),
    };
    Input::Stack {
        key: place + 1,
        stack,
    }
}

fn endpoints(number: u64) -> Endpoints {
    let host = |last: u64| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + last as u32));
    Endpoints {
        local: SocketAddr::new(host(1), 80),
        remote: SocketAddr::new(
            host(256 + number % CLIENTS),
            1024 + (number / CLIENTS) as u16,
        ),
    }
}

fn history(number: u64) -> History {
    let operation = |at, kind| {
        Some(LastOperation {
            stack: number % PLACES + 1,
            at,
            pid: pid(number),
            tid: pid(number),
            kind,
            sp: 0,
            goroutine: None,
            virtual_thread: None,
            switches: 0,
        })
    };
    History {
        opened: operation(108 * S, SocketOperation::Accept),
        used: operation(109 * S, SocketOperation::Send),
        eof: operation(110 * S + number, SocketOperation::Recv),
    }
}

fn candidate(number: u64) -> StuckCandidate {
    StuckCandidate {
        cookie: number + 1,
        state: CLOSE_WAIT,
        since: 110 * S,
        netns: 1,
        endpoints: endpoints(number),
        entry: Entry {
            old_state: ESTABLISHED,
            error: 0,
            shutdown: 1,
            only_fin_unread: false,
        },
        history: history(number),
    }
}

fn item(number: u64) -> Item {
    Item {
        cookie: number + 1,
        netns: 1,
        endpoints: endpoints(number),
        state: CLOSE_WAIT,
        shutdown: 1,
        has_socket: true,
        dead: false,
        inode: 10_000_000 + number,
        recv_q: 0,
        send_q: 0,
        last_packet: 110 * S,
        last_data: 109 * S,
        read_to: 0,
        written_to: 0,
        holders: [Holder {
            pid: pid(number),
            fd: (number / PROCESSES) as u32 + 4,
        }]
        .into_iter()
        .collect(),
    }
}

fn inventory(at: u64, items: Vec<Item>) -> Input {
    let holders = (0..PROCESSES).map(|number| ProcessKey {
        pid: pid(number),
        start_boot: S,
    });
    Input::Inventory(Inventory {
        from: at,
        to: at + 1,
        items,
        holders: holders.collect(),
        complete: true,
    })
}
