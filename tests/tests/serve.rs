//! `sockleak serve` against a real leak: every form of its answers, who gets which, and what the process that
//! answers may do.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rustix::process::Signal;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::exporter::{self, Exporter};
use tests::report::Report;
use tests::rig::Rig;
use tests::{bpf, http, manifest, process, skip, sockleak, wait};

const RIG: &str = "c-eof-ignored-debug";
const FUNCTION: &str = "handle_client_and_forget";
/// Leaks one connection under a name that would end a label, a line and a tag.
const PROGRAM: &str = r#"
import socket, time
open('/proc/self/comm', 'w').write('a"} 1\n<b>\x1b[3\u202e')
server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen(8)
client = socket.create_connection(server.getsockname())
kept, _ = server.accept()
client.close()
print('ready', flush=True)
time.sleep(60)
"#;
/// Makes the socket descriptor 3 and becomes sockleak, as systemd does.
const MANAGER: &str = "
import os, socket, sys
server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen(64)
os.dup2(server.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
";
const SOON: Duration = Duration::from_secs(30);

/// An exporter that already shows the leak of a rig.
fn leaking(options: &[&str]) -> (Exporter, Rig) {
    let exporter = Exporter::start(options);
    let rig = Rig::leaking(&manifest::entry(RIG));
    exporter.wait_for_metric("sockleak_site_info", &[FUNCTION, "eof-ignored"], |one| {
        one > 0.5
    });
    (exporter, rig)
}

#[test]
fn a_leak_shows_in_every_form_and_vanishes_with_its_process() {
    if !skip::require_root("a_leak_shows_in_every_form_and_vanishes_with_its_process") {
        return;
    }
    let (exporter, rig) = leaking(&[]);
    let text = exporter.metrics();
    let stuck = rig.stuck as f64;
    let comm = "c-eof-ignored-d";
    let of_service = exporter::sum(&text, "sockleak_service_stuck_sockets", &[comm]);
    assert_eq!(of_service, Some(stuck), "{text}");
    assert_eq!(
        exporter::sum(&text, "sockleak_report_complete", &[]),
        Some(1.0)
    );

    let open = http::get(
        &exporter.address,
        "/metrics",
        &["Accept: application/openmetrics-text"],
    );
    assert!(
        open.header("content-type")
            .is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    assert!(open.text().ends_with("# EOF\n"));
    let packed = http::get(&exporter.address, "/metrics", &["Accept-Encoding: gzip"]);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() * 2 < text.len());

    let report = Report::parse(&exporter.get("/api/report").text());
    let blamed = report.sites.iter().filter_map(|site| site.blame.as_ref());
    assert!(blamed.clone().any(|blame| blame.function == FUNCTION));
    let page = exporter.get("/").text();
    assert!(
        page.contains(FUNCTION) && page.contains("eof_ignored.c:"),
        "{page}"
    );
    assert_eq!(exporter.get("/-/healthy").status, 200);
    assert_eq!(exporter.get("/-/ready").status, 200);
    assert_eq!(exporter.get("/nonsense").status, 404);

    drop(rig);
    wait::wait_for("the site is gone", Duration::from_mins(1), || {
        exporter.metric("sockleak_site_info", &[FUNCTION]).is_none()
    });
}

/// What a stranger on the host may see, and by which names they may ask.
#[test]
fn addresses_are_for_who_is_entitled_and_other_names_are_refused() {
    if !skip::require_root("addresses_are_for_who_is_entitled_and_other_names_are_refused") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("web.sock");
    let listen = format!("--web.listen-address=unix:{}", socket.display());
    let (exporter, rig) = leaking(&["--web.listen-address=127.0.0.1:0", &listen]);
    let peer = rig.clients.first().expect("a client").to_string();
    let whole = http::get_unix(&socket, "/api/report").text();
    assert!(
        whole.contains(&peer),
        "{peer} is not in the report on the unix socket"
    );
    assert!(!exporter.get("/api/report").text().contains(&peer));
    let page = exporter.get("/").text();
    assert!(!page.contains(&peer) && page.contains("Remote addresses: they are shown once"));
    let evil = http::get(&exporter.address, "/metrics", &["Host: evil.example:10435"]);
    assert_eq!(evil.status, 421, "{}", evil.text());
    for header in [
        "content-security-policy",
        "x-content-type-options",
        "referrer-policy",
    ] {
        assert!(evil.header(header).is_some(), "{header}");
    }
}

/// A process may call itself what it likes: the exposition stays one that real tools read.
#[test]
fn a_hostile_name_breaks_neither_metrics_nor_page() {
    let name = "a_hostile_name_breaks_neither_metrics_nor_page";
    if !skip::require_root(name) || !skip::require_program(name, "promtool") {
        return;
    }
    let exporter = Exporter::start(&[]);
    let _leaker = Background::start(Command::new("python3").args(["-c", PROGRAM]));
    exporter.wait_for_metric("sockleak_service_stuck_sockets", &["a\\\"} 1"], |count| {
        count > 0.5
    });
    let text = exporter.metrics();
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    promtool
        .stdin
        .take()
        .expect("stdin")
        .write_all(text.as_bytes())
        .expect("feed promtool");
    let said = promtool.wait_with_output().expect("wait for promtool");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(!said.contains("error while linting"), "{said}");
    let page = exporter.get("/").text();
    assert!(!page.contains("<b>") && !page.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn the_process_that_answers_is_confined_and_replaced() {
    if !skip::require_root("the_process_that_answers_is_confined_and_replaced") {
        return;
    }
    let exporter = Exporter::start(&[]);
    let tracer = exporter.running.pid();
    let child = child_of(tracer, "sockleak-http").expect("a process that answers");
    let status = status(child);
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {status}"))
            .trim()
            .to_owned()
    };
    assert_eq!(
        line("Uid:").split_whitespace().collect::<Vec<_>>(),
        ["65534"; 4]
    );
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(set), "0000000000000000", "{set}");
    }
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Seccomp:"), "2");
    // What the tracer itself keeps in effect is what its features need, and no more.
    let effective = self::status(tracer);
    let effective = effective
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .expect("CapEff");
    let effective = u64::from_str_radix(effective.trim(), 16).expect("a number");
    // CAP_DAC_READ_SEARCH, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF, CHECKPOINT_RESTORE.
    let needed = [2, 19, 21, 38, 39, 40]
        .iter()
        .fold(0_u64, |sum, bit| sum | 1 << bit);
    assert_eq!(effective & !needed, 0, "{effective:x}");

    let pid = rustix::process::Pid::from_raw(child as i32).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("kill it");
    wait::wait_for("another answers", SOON, || {
        child_of(tracer, "sockleak-http").is_some_and(|new| new != child)
            && std::net::TcpStream::connect(&exporter.address).is_ok()
    });
    exporter.wait_for_metric("sockleak_helper_restarts_total", &["http"], |count| {
        count > 0.5
    });
}

