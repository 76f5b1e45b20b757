//! What the helper could do if a file took it over: nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::program::{Blocked, SERVER, SYS_RECVFROM, Workshop};
use super::{has, resolve, said, symbolizer};

fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field));
    let value = line.unwrap().split_once(':').unwrap().1;
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn it_names_a_stack_without_user_capabilities_environment_files_or_network() {
    let shop = Workshop::new();
    let server = Blocked::start(&shop.c("server", SERVER, &["-O2", "-g"]), SYS_RECVFROM);
    let mut symbolizer = symbolizer();
    assert_eq!(symbolizer.helper(), None, "started before there is work");
    let found = resolve(&mut symbolizer, &server.copy());
    assert!(has(&found, "handle_client"), "{found:#?}");
    // The helper tries to open files and to make sockets, and tells when it can.
    assert_eq!(said(&found), "");
    let pid = symbolizer.helper().unwrap();
    for id in ["Uid", "Gid"] {
        assert_eq!(status(pid, id), "65534 65534 65534 65534");
    }
    assert_eq!(status(pid, "Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    assert_eq!(status(pid, "Seccomp"), "2");
    assert_eq!(status(pid, "Threads"), "1");
    let root = fs::read_link(format!("/proc/{pid}/root")).unwrap();
    assert_eq!(root, Path::new(&format!("/proc/{pid}/fd")));
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), root);
    // Nothing of the user's: only how its own allocator is to work.
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let mut settings = environment.split(|byte| *byte == 0);
    assert!(settings.all(|setting| setting.is_empty() || setting.starts_with(b"MALLOC_")));
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    for (limit, value) in [
        ("Max address space", 3_u64 << 30),
        ("Max file size", 1 << 30),
        ("Max processes", 0),
        ("Max core file size", 0),
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        let value = value.to_string();
        let values = line.split_whitespace().filter(|word| **word == value);
        assert_eq!(values.count(), 2, "{line}");
    }
}

/// Standard descriptors, the channel, the files it was sent, and its own copies in memory.
#[test]
fn it_holds_no_descriptor_it_was_not_sent() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2", "-g"]);
    // One that a careless parent leaves open.
    let leak = fs::File::open("/etc/hostname").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let server = Blocked::start(&program, SYS_RECVFROM);
    let mut symbolizer = symbolizer();
    resolve(&mut symbolizer, &server.copy());
    let pid = symbolizer.helper().unwrap();
    let mapped = fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    let mut links = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        links.push(fs::read_link(entry.unwrap().path()).unwrap());
    }
    assert!(links.contains(&program), "{links:?}");
    for link in &links {
        let text = link.to_str().unwrap();
        let known = text == "/dev/null"
            || text.starts_with("socket:")
            || text.starts_with("/memfd:sockleak-")
            || text.starts_with("/usr/lib/debug/")
            || mapped.contains(text);
        assert!(known, "{text}");
    }
    let sockets = links.iter().filter(|link| link.starts_with("socket:"));
    assert!(sockets.count() <= 2, "{links:?}");
}

#[test]
fn it_goes_when_the_tracer_goes() {
    let shop = Workshop::new();
    let server = Blocked::start(&shop.c("server", SERVER, &["-O2"]), SYS_RECVFROM);
    let mut symbolizer = symbolizer();
    resolve(&mut symbolizer, &server.copy());
    let pid = symbolizer.helper().unwrap();
    drop(symbolizer);
    std::thread::sleep(Duration::from_millis(100));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

/// Not a command for people: it neither waits for a terminal nor says anything.
#[test]
fn without_a_tracer_it_ends_at_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_sockleak"))
        .arg("--internal-read-program-files")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
    let help = Command::new(env!("CARGO_BIN_EXE_sockleak"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("internal"));
}
