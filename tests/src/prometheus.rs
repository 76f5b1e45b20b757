//! A real Prometheus that scrapes a rig: once a second for each of its jobs, giving up after half a
//! second. It listens on a port of loopback the kernel chooses, and its data goes with it.
use crate::{process, skip};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Each scrapes the same address on a connection of its own.
pub const JOBS: usize = 5;
const CONFIGURATION: &str = "\
global:
  scrape_interval: 1s
  scrape_timeout: 500ms
scrape_configs:
";

#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    _folder: TempDir,
}

impl Prometheus {
    pub fn scrape(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Prometheus");
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration(target)).expect("configure Prometheus");
        let program = skip::find_program("prometheus").expect("prometheus");
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .args(["--web.listen-address=127.0.0.1:0", "--log.level=error"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("start Prometheus");
        Self {
            child,
            _folder: folder,
        }
    }
}

/// `name[]` asks for a part of the metrics: what the Prometheus client libraries of Java offer.
fn configuration(target: SocketAddr) -> String {
    let mut text = CONFIGURATION.to_owned();
    for job in 1..=JOBS {
        write!(
            text,
            "  - job_name: scraper-{job}\n    \
                 params: {{'name[]': [jvm_threads_state]}}\n    \
                 static_configs: [{{targets: ['{target}']}}]\n"
        )
        .expect("write to a String");
    }
    text
}

impl Drop for Prometheus {
    /// Gone when this returns, and with it every connection it had.
    fn drop(&mut self) {
        process::signal(&self.child, Signal::TERM);
        process::wait(&mut self.child, Duration::from_secs(10));
    }
}
