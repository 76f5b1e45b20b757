//! The scenario of a guest that systemd has booted: the service is enabled and started as the documents say, a program
//! leaks, and what the service tells of it goes to the host.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::run::{Background, finished};
use super::{RESULTS, tell};
use crate::vm::record::{END, Step};
use crate::vm::systemd::{FUNCTION, RIG_PLACE, SERVICE, Words};

const ADDRESS: &str = "127.0.0.1:10435";
const CLIENTS: usize = 5;
/// Twice `--min-age` of the shipped service, on an emulated machine.
const PATIENCE: Duration = Duration::from_mins(5);

pub fn scenario() -> Result<()> {
    let results = OpenOptions::new().write(true).open(RESULTS);
    let mut results = results.context("open the second serial line")?;
    let mut step = |name: &str, program: &str, args: &[&str]| {
        let done = finished(name, Command::new(program).args(args))?;
        tell(&mut results, &done)
    };
    step(Words::START, "systemctl", &["enable", "--now", SERVICE])?;
    leak(&mut results)?;
    let mut step = |name: &str, program: &str, args: &[&str]| {
        let done = finished(name, Command::new(program).args(args))?;
        tell(&mut results, &done)
    };
    let state = ["show", SERVICE, "--property=ActiveState,NRestarts,Result"];
    step(Words::RUNS, "systemctl", &state)?;
    let security = ["security", "--no-pager", SERVICE];
    step(Words::SECURITY, "systemd-analyze", &security)?;
    // The manual pages come with the package.
    step(
        Words::VERIFY,
        "systemd-analyze",
        &["verify", "--man=no", SERVICE],
    )?;
    step(Words::STOP, "systemctl", &["stop", SERVICE])?;
    step(Words::STOPPED, "systemctl", &state)?;
    let journal = ["--no-pager", "--unit", SERVICE];
    step(Words::JOURNAL, "journalctl", &journal)?;
    let end = Step {
        name: END.to_owned(),
        code: None,
        stdout: String::new(),
        stderr: String::new(),
    };
    tell(&mut results, &end)
}

/// What is stuck first makes the service attach the hooks on reads; what the same program leaks then has its function.
fn leak(results: &mut File) -> Result<()> {
    let mut command = Command::new(RIG_PLACE);
    command.args(["--connections", &(2 * CLIENTS).to_string()]);
    let rig = Background::start("rig", &mut command)?;
    rig.wait_for_line("stdout", "ready ")?;
    let said = rig.so_far()?.stdout;
    let port = said.trim().strip_prefix("ready ").context("a port")?;
    let port: u16 = port.trim().parse().context("read the rig's port")?;
    for (name, told) in [
        (Words::FIRST, is_watching as fn(&Value) -> bool),
        (Words::REPORT, names_the_function),
    ] {
        for _ in 0..CLIENTS {
            connect_and_close(port)?;
        }
        let (code, report) = report(told);
        let step = Step {
            name: name.to_owned(),
            code: Some(code),
            stdout: report,
            stderr: String::new(),
        };
        tell(results, &step)?;
    }
    Ok(())
}

fn connect_and_close(port: u16) -> Result<()> {
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connect")?;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").context("ask")?;
    client.read(&mut [0; 256]).context("hear an answer")?;
    Ok(())
}

fn is_watching(report: &Value) -> bool {
    let hooks = report.get("hooks").and_then(Value::as_array);
    let stuck = report.pointer("/totals/stuck").and_then(Value::as_u64);
    stuck.is_some_and(|stuck| stuck > 0)
        && hooks.is_some_and(|hooks| {
            let waits = |hook: &Value| hook.get("status").is_some_and(|status| status == "standby");
            !hooks.iter().any(waits)
        })
}

fn names_the_function(report: &Value) -> bool {
    let sites = report.get("sites").and_then(Value::as_array);
    sites.is_some_and(|sites| {
        sites.iter().any(|site| {
            let function = site.pointer("/blame/function");
            function.is_some_and(|function| function == FUNCTION)
        })
    })
}

/// The first one of which this holds, or the last one before patience ended, and 1.
fn report(told: impl Fn(&Value) -> bool) -> (i32, String) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = get("/api/report").unwrap_or_else(|error| format!("{error:#}"));
        let holds = serde_json::from_str(&text).is_ok_and(|report| told(&report));
        if holds || Instant::now() > deadline {
            return (i32::from(!holds), text);
        }
        sleep(Duration::from_secs(2));
    }
}

/// The body of an answer to HTTP/1.0, which ends with the connection.
fn get(path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(ADDRESS).context("connect to the service")?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("limit the wait")?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").context("ask the service")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("hear the service")?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    Ok(body.to_owned())
}
