//! Java virtual machines whose workers block in `write()`: their names and frames are in the report,
//! whoever's and wherever they are; and nobody is asked who does not say that he may be.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tests::lines::Lines;
use tests::report::{HolderThread, Report};
use tests::sockleak::Running;
use tests::{paths, process, skip, sockleak, wait};

const PATIENCE: Duration = Duration::from_secs(20);
const WORKERS: usize = 5;
const HANDLER: &str = "BlockedPool$MetricsHandler.handle";
const NOBODY: u32 = 65534;

/// A virtual machine whose workers are all blocked, with sockets that got stuck behind them.
struct Machine {
    child: Child,
    pid: u32,
    stdout: Lines,
    port: String,
    pinned: Vec<TcpStream>,
    _classes: TempDir,
}

impl Machine {
    /// `prefix` execs its arguments; `options` are the machine's own.
    fn start(prefix: &[&str], options: &[&str]) -> Self {
        let classes = compile();
        let java = skip::find_program("java").expect("java beside javac");
        let words: Vec<&str> = prefix
            .iter()
            .copied()
            .chain([java.to_str().expect("a path")])
            .collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(options)
            .arg("-cp")
            .arg(classes.path())
            .arg("BlockedPool")
            .current_dir("/")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start a virtual machine");
        let stdout = Lines::of(child.stdout.take().expect("stdout"));
        wait::wait_for("a port", PATIENCE, || !stdout.so_far().is_empty());
        let port = stdout.so_far().concat();
        let pid = machine_below(child.id());
        let mut machine = Self {
            child,
            pid,
            stdout,
            port,
            pinned: Vec::new(),
            _classes: classes,
        };
        machine.block();
        machine
    }

    fn block(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let connect = || TcpStream::connect(&address).expect("connect");
        self.pinned = (0..WORKERS).map(|_| connect()).collect();
        wait::wait_for("workers blocked in write()", PATIENCE, || {
            blocked_writers(self.pid) == WORKERS
        });
        for _ in 0..3 {
            connect().write_all(b"GET / HTTP/1.0\r\n\r\n").expect("ask");
        }
        wait::outlive_one_second();
    }

    fn snapshot(&self, more: &[&str]) -> Report {
        let pid = self.pid.to_string();
        // What the machine says itself, and not what is read of it.
        let options = [
            "snapshot",
            "--json",
            "--min-age",
            "1s",
            "--pid",
            &pid,
            "--runtimes",
            "none",
        ];
        let options = options.iter().chain(more);
        sockleak::run(options.copied()).report()
    }

    fn assert_silent(&self) {
        // What a SIGQUIT makes a machine print takes it some milliseconds.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(self.stdout.so_far().concat(), self.port);
        let left = self.in_tmp(&format!(".attach_pid{}", self.own_pid()));
        assert!(!left.exists(), "{}", left.display());
    }

    fn own_pid(&self) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("its status");
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let own = ids.and_then(|ids| ids.split_whitespace().last());
        own.and_then(|own| own.parse().ok()).expect("its own id")
    }

    fn in_tmp(&self, name: &str) -> PathBuf {
        format!("/proc/{}/root/tmp/{name}", self.pid).into()
    }

    fn socket(&self) -> PathBuf {
        self.in_tmp(&format!(".java_pid{}", self.own_pid()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Killed, or ended under -Xrs, a machine leaves its socket behind.
        let _ = fs::remove_file(self.socket());
        if let Some(pid) = Pid::from_raw(self.pid as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        process::wait(&mut self.child, Duration::from_secs(5));
    }
}

/// Classes that every user can read.
fn compile() -> TempDir {
    let classes = TempDir::new_in("/var/tmp").expect("a folder for classes");
    fs::set_permissions(classes.path(), Permissions::from_mode(0o755)).expect("open the folder");
    let source = paths::workspace().join("tests/rigs/java/BlockedPool.java");
    let done = Command::new("javac")
        .arg("-d")
        .arg(classes.path())
        .arg(source)
        .status();
    assert!(done.expect("javac").success());
    classes
}

/// The process itself, or what `unshare --fork` made of it.
fn machine_below(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let child = children.split_whitespace().next();
    child.map_or(pid, |child| child.parse().expect("a pid"))
}

fn blocked_writers(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("syscall")).ok())
        .filter(|call| call.starts_with("1 "))
        .count()
}