#[test]
fn sigterm_leaves_nothing_attached_and_no_process() {
    let name = "sigterm_leaves_nothing_attached_and_no_process";
    if !skip::require_root(name) || !skip::require_program(name, "bpftool") {
        return;
    }
    let (exporter, _rig) = leaking(&[]);
    let held = bpf::held_by(exporter.running.pid());
    let child = child_of(exporter.running.pid(), "sockleak-http").expect("a process that answers");
    assert!(!held.links.is_empty() && !held.programs.is_empty());
    let began = Instant::now();
    let done = exporter.running.stop();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(done.code(), 0, "{}", done.stderr);
    wait::wait_for("the kernel lets go", SOON, || {
        held.links.iter().all(|id| !bpf::exists("link", *id))
            && held.programs.iter().all(|id| !bpf::exists("prog", *id))
    });
    wait::wait_for("nobody answers any more", SOON, || {
        !status(child).contains("sockleak")
    });
}

#[test]
fn a_service_manager_hands_over_a_socket_and_is_told() {
    if !skip::require_root("a_service_manager_hands_over_a_socket_and_is_told") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let notified = UnixDatagram::bind(&path).expect("a socket for messages");
    notified
        .set_read_timeout(Some(SOON))
        .expect("limit the wait");
    let mut command = Command::new("python3");
    command
        .args(["-c", MANAGER])
        .arg(tests::paths::sockleak())
        .args(["serve", "-v", "--min-age", "1s"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "1000000")
        .stdin(Stdio::null());
    let exporter = Exporter::of(&mut command);
    assert_eq!(exporter.get("/-/healthy").status, 200);
    let mut told = String::new();
    wait::wait_for("READY and WATCHDOG", SOON, || {
        let mut message = [0; 4096];
        let length = notified.recv(&mut message).expect("a message");
        told += &String::from_utf8_lossy(&message[..length]);
        told.contains("READY=1") && told.contains("WATCHDOG=1")
    });
    assert!(
        told.contains("STATUS=answers requests on 127.0.0.1:"),
        "{told}"
    );
}

#[test]
fn what_is_wrong_at_the_start_is_said_and_nothing_is_attached() {
    if !skip::require_root("what_is_wrong_at_the_start_is_said_and_nothing_is_attached") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yml");
    std::fs::write(
        &file,
        "tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS10\n",
    )
    .expect("write");
    let file = format!("--web.config.file={}", file.display());
    for (option, words) in [
        (
            file.as_str(),
            ["min_version TLS10 is not offered", "what to do"],
        ),
        (
            "--web.listen-address=192.0.2.1:1",
            ["cannot listen on 192.0.2.1:1", "no such address"],
        ),
    ] {
        sockleak::run(["serve", option]).said(125, &words);
    }
}

/// A process of a test's own; killed when dropped.
struct Background(Child);

impl Background {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("start it"),
        )
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        process::signal(&self.0, Signal::KILL);
        process::wait(&mut self.0, SOON);
    }
}

/// Empty when there is no such process.
fn status(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

fn child_of(parent: u32, name: &str) -> Option<u32> {
    let listing = std::fs::read_dir("/proc").expect("list /proc");
    let pids = listing
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with(name.as_bytes())
            && status(*pid).contains(&format!("\nPPid:\t{parent}\n"))
    })
}
