//! What each thread of a holder waits for, in the recording: one thread for each way to wait. The truth is
//! the rig's own word, and the descriptors as /proc shows them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use tests::client::Manner;
use tests::manifest::Entry;
use tests::rig::Rig;
use tests::{manifest, recording, skip, sockleak, wait};

#[test]
fn every_thread_says_what_it_waits_for() {
    let name = "every_thread_says_what_it_waits_for";
    if !skip::require_root(name) {
        return;
    }
    let rig = rig();
    wait::outlive_one_second();
    let threads = threads(&rig);
    let waits = |name: &str| threads[name]["wait"].clone();
    let target = |name: &str| target(&rig, name);
    assert_eq!(waits("w-receive"), json!({"Receive": target("w-receive")}));
    assert_eq!(waits("w-send"), json!({"Send": target("w-send")}));
    assert_eq!(waits("w-accept"), json!({"Accept": target("w-accept")}));
    assert_eq!(
        waits("w-pipe"),
        json!({"Receive": {"fd": target("w-pipe")["fd"], "file": "Pipe"}})
    );
    let member = |name: &str| json!({"target": target(name), "input": true, "output": false});
    let polled = |members: Value, select: bool, times_out: bool| json!({"Poll": {"members": members, "complete": true, "select": select, "times_out": times_out}});
    assert_eq!(
        waits("w-poll"),
        polled(json!([member("w-poll")]), false, false)
    );
    assert_eq!(
        waits("w-select"),
        polled(json!([member("w-select")]), true, false)
    );
    let two = waits("w-ppoll");
    assert_eq!(two["Poll"]["members"][0]["target"]["file"], "EventFd");
    assert_eq!(two["Poll"]["members"][1], member("w-ppoll"));
    assert_eq!(two["Poll"]["times_out"], true);
    let set = target("w-epoll")["fd"].clone();
    assert_eq!(waits("w-epoll"), json!({"Epoll": {"set": set}}));
    assert_eq!(waits("w-child"), "Child");
    assert_eq!(waits("w-owner"), "Sleep");
    assert_eq!(waits("w-loop"), "Running");
    let owner = &threads["w-owner"]["tid"];
    assert_eq!(&waits("w-mutex")["Lock"]["owner"], owner);
    assert_eq!(waits("w-rwlock")["Lock"]["owner"], Value::Null);
    assert!(waits("w-condition").get("Futex").is_some());
    let placed = threads.values().map(|thread| check_places(&rig, thread));
    assert!(placed.sum::<usize>() > 20, "{threads:#?}");
    for name in ["w-receive", "w-condition"] {
        assert!(
            threads[name]["switches"].as_u64() > Some(0),
            "{:?}",
            threads[name]
        );
    }
}

/// A frame of x86-64 ends in its return address: it must lie in memory where the frame is said to end.
fn check_places(rig: &Rig, thread: &Value) -> usize {
    let memory = std::fs::File::open(format!("/proc/{}/mem", rig.pid())).expect("memory");
    let places = thread["frames_at"].as_array().expect("places");
    for place in places.iter().filter(|_| cfg!(target_arch = "x86_64")) {
        let cfa = place["cfa"].as_u64().expect("an address");
        let mut word = [0; 8];
        memory.read_exact_at(&mut word, cfa - 8).expect("a word");
        let returns = place["return_address"].as_u64();
        assert_eq!(Some(u64::from_ne_bytes(word)), returns, "{thread:#?}");
    }
    places.len()
}

/// A stop and a continuation turn a poll, a sleep and a wait for a futex into `restart_syscall`.
#[test]
fn an_interrupted_wait_is_what_it_was() {
    let name = "an_interrupted_wait_is_what_it_was";
    if !skip::require_root(name) {
        return;
    }
    let rig = rig();
    wait::outlive_one_second();
    let before = threads(&rig);
    rig.signal(rustix::process::Signal::STOP);
    std::thread::sleep(Duration::from_millis(200));
    let stopped = threads(&rig);
    rig.signal(rustix::process::Signal::CONT);
    std::thread::sleep(Duration::from_millis(200));
    let after = threads(&rig);
    let number = |name: &str| {
        let path = format!("/proc/{}/task/{}/syscall", rig.pid(), after[name]["tid"]);
        std::fs::read_to_string(path).expect("the system call")
    };
    assert!(number("w-poll").starts_with("219 "), "{}", number("w-poll"));
    for name in ["w-poll", "w-owner", "w-mutex", "w-receive", "w-select"] {
        assert_eq!(stopped[name]["wait"], "Stopped", "{name}");
        assert_eq!(after[name]["wait"], before[name]["wait"], "{name}");
    }
}

fn rig() -> Rig {
    Rig::leaking(&Entry {
        name: "waits".to_owned(),
        source: "c/waits.c".to_owned(),
        client: Manner::RequestThenClose,
        ..manifest::entry("c-never-read")
    })
}

/// By the kernel's name of the thread.
fn threads(rig: &Rig) -> BTreeMap<String, Value> {
    let folder = tempfile::tempdir().expect("a folder for the recording");
    let file = folder.path().join("run");
    let (pid, path) = (rig.pid().to_string(), file.display().to_string());
    let until = ["--min-age", "1s", "--duration", "2s"];
    let args = ["watch", "--pid", &pid, "--record", &path];
    sockleak::run(args.into_iter().chain(until)).said(0, &[]);
    let inputs = recording::inputs(&file, "Threads");
    let all = inputs
        .iter()
        .filter_map(|input| input["threads"].as_array());
    let named = |thread: &Value| Some((thread["comm"].as_str()?.to_owned(), thread.clone()));
    all.flatten().filter_map(named).collect()
}

/// The socket that the rig gave to its thread of this name.
fn target(rig: &Rig, name: &str) -> Value {
    let fd: i32 = rig.said(&format!("fd {name} ")).parse().expect("a number");
    let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", rig.pid())).expect("a descriptor");
    let link = link.display().to_string();
    let inode = link
        .trim_start_matches("socket:[")
        .trim_end_matches(']')
        .parse::<u64>();
    json!({"fd": fd, "file": {"Socket": inode.unwrap_or(0)}})
}
