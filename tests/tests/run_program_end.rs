//! A runtime closes what the program has left when that has ended: it was the exit that closed it. What the program
//! itself closes on its way out, it has closed.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tests::report::Report;
use tests::skip::require_root;
use tests::sockleak::{command, finish};

const LIMIT: Duration = Duration::from_mins(1);

/// Three connections, held by the module, of which the peer has closed.
const LEAK: &str = "
import atexit, socket, time
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen()
held = []
def leak():
    for _ in range(3):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        client.close()
        server.recv(1)
        held.append(server)
leak()
";
const CLOSES: &str = "
def close_all():
    for server in held:
        server.close()
atexit.register(close_all)
";

/// The exit code, and of all findings how they ended.
fn ended(options: &[&str], script: &str) -> (i32, Vec<String>) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let json = file.path().to_str().expect("a path");
    let mut words = vec!["run", "--json", json];
    words.extend(options);
    words.extend(["--", "python3", "-c", script]);
    let ended = finish(&mut command(words), LIMIT);
    let report = Report::parse(&std::fs::read_to_string(json).expect("a report"));
    let over = report.sites.iter().map(|site| {
        let how = site.over.as_ref().and_then(|over| over.how.clone());
        format!("{} {}", site.count, how.unwrap_or_default())
    });
    (ended.code(), over.collect())
}

#[test]
fn what_only_the_runtime_closes_at_the_end_was_closed_by_the_exit() {
    if !require_root("what_only_the_runtime_closes_at_the_end_was_closed_by_the_exit") {
        return;
    }
    let wait = "time.sleep(1.8)\n";
    let late: &[&str] = &["--min-age", "1s"];
    let closed = vec!["3 exit".to_owned()];
    assert_eq!(ended(late, &format!("{LEAK}{wait}")), (23, closed.clone()));
    let own = vec!["3 closed".to_owned()];
    assert_eq!(ended(late, &format!("{LEAK}{CLOSES}{wait}")), (0, own));
    // Strict, of a program that lives for a moment.
    let strict: &[&str] = &["--exit-age", "0s"];
    assert_eq!(ended(strict, LEAK), (23, closed));
}
