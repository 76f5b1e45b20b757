//! Java virtual machines at hand, compared frame by frame with the dump they print on SIGQUIT.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Symbolizer;
use super::program::{Blocked, OwnedCopy, Workshop};
use crate::model::stack::JAVA;

/// Threads that block below interpreted, compiled and inlined methods, and below a library's.
const PROGRAM: &str = r#"
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.util.concurrent.*;
import java.util.function.*;

public class Waits {
    static ServerSocket server;
    static volatile int sink;

    interface Step { int go(InputStream in, int n) throws Exception; }

    static int deep(InputStream in, int n) throws Exception {
        return n > 0 ? deep(in, n - 1)
            : last(in);
    }
    static int last(InputStream in) throws Exception {
        return in == null ? 1 : in.read();
    }
    static int middle(InputStream in, int n) throws Exception {
        int got = deep(in, n);
        sink += got;
        return got;
    }
    class Inner {
        int call(Step step, InputStream in) throws Exception {
            return step.go(in, 3);
        }
    }
    static void start(String name, Callable<Object> work) {
        Thread thread = new Thread(() -> {
            try { work.call(); } catch (Exception e) { throw new RuntimeException(e); }
        }, name);
        thread.setDaemon(true);
        thread.start();
    }
    static InputStream input() throws Exception {
        Socket socket = new Socket(server.getInetAddress(), server.getLocalPort());
        server.accept();
        return socket.getInputStream();
    }
    public static void main(String[] arguments) throws Exception {
        server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        InputStream cold = input(), hot = input(), mirrored = input();
        start("t-cold", () -> new Waits().new Inner().call(Waits::middle, cold));
        start("t-hot", () -> {
            for (int i = 0; i < 300_000; i++) middle(null, 2);
            return middle(hot, 2);
        });
        start("t-reflect", () -> Waits.class.getDeclaredMethod("last", InputStream.class).invoke(null, mirrored));
        start("t-accept", () -> new ServerSocket(0, 50, InetAddress.getLoopbackAddress()).accept());
        start("t-sleep", () -> { Thread.sleep(1_000_000); return null; });
        start("t-select", () -> { Selector s = Selector.open(); s.select(); return null; });
        start("t-pipe", () -> { Pipe p = Pipe.open(); return p.source().read(ByteBuffer.allocate(10)); });
        ExecutorService pool = Executors.newFixedThreadPool(2);
        BlockingQueue<String> queue = new LinkedBlockingQueue<>();
        pool.submit(queue::take);
        Thread.sleep(4000);
        System.out.println("ready");
        new CountDownLatch(1).await();
    }
}
"#;

/// A thread's id and name, and of each frame the method and the line.
type Dumped = (u32, String, Vec<(String, Option<u32>)>);

struct Machine {
    blocked: Blocked,
    lines: Receiver<String>,
}

