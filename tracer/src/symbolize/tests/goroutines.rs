//! Goroutines of Go programs, compared frame by frame with the dump that the runtime prints when it is asked to quit.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::Symbolizer;
use super::program::Workshop;
use crate::model::input::ProcessKey;
use crate::model::runtime::Runtimes;
use crate::symbolize::{Goroutine, Goroutines, Running};

/// Goroutines that wait in every way, some of them below inlined and generic functions.
const PROGRAM: &str = r#"
package main

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

type cache[T any] struct {
	mutex sync.Mutex
	item  T
}

func (c *cache[T]) get() T { c.mutex.Lock(); defer c.mutex.Unlock(); return c.item }

type shared struct {
	sync.RWMutex
	values map[string]int
}

func (s *shared) read(name string) int { s.RLock(); defer s.RUnlock(); return s.values[name] }

//go:noinline
func deep(depth int, wait func()) int {
	var room [64]int
	if depth == 0 {
		wait()
	} else {
		room[depth] = deep(depth-1, wait)
	}
	return room[depth]
}

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	held := &cache[int]{}
	held.mutex.Lock()
	guarded := &shared{}
	guarded.Lock()
	never := make(chan int)
	full := make(chan int, 1)
	full <- 1
	var group sync.WaitGroup
	group.Add(1)
	condition := sync.NewCond(&sync.Mutex{})
	pipe := make([]int, 2)
	syscall.Pipe(pipe)
	waits := []func(){
		func() { held.get() },
		func() { guarded.read("x") },
		func() { <-never },
		func() { full <- 2 },
		func() { group.Wait() },
		func() { condition.L.Lock(); condition.Wait() },
		func() { select { case <-never: case full <- 3: } },
		func() { time.Sleep(time.Hour) },
		func() { syscall.Read(pipe[0], make([]byte, 1)) },
		func() { for { listener.Accept() } },
		func() {
			client, _ := net.Dial("tcp4", listener.Addr().String())
			fmt.Println("reads", client.LocalAddr().(*net.TCPAddr).Port)
			bufio.NewReader(client).ReadString('\n')
		},
	}
	for number, wait := range waits {
		go deep(number, wait)
	}
	for number := 0; number < 50; number++ {
		go func() { held.get() }()
	}
	time.Sleep(500 * time.Millisecond)
	fmt.Println("ready")
	<-never
}
"#;

struct Program(Child);

/// By goroutine: functions and lines.
type Frames = BTreeMap<u64, Vec<(String, u32)>>;
/// By goroutine: the function that has started it, and the goroutine, or 0 where the release does not tell it.
type Creators = BTreeMap<u64, (String, u64)>;

impl Program {
    fn start(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.env("GOTRACEBACK", "system");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while lines.next().unwrap().unwrap() != "ready" {}
        Self(child)
    }

    fn goroutines(&self, runtimes: Runtimes) -> Option<Goroutines> {
        let pid = self.0.id();
        let process = ProcessKey { pid, start_boot: 0 };
        let mut symbolizer = Symbolizer::new();
        symbolizer.link.runtimes = runtimes;
        symbolizer.goroutines(process, &[], &[])
    }