/// Whether test `name` can run here.
fn ready(name: &str) -> bool {
    skip::require_root(name) && skip::require_program(name, "javac")
}

fn holders(report: &Report) -> Vec<&HolderThread> {
    let stacks = report.sites.iter().map(|site| &site.stacks);
    stacks
        .flat_map(|stacks| stacks.holders.iter().flatten())
        .collect()
}

fn functions(holder: &HolderThread) -> Vec<&str> {
    let frames = holder.stack.iter().flatten();
    frames
        .filter_map(|frame| frame.function.as_deref())
        .collect()
}

fn assert_named(report: &Report) {
    for number in 1..=WORKERS {
        let name = format!("pool-1-thread-{number}");
        let of_name = |holder: &&&HolderThread| holder.name.as_deref() == Some(&name);
        let holders = holders(report);
        let Some(worker) = holders.iter().find(of_name) else {
            panic!("no {name}: {report:#?}");
        };
        let frames = worker.stack.iter().flatten();
        let handler = frames
            .clone()
            .find(|frame| frame.function.as_deref() == Some(HANDLER));
        let handler = handler.unwrap_or_else(|| panic!("{worker:#?}"));
        assert_eq!(handler.module.as_deref(), Some("[java]"));
        assert_eq!(handler.file.as_deref(), Some("BlockedPool.java"));
        assert!(handler.line.is_some_and(|line| line > 10));
        assert!(functions(worker).contains(&"java.lang.Thread.run"));
    }
    assert!(!warned(report, "Java"), "{:#?}", report.warnings);
}

fn assert_unnamed(report: &Report) {
    assert!(!report.sites.is_empty());
    for holder in holders(report) {
        assert_eq!(holder.name, None);
        assert!(!functions(holder).contains(&HANDLER));
    }
}

fn warned(report: &Report, words: &str) -> bool {
    report
        .warnings
        .iter()
        .any(|warning| warning.contains(words))
}

#[test]
fn a_snapshot_names_java_workers_and_their_handler() {
    if !ready("a_snapshot_names_java_workers_and_their_handler") {
        return;
    }
    let machine = Machine::start(&[], &[]);
    assert_unnamed(&machine.snapshot(&["--no-jvm-attach"]));
    assert!(!machine.socket().exists());
    let pid = machine.pid.to_string();
    let unasked = [
        "snapshot",
        "--json",
        "--min-age",
        "1s",
        "--pid",
        &pid,
        "--no-jvm-attach",
    ];
    let read = sockleak::run(unasked).report();
    let handling = |holder: &&HolderThread| functions(holder).contains(&HANDLER);
    assert!(holders(&read).iter().any(handling), "{read:#?}");
    assert!(!machine.socket().exists(), "read, not asked");
    let report = machine.snapshot(&[]);
    assert_named(&report);
    // Below the machine's own names are the native frames that it does not have.
    let native = |holder: &&&HolderThread| {
        let mut functions = functions(holder).into_iter();
        functions.any(|name| name.starts_with("Java_sun_nio_ch_") && name.ends_with("write0"))
    };
    assert_eq!(holders(&report).iter().filter(native).count(), WORKERS);
    // The second time the socket is there already.
    assert_named(&machine.snapshot(&[]));
    machine.assert_silent();
}

#[test]
fn a_watch_names_java_workers() {
    if !ready("a_watch_names_java_workers") {
        return;
    }
    let machine = Machine::start(&[], &["-XX:-UseSignalChaining"]);
    let pid = machine.pid.to_string();
    let tracer = Running::watch(["--json", "--min-age", "1s", "--pid", &pid]);
    std::thread::sleep(Duration::from_secs(2));
    assert_named(&tracer.stop().report());
    machine.assert_silent();
}