impl Machine {
    fn start(java: &Path, options: &[&str], folder: &Path) -> Self {
        let mut command = Command::new(java);
        command.args(options).arg("-cp").arg(folder).arg("Waits");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let blocked = Blocked::of(child);
        let machine = Self { blocked, lines };
        while machine.line() != "ready" {}
        std::thread::sleep(Duration::from_millis(300));
        machine
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_mins(1)).unwrap()
    }

    fn once_it_waits(&self, id: u32) -> OwnedCopy {
        loop {
            if let Some(copy) = self.blocked.present_thread(id) {
                return copy;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The program's own threads, none of which compiles or is late.
    fn dump_once_all_wait(&self) -> Vec<Dumped> {
        let wanted =
            |name: &str| name.starts_with("t-") || name.starts_with("pool-") || name == "main";
        let waits = |id: u32| self.blocked.present_thread(id).is_some();
        loop {
            let mut dump = self.dump();
            dump.retain(|(_, name, frames)| wanted(name) && !frames.is_empty());
            if dump.iter().all(|(id, _, _)| waits(*id)) {
                return dump;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn dump(&self) -> Vec<Dumped> {
        let pid = Pid::from_raw(self.blocked.pid() as i32).unwrap();
        kill_process(pid, Signal::QUIT).unwrap();
        let mut threads: Vec<Dumped> = Vec::new();
        loop {
            let line = self.line();
            if line.starts_with("JNI global ref") {
                return threads;
            }
            if let Some(rest) = line.strip_prefix('"') {
                let (name, rest) = rest.split_once('"').unwrap();
                let id = rest
                    .split_once("nid=")
                    .map(|(_, id)| id.split(' ').next().unwrap());
                let id = id.map(|id| match id.strip_prefix("0x") {
                    Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
                    None => id.parse().unwrap(),
                });
                threads.push((id.unwrap_or_default(), name.to_owned(), Vec::new()));
            } else if let Some(frame) = line.trim().strip_prefix("at ") {
                let (method, place) = frame.split_once('(').unwrap();
                let line = place
                    .trim_end_matches(')')
                    .rsplit_once(':')
                    .map(|(_, line)| line);
                let line = line.and_then(|line| line.parse().ok());
                threads
                    .last_mut()
                    .unwrap()
                    .2
                    .push((without_address(method), line));
            }
        }
    }
}

/// `Waits$$Lambda$14/0x00000008000c8c00.call` and the like: the address is no name.
fn without_address(method: &str) -> String {
    match method.split_once("/0x") {
        Some((class, rest)) => {
            let name = rest.split_once('.').map_or("", |(_, name)| name);
            format!("{class}.{name}")
        }
        None => method.to_owned(),
    }
}

/// Those of the distribution, and any that are named beside.
fn machines() -> Vec<PathBuf> {
    let beside = std::env::var("SOCKLEAK_TEST_JAVA").unwrap_or_default();
    let mut found: Vec<PathBuf> = beside.split(':').map(PathBuf::from).collect();
    let installed = std::fs::read_dir("/usr/lib/jvm")
        .into_iter()
        .flatten()
        .flatten();
    let mut homes: Vec<PathBuf> = installed
        .filter_map(|home| home.path().canonicalize().ok())
        .collect();
    homes.sort();
    homes.dedup();
    found.extend(homes.iter().map(|home| home.join("bin/java")));
    found.retain(|java| java.is_file());
    found
}

/// Equal, and all threads of the program.
fn compare(java: &Path, options: &[&str], folder: &Path) -> (usize, usize) {
    let machine = Machine::start(java, options, folder);
    let mut symbolizer = Symbolizer::new();
    let (mut equal, mut all) = (0, 0);
    for (id, name, expected) in machine.dump_once_all_wait() {
        let found = symbolizer.resolve(&machine.once_it_waits(id).view());
        let frames = found.stack.frames.iter();
        let told: Vec<(String, Option<u32>)> = frames
            .filter(|frame| frame.module.as_deref() == Some(JAVA))
            .map(|frame| {
                (
                    without_address(frame.function.as_deref().unwrap()),
                    frame.line,
                )
            })
            .collect();
        all += 1;
        if told == expected && !found.stack.truncated {
            equal += 1;
        } else {
            eprintln!(
                "{} {options:?} {name}: {told:#?} is not {expected:#?}",
                java.display()
            );
        }
    }
    (equal, all)
}

#[test]
#[ignore = "there is not a JDK for every machine"]
fn waiting_java_threads_are_named_as_the_machine_names_them() {
    let shop = Workshop::new();
    std::fs::write(shop.path("Waits.java"), PROGRAM).unwrap();
    shop.run("javac", &["--release", "11", "Waits.java"]);
    let machines = machines();
    let mut shares = Vec::new();
    assert!(!machines.is_empty());
    for java in machines {
        for options in [
            &[][..],
            &["-Xint"],
            &["-Xcomp", "-XX:+UseParallelGC"],
            &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],
        ] {
            let (equal, all) = compare(&java, options, shop.path("").as_path());
            println!("{} {options:?}: {equal} of {all} equal", java.display());
            shares.push((equal, all));
        }
    }
    assert!(shares.iter().all(|share| *share == (9, 9)), "{shares:?}");
}
