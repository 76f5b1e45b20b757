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

const RUBY: &str = "
require 'socket'
listener = TCPServer.new('127.0.0.1', 0)
$held = []
3.times do
  client = TCPSocket.new('127.0.0.1', listener.addr[1])
  $held << listener.accept
  client.close
  $held.last.read
end
sleep 1.8
";
const PERL: &str = "
use IO::Socket::INET;
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die;
our @held;
for (1 .. 3) {
    my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $listener->sockport) or die;
    my $server = $listener->accept;
    close $client;
    sysread $server, my $nothing, 1;
    push @held, $server;
}
select undef, undef, undef, 1.8;
";

/// The exit code, and of all findings how they ended.
fn ended(options: &[&str], program: &[&str]) -> (i32, Vec<String>) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let json = file.path().to_str().expect("a path");
    let mut words = vec!["run", "--json", json];
    words.extend(options);
    words.push("--");
    words.extend(program);
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
    let python = |options: &[&str], script: &str| ended(options, &["python3", "-c", script]);
    let wait = "time.sleep(1.8)\n";
    let late: &[&str] = &["--min-age", "1s"];
    let by_exit = (23, vec!["3 exit".to_owned()]);
    let by_program = (0, vec!["3 closed".to_owned()]);
    assert_eq!(python(late, &format!("{LEAK}{wait}")), by_exit);
    assert_eq!(python(late, &format!("{LEAK}{CLOSES}{wait}")), by_program);
    // Strict, of a program that lives for a moment.
    let strict: &[&str] = &["--exit-age", "0s"];
    assert_eq!(python(strict, LEAK), by_exit);

    let closes = [
        ("ruby", RUBY, "at_exit { $held.each(&:close) }"),
        ("perl", PERL, "END { close $_ for @held }"),
    ];
    for (language, script, end) in closes {
        let option = if language == "ruby" { "-e" } else { "-E" };
        let run = |script: &str| ended(late, &[language, option, script]);
        assert_eq!(run(script), by_exit, "{language}");
        assert_eq!(run(&format!("{script}{end}")), by_program, "{language}");
    }
}
