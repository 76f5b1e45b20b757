//! What the kernel's own tables say of the sockets of a case: whether it listens, and what got stuck.

use std::collections::BTreeSet;
use std::fs;

use super::processes;

/// Ports that a case may use, from its first on.
pub const PORTS: u16 = 10;

const LISTEN: &str = "0A";
const CLOSE_WAIT: &str = "08";

struct Row {
    port: u16,
    state: String,
    inode: String,
}

fn rows() -> Vec<Row> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| table.lines().skip(1).filter_map(row))
        .collect()
}

/// `sl local remote state queues timer retransmits uid timeout inode …`
fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    Some(Row {
        port: u16::from_str_radix(port, 16).ok()?,
        state: fields.nth(1)?.to_owned(),
        inode: fields.nth(5)?.to_owned(),
    })
}

pub fn listens(port: u16) -> bool {
    rows()
        .iter()
        .any(|row| row.port == port && row.state == LISTEN)
}

/// In `CLOSE_WAIT`: held by what the case started, or not accepted on one of its ports.
pub fn stuck(first_port: u16) -> u64 {
    let held = held();
    let ours = first_port..first_port + PORTS;
    let stuck = rows().into_iter().filter(|row| {
        row.state == CLOSE_WAIT
            && (held.contains(&row.inode) || row.inode == "0" && ours.contains(&row.port))
    });
    stuck.count() as u64
}

fn held() -> BTreeSet<String> {
    let mut inodes = BTreeSet::new();
    for pid in processes::descendants() {
        let fds = fs::read_dir(format!("/proc/{pid}/fd"));
        for fd in fds.into_iter().flatten().flatten() {
            let link = fs::read_link(fd.path()).unwrap_or_default();
            let name = link.to_string_lossy();
            let inode = name
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            inodes.extend(inode.map(str::to_owned));
        }
    }
    inodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let row = row(line).unwrap();
        assert_eq!(
            (row.port, row.state.as_str(), row.inode.as_str()),
            (8080, "0A", "4711")
        );
        assert!(self::row("  sl  local_address").is_none());
    }
}
