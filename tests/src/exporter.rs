//! `sockleak serve` in the background, on a port of its own.
use crate::http::{self, Answer};
use crate::sockleak::{self, Running};
use crate::wait::wait_for;
use std::fs;
use std::process::Command;
use std::time::Duration;

const READY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Exporter {
    pub running: Running,
    /// Of its first listener.
    pub address: String,
}

impl Exporter {
    /// With sockets stuck after a second, everything watched, and the options given.
    pub fn start(options: &[&str]) -> Self {
        let mut args = vec!["serve", "-v", "--min-age", "1s"];
        if !options
            .iter()
            .any(|option| option.starts_with("--web.listen-address"))
        {
            args.extend(["--web.listen-address", "127.0.0.1:0"]);
        }
        if !options.contains(&"--evidence") {
            args.extend(["--evidence", "always"]);
        }
        args.extend(options);
        Self::of(&mut sockleak::command(args))
    }

    pub fn of(command: &mut Command) -> Self {
        let running = Running::start(command);
        let line = running.stderr().after("answers requests on ", READY);
        let line = line.unwrap_or_else(|| panic!("never ready:\n{}", running.streams_so_far()));
        let address = line.split(", ").next().unwrap_or(&line).trim().to_owned();
        Self { running, address }
    }

    /// The process that answers.
    pub fn answerer(&self) -> u32 {
        let parent = format!("\nPPid:\t{}\n", self.running.pid());
        let listing = fs::read_dir("/proc").expect("list /proc");
        let mut pids = listing
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let of_parent = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            line.starts_with(b"sockleak-http") && status.contains(&parent)
        };
        pids.find(of_parent).expect("a process that answers")
    }

    pub fn get(&self, path: &str) -> Answer {
        http::get(&self.address, path, &[])
    }

    pub fn metrics(&self) -> String {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// The sum of the samples of one metric whose labels hold all of the words.
    pub fn metric(&self, name: &str, words: &[&str]) -> Option<f64> {
        sum(&self.metrics(), name, words)
    }

    pub fn wait_for_metric(&self, name: &str, words: &[&str], fits: impl Fn(f64) -> bool) {
        wait_for(&format!("{name} {words:?}"), READY, || {
            self.metric(name, words).is_some_and(&fits)
        });
    }
}

pub fn sum(text: &str, name: &str, words: &[&str]) -> Option<f64> {
    let samples = text.lines().filter(|line| {
        let of_it = line
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']));
        of_it && words.iter().all(|word| line.contains(word))
    });
    let values: Vec<f64> = samples
        .map(|line| {
            line.rsplit_once(' ')
                .expect("a value")
                .1
                .parse()
                .expect("a number")
        })
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}
