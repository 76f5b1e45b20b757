//! What an event loop takes out and does not put back, seen while `epoll_ctl` is watched.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tests::lines::Lines;
use tests::sockleak::Running;
use tests::{bpf, process, skip, wait};

/// A loop that takes each client out until it can be answered, which the client named `K` never is. For each number it
/// is given, eight clients are served and so many are not.
const PROGRAM: &str = r"
import select, socket, sys, threading, time

server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen(64)
loop = select.epoll()
loop.register(server, select.EPOLLIN)
clients, due = {}, []

def on_request(fd):
    request = clients[fd].recv(100)
    if request:
        hold_back(fd, request)
    else:
        loop.unregister(fd)
        clients.pop(fd).close()

def hold_back(fd, request):
    loop.unregister(fd)
    if request != b'K':
        due.append((time.time() + 0.05, fd))

def put_back(fd):
    clients[fd].send(b'answer')
    loop.register(fd, select.EPOLLIN)

def serve():
    while True:
        for fd, _ in loop.poll(0.02):
            if fd == server.fileno():
                client, _ = server.accept()
                clients[client.fileno()] = client
                loop.register(client, select.EPOLLIN)
            else:
                on_request(fd)
        while due and due[0][0] < time.time():
            put_back(due.pop(0)[1])

def ask(request):
    client = socket.create_connection(server.getsockname())
    client.send(request)
    return client

def traffic():
    for line in sys.stdin:
        for _ in range(8):
            client = ask(b'hello')
            client.recv(100)
            client.close()
        for _ in range(int(line)):
            client = ask(b'K')
            time.sleep(0.05)
            client.close()
        print('sent', flush=True)

threading.Thread(target=traffic, daemon=True).start()
print('ready', flush=True)
serve()
";
const SOON: Duration = Duration::from_secs(20);

#[test]
fn what_a_loop_does_not_put_back_is_parked() {
    if !skip::require_root("what_a_loop_does_not_put_back_is_parked") {
        return;
    }
    let mut program = Ended(
        Command::new("python3")
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the program"),
    );
    let child = &mut program.0;
    let pid = child.id();
    let lines = Lines::of(child.stdout.take().expect("stdout"));
    lines.after("ready", SOON).expect("it starts");
    let watch = Running::watch(["--pid", &pid.to_string(), "--min-age", "1s", "--json"]);
    let before = hooks(watch.pid());
    let told = |verdict: &str| {
        wait::wait_for(verdict, SOON, || {
            let lines = watch.stderr().so_far();
            lines.iter().any(|line| line.contains(verdict))
        });
    };
    let mut send = |forgotten: usize| {
        let input = child.stdin.as_mut().expect("stdin");
        writeln!(input, "{forgotten}").expect("ask for clients");
    };
    // Stuck before anybody watches the loop: that is why it is watched.
    send(2);
    told("lost-reference");
    wait::wait_for("the loop is watched", SOON, || hooks(watch.pid()) > before);
    send(3);
    told("parked");
    let finished = watch.stop();
    let report = finished.report();
    // Those from before the windows go with the others; the last ones may be too young.
    let [site] = report.sites.as_slice() else {
        panic!("one cause: {:?}", report.sites);
    };
    assert_eq!(site.verdict, "parked");
    assert!((3..=5).contains(&site.count), "{site:?}");
    let blame = site.blame.as_ref().expect("somebody is blamed");
    assert!(blame.function.contains("hold_back"), "{blame:?}");
    let out = site.stacks.named("taken_out").concat();
    let functions: Vec<_> = out
        .iter()
        .filter_map(|frame| frame.function.as_deref())
        .collect();
    assert!(
        ["hold_back", "on_request", "serve"]
            .iter()
            .all(|name| functions.contains(name)),
        "{functions:?}"
    );
}

/// However the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Links, and system call tracepoints, which are events.
fn hooks(pid: u32) -> usize {
    let events = process::descriptors(pid);
    let events = events
        .iter()
        .filter(|(_, to)| to.ends_with("anon_inode:[perf_event]"));
    bpf::held_by(pid).links.len() + events.count()
}