#[test]
fn a_java_machine_that_takes_no_requests_gets_no_signal() {
    if !ready("a_java_machine_that_takes_no_requests_gets_no_signal") {
        return;
    }
    let machine = Machine::start(&[], &["-XX:+DisableAttachMechanism"]);
    let report = machine.snapshot(&[]);
    assert_unnamed(&report);
    assert!(warned(&report, "-XX:+DisableAttachMechanism"));
    machine.assert_silent();
}

#[test]
fn a_java_machine_that_proves_nothing_is_asked_once_its_socket_is_there() {
    if !ready("a_java_machine_that_proves_nothing_is_asked_once_its_socket_is_there") {
        return;
    }
    let machine = Machine::start(&[], &["-XX:-UsePerfData"]);
    let report = machine.snapshot(&[]);
    assert_unnamed(&report);
    let advice = format!("jcmd {} Thread.print", machine.pid);
    assert!(warned(&report, &advice), "{:#?}", report.warnings);
    machine.assert_silent();
    let jcmd = Command::new("jcmd")
        .args([&machine.pid.to_string(), "Thread.print"])
        .stdout(Stdio::null())
        .status();
    assert!(jcmd.expect("jcmd").success());
    assert_named(&machine.snapshot(&[]));
}

#[test]
fn a_java_machine_without_signal_handlers_listens_from_the_start() {
    if !ready("a_java_machine_without_signal_handlers_listens_from_the_start") {
        return;
    }
    let machine = Machine::start(&[], &["-Xrs"]);
    assert_named(&machine.snapshot(&[]));
    machine.assert_silent();
}

#[test]
fn a_java_machine_of_another_user_is_asked_as_that_user() {
    if !ready("a_java_machine_of_another_user_is_asked_as_that_user") {
        return;
    }
    let id = NOBODY.to_string();
    let as_nobody = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
    let machine = Machine::start(&as_nobody, &[]);
    assert_named(&machine.snapshot(&[]));
    machine.assert_silent();
}

#[test]
fn a_java_machine_in_a_container_is_asked_there() {
    if !ready("a_java_machine_in_a_container_is_asked_there") {
        return;
    }
    let contained = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        "mount -t tmpfs none /tmp && exec \"$0\" \"$@\"",
    ];
    let machine = Machine::start(&contained, &[]);
    assert_ne!(machine.pid, machine.own_pid());
    assert_named(&machine.snapshot(&[]));
    let is_socket =
        |path: &Path| fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    assert!(is_socket(&machine.socket()));
    assert!(!Path::new(&format!("/tmp/.java_pid{}", machine.own_pid())).exists());
    machine.assert_silent();
}

#[test]
fn a_socket_that_is_not_the_java_machines_own_is_refused() {
    if !ready("a_socket_that_is_not_the_java_machines_own_is_refused") {
        return;
    }
    let machine = Machine::start(&[], &[]);
    let planted = UnixListener::bind(machine.socket()).expect("plant a socket");
    planted.set_nonblocking(true).expect("ask without waiting");
    for owner in [NOBODY, 0] {
        chown(machine.socket(), Some(owner), Some(owner)).expect("give it away");
        let report = machine.snapshot(&[]);
        assert_unnamed(&report);
        assert!(warned(&report, ".java_pid"), "{:#?}", report.warnings);
    }
    fs::remove_file(machine.socket()).expect("remove it");
    let trigger = machine.in_tmp(&format!(".attach_pid{}", machine.pid));
    fs::write(&trigger, "").expect("plant a file");
    chown(&trigger, Some(NOBODY), Some(NOBODY)).expect("give it away");
    let report = machine.snapshot(&[]);
    assert_unnamed(&report);
    assert!(warned(&report, ".attach_pid"), "{:#?}", report.warnings);
    assert!(trigger.exists(), "what is another's is not removed");
    fs::remove_file(&trigger).expect("remove it");
    machine.assert_silent();
}
