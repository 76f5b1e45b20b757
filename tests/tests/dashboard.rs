//! The dashboard and the rules against a real Prometheus that scrapes two exporters during a leak: no query comes
//! back empty, and the alert fires.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::exporter::Exporter;
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::wait::wait_for;
use tests::{manifest, paths, skip};

const RIG: &str = "c-eof-ignored-debug";
const FUNCTION: &str = "handle_client_and_forget";
const SOON: Duration = Duration::from_secs(30);
const LISTENING: &str = "msg=\"Listening on\" address=";
/// Of a dashboard that is opened on everything.
const VARIABLES: [(&str, &str); 4] = [
    ("$instance", ".*"),
    ("$service", ".*"),
    ("$site", ".*"),
    ("$__rate_interval", "30s"),
];

#[test]
fn every_query_of_the_dashboard_has_data_and_the_alert_fires() {
    let name = "every_query_of_the_dashboard_has_data_and_the_alert_fires";
    let programs = ["prometheus", "promtool"];
    if !skip::require_root(name)
        || !programs
            .iter()
            .all(|program| skip::require_program(name, program))
    {
        return;
    }
    let exporters = [Exporter::start(&[]), Exporter::start(&[])];
    let _rig = Rig::leaking(&manifest::entry(RIG));
    let folder = tempfile::tempdir().expect("a folder");
    let server = Prometheus::start(folder.path(), &exporters);

    // The same site on both, by the same fingerprint.
    let fleet = format!(
        "count by (site) (sockleak_site_info{{function=\"{FUNCTION}\", verdict=\"eof-ignored\"}}) == 2"
    );
    wait_for("both tell of one site", SOON, || {
        !server.query(&fleet).is_empty()
    });
    let firing = format!(
        "ALERTS{{alertname=\"SocketLeak\", alertstate=\"firing\", function=\"{FUNCTION}\"}}"
    );
    wait_for("the alert fires", SOON, || {
        server.query(&firing).lines().count() >= 2
    });

    let queries = queries();
    assert!(queries.len() > 20, "{queries:#?}");
    for query in &queries {
        wait_for(query, SOON, || {
            pass_through_close_wait();
            let answer = server.query(query);
            !answer.is_empty() && !answer.contains("=> NaN")
        });
    }
    for record in [
        "sockleak:site_stuck:sum",
        "sockleak:service_stuck:sum",
        "sockleak:service_stuck:deriv10m",
        "sockleak:close_wait_entries:rate5m",
    ] {
        wait_for(record, SOON, || !server.query(record).is_empty());
    }
}

/// A healthy connection: the peer hangs up first, and its end is closed then.
fn pass_through_close_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    let (mut accepted, _) = listener.accept().expect("accept");
    drop(client);
    assert_eq!(accepted.read(&mut [0]).expect("the end"), 0);
}

/// What the panels ask, with every variable filled in.
fn queries() -> Vec<String> {
    let text = shipped("contrib/grafana/sockleak.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .map(|target| {
            let mut query = target["expr"].as_str().expect("a query").to_owned();
            for (variable, value) in VARIABLES {
                query = query.replace(variable, value);
            }
            assert!(!query.contains('$'), "a variable nobody fills in: {query}");
            query
        })
        .collect()
}

struct Prometheus {
    running: Running,
    address: String,
}

impl Prometheus {
    /// With the rules as they are shipped, but for the time until an alert fires.
    fn start(folder: &Path, exporters: &[Exporter]) -> Self {
        let rules = shipped("contrib/prometheus/sockleak.rules.yml").replace("for: 5m", "for: 3s");
        fs::write(folder.join("rules.yml"), rules).expect("write the rules");
        let targets: Vec<&str> = exporters.iter().map(|one| one.address.as_str()).collect();
        let configuration = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n  - job_name: sockleak\n    static_configs: [{{targets: {targets:?}}}]\n"
        );
        fs::write(folder.join("prometheus.yml"), configuration).expect("configure Prometheus");
        let program = skip::find_program("prometheus").expect("prometheus");
        let mut command = Command::new(program);
        command
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--web.listen-address=127.0.0.1:0", "--log.level=info"])
            .current_dir(folder)
            .stdin(Stdio::null());
        let running = Running::start(&mut command);
        let listening = || {
            let mut lines = running.stderr().so_far().into_iter();
            lines.find_map(|line| Some(line.split_once(LISTENING)?.1.trim().to_owned()))
        };
        wait_for("Prometheus listens", SOON, || listening().is_some());
        let address = listening().expect("its address");
        Self { running, address }
    }

    /// A sample a line.
    fn query(&self, expression: &str) -> String {
        let done = Command::new("promtool")
            .args(["query", "instant", &format!("http://{}", self.address)])
            .arg(expression)
            .output()
            .expect("run promtool");
        assert!(
            done.status.success(),
            "{expression}: {}{}",
            String::from_utf8_lossy(&done.stderr),
            self.running.streams_so_far()
        );
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

fn shipped(path: &str) -> String {
    fs::read_to_string(paths::workspace().join(path)).expect(path)
}