    fn quit(mut self) -> (Frames, Creators) {
        kill_process(Pid::from_child(&self.0), Signal::QUIT).unwrap();
        let mut text = String::new();
        let mut errors = self.0.stderr.take().unwrap();
        errors.read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        dumped(&text)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dumped(text: &str) -> (Frames, Creators) {
    let mut found = BTreeMap::new();
    let mut creators = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("goroutine ") else {
            continue;
        };
        let id: u64 = rest.split_once(' ').unwrap().0.parse().unwrap();
        let mut frames = Vec::new();
        while let Some(function) = lines.next_if(|line| !line.is_empty()) {
            if let Some(created) = function.strip_prefix("created by ") {
                let by = created.split_once(" in goroutine ");
                let by = by.map(|(function, by)| (function.to_owned(), by.parse().unwrap()));
                creators.insert(id, by.unwrap_or_else(|| (created.to_owned(), 0)));
                continue;
            }
            // Those that run on other threads have no stack here.
            let Some(end) = function.rfind('(').filter(|_| !function.starts_with('\t')) else {
                continue;
            };
            let name = &function[..end];
            let place = lines.next_if(|line| line.starts_with('\t'));
            let place = place.unwrap_or_default();
            if place.contains("<autogenerated>") {
                continue;
            }
            let (_, line) = place.rsplit_once(':').unwrap();
            let line = line.split(' ').next().unwrap().parse().unwrap();
            frames.push((name.to_owned(), line));
        }
        found.insert(id, frames);
    }
    (found, creators)
}

fn told(found: &Goroutines, one: &Goroutine) -> Vec<(String, u32)> {
    let stack = &found.stacks[one.stack.unwrap() as usize];
    assert!(!stack.truncated, "{stack:#?}");
    // Methods that the compiler made have no line.
    let frames = stack.frames.iter().filter(|frame| frame.line.is_some());
    frames
        .map(|frame| {
            (
                frame.function.clone().unwrap_or_default(),
                frame.line.unwrap_or(0),
            )
        })
        .collect()
}

/// That of PATH, and any that are named beside.
fn toolchains() -> Vec<PathBuf> {
    let beside = std::env::var("SOCKLEAK_TEST_GO").unwrap_or_default();
    let named = beside.split(':').filter(|path| !path.is_empty());
    std::iter::once("go")
        .chain(named)
        .map(PathBuf::from)
        .collect()
}

fn compare(go: &Path, options: &[&str]) {
    let shop = Workshop::new();
    std::fs::write(shop.path("main.go"), PROGRAM).unwrap();
    let mut build = Command::new(go);
    build
        .current_dir(shop.path(""))
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0");
    build
        .args(["build", "-o", "waits"])
        .args(options)
        .arg("main.go");
    assert!(build.status().unwrap().success(), "{}", go.display());
    let program = Program::start(&shop.path("waits"));
    assert_eq!(program.goroutines(Runtimes::NONE), None);
    let begin = std::time::Instant::now();
    let found = program.goroutines(Runtimes::ALL).unwrap();
    let took = begin.elapsed();
    let (dump, creators) = program.quit();
    let waiting: Vec<&Goroutine> = found
        .goroutines
        .iter()
        .filter(|one| one.running == Running::Waits)
        .collect();
    let same = |one: &&&Goroutine| {
        let (ours, theirs) = (told(&found, one), dump.get(&one.id));
        if theirs != Some(&ours) {
            eprintln!("goroutine {}: {ours:#?} is not {theirs:#?}", one.id);
        }
        theirs == Some(&ours)
    };
    let equal = waiting.iter().filter(same).count();
    println!(
        "{} {options:?}: {equal} of {} equal, in {took:?}",
        go.display(),
        waiting.len()
    );
    // The one in the system call runs on a thread nobody has asked about.
    assert_eq!((equal, found.goroutines.len()), (waiting.len(), 62));
    assert_eq!(waiting.len(), 61);
    assert!(found.all);
    for one in &found.goroutines {
        let Some((function, by)) = creators.get(&one.id) else {
            assert_eq!(one.id, 1, "only the first was started by nobody: {one:?}");
            continue;
        };
        let at = &found.stacks[one.created_in.unwrap() as usize].frames;
        let told = at.last().unwrap().function.as_deref();
        assert_eq!(
            (told, one.creator),
            (Some(function.as_str()), *by),
            "{one:?}"
        );
    }
    let polled = waiting.iter().filter(|one| one.waits_for.is_some());
    assert_eq!(polled.count(), 2, "{waiting:#?}");
    let theirs = dump.iter().filter(|(_, frames)| {
        let runtime =
            |name: &str| name.starts_with("runtime.") || name.starts_with("internal/runtime/");
        frames
            .iter()
            .any(|(name, _)| !runtime(name) || name == "runtime.main")
    });
    assert_eq!(theirs.count(), 62);
}

#[test]
fn goroutines_are_told_as_their_runtime_tells_them() {
    for go in toolchains() {
        for options in [
            &[][..],
            &["-ldflags=-s -w"],
            &["-buildmode=pie", "-ldflags=-s -w"],
            &["-gcflags=all=-N -l"],
        ] {
            compare(&go, options);
        }
    }
}
