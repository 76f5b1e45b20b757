//! What `ss` says is in `CLOSE_WAIT`: the second opinion every count is compared with.
use std::collections::BTreeSet;
use std::process::Command;

/// The (local, remote) ends of the sockets in `CLOSE_WAIT` on local `port`, in this namespace.
pub fn close_wait(port: u16) -> BTreeSet<(String, String)> {
    let text = ss(&["-tanH", "state", "close-wait", &format!("sport = :{port}")]);
    text.lines().map(ends).collect()
}

/// `ss` writes Recv-Q, Send-Q, local, remote, and v4-mapped addresses as `[::ffff:a.b.c.d]:port`.
fn ends(line: &str) -> (String, String) {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let plain = |text: &str| {
        text.strip_prefix("[::ffff:")
            .map_or(text.into(), |v4| v4.replace(']', ""))
    };
    (plain(fields[2]), plain(fields[3]))
}

/// Sockets in `CLOSE_WAIT` whose remote port this is: those of a client.
pub fn close_wait_to(port: u16) -> BTreeSet<(String, String)> {
    let text = ss(&["-tanH", "state", "close-wait", &format!("dport = :{port}")]);
    text.lines().map(ends).collect()
}

/// How many connections of local `port` both ends still keep.
pub fn established(port: u16) -> usize {
    let text = ss(&["-tanH", "state", "established", &format!("sport = :{port}")]);
    text.lines().count()
}

/// Recv-Q of every socket in `CLOSE_WAIT` with this port on either end; the FIN counts one byte.
pub fn unread(port: u16) -> Vec<u64> {
    let filter = format!("( sport = :{port} or dport = :{port} )");
    let text = ss(&["-tanH", "state", "close-wait", &filter]);
    text.lines().map(|line| number(line, 0)).collect()
}

/// Send-Q of every established connection to this remote port.
pub fn unsent_to(port: u16) -> Vec<u64> {
    let filter = format!("dport = :{port}");
    let text = ss(&["-tanH", "state", "established", &filter]);
    text.lines().map(|line| number(line, 1)).collect()
}

fn number(line: &str, field: usize) -> u64 {
    let text = line.split_whitespace().nth(field).unwrap_or_default();
    let number = text.parse();
    number.unwrap_or_else(|_| panic!("no queue in {line:?}"))
}

/// Connection ends with this port that still have a life before them: all but those in TIME-WAIT.
pub fn alive(port: u16) -> Vec<String> {
    let filter = format!("( sport = :{port} or dport = :{port} )");
    let text = ss(&[
        "-tanH",
        "state",
        "connected",
        "exclude",
        "time-wait",
        &filter,
    ]);
    text.lines().map(str::to_owned).collect()
}

/// The inodes of the sockets of local `port` with something they cannot send.
pub fn full_send_queues(port: u16) -> BTreeSet<u64> {
    let filter = format!("sport = :{port}");
    let text = ss(&["-taneH", "state", "established", &filter]);
    let waits = |line: &&str| line.split_whitespace().nth(1) != Some("0");
    text.lines().filter(waits).filter_map(inode).collect()
}

fn inode(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    words
        .find_map(|word| word.strip_prefix("ino:"))?
        .parse()
        .ok()
}

/// The inode of the socket that listens on `port`.
pub fn listener_inode(port: u16) -> Option<u64> {
    let text = ss(&["-tlneH", &format!("sport = :{port}")]);
    inode(&text)
}

/// Inodes of unix sockets, which a rig may hold besides its TCP ones.
pub fn unix_inodes() -> BTreeSet<u64> {
    let text = std::fs::read_to_string("/proc/net/unix").expect("read /proc/net/unix");
    let inode = |line: &str| line.split_whitespace().nth(6)?.parse().ok();
    text.lines().filter_map(inode).collect()
}

fn ss(args: &[&str]) -> String {
    let program = crate::skip::find_program("ss").expect("ss");
    let output = Command::new(program).args(args).output().expect("run ss");
    assert!(
        output.status.success(),
        "ss: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("ss speaks UTF-8")
}
