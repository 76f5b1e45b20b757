//! Transitions as `sockleak trace --json` and as libbpf-tools' `tcpstates` print them, in one form:
//! the life of each connection end, step by step.
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// One transition; `ms` is the time spent in `old`, when the tool saw it begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub old: String,
    pub new: String,
    pub ms: Option<f64>,
}

/// What a tool says of each connection end, by its local and remote address.
pub type Told = BTreeMap<(String, String), Vec<Step>>;

/// From its first state to CLOSE with every step in between. A gap proves a loss: the kernel skips a
/// program that is already running on the same CPU, which loopback traffic makes happen.
pub fn is_whole(life: &[Step]) -> bool {
    let begins = life
        .first()
        .is_some_and(|step| ["listen", "close"].contains(&step.old.as_str()));
    let ends = life.last().is_some_and(|step| step.new == "close");
    begins && ends && life.windows(2).all(|pair| pair[0].new == pair[1].old)
}

/// One line of either tool; `socket` tells sockets apart before their addresses are complete.
#[derive(Debug)]
pub struct Line {
    pub socket: String,
    pub ends: (String, String),
    pub step: Step,
}

/// Gathers the steps of one socket under the addresses it had in the end: at `SYN_SENT` the
/// local port is not chosen yet.
pub fn by_connection(told: Vec<Line>) -> Told {
    let mut lives: Vec<(String, Vec<Line>)> = Vec::new();
    for line in told {
        let begins = line.step.old == "listen" || line.step.old == "close";
        let open = lives
            .iter_mut()
            .rev()
            .find(|(socket, _)| *socket == line.socket);
        match open {
            Some((_, life)) if !begins => life.push(line),
            _ => lives.push((line.socket.clone(), vec![line])),
        }
    }
    let by_ends = lives.into_iter().map(|(_, life)| {
        let ends = life.last().expect("a life has a line").ends.clone();
        (ends, life.into_iter().map(|line| line.step).collect())
    });
    by_ends.collect()
}

/// The NDJSON of `sockleak trace`, one event a line.
pub fn ours_in(ndjson: &str) -> Vec<Line> {
    #[derive(Deserialize)]
    struct Event {
        cookie: String,
        local: String,
        remote: String,
        old: String,
        new: String,
        seconds_in_old: Option<f64>,
    }
    let line = |text: &str| {
        let event: Event = serde_json::from_str(text).expect("a line of NDJSON");
        let ms = event.seconds_in_old.map(|seconds| seconds * 1000.0);
        Line {
            socket: event.cookie,
            ends: (event.local, event.remote),
            step: Step {
                old: event.old,
                new: event.new,
                ms,
            },
        }
    };
    ndjson.lines().map(line).collect()
}

/// Columns: SKADDR PID COMM LADDR LPORT RADDR RPORT OLDSTATE -> NEWSTATE MS. COMM may hold blanks,
/// so they are counted from the right.
pub fn theirs_in(table: &str) -> Vec<Line> {
    let line = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let column = |from_right: usize| words.get(words.len().checked_sub(from_right)?).copied();
        if column(3)? != "->" || words.len() < 11 {
            return None;
        }
        let end =
            |ip: &str, port: &str| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?));
        let (local, remote) = (end(column(8)?, column(7)?)?, end(column(6)?, column(5)?)?);
        let ms: f64 = column(1)?.parse().ok()?;
        let step = Step {
            old: column(4)?.to_lowercase(),
            new: column(2)?.to_lowercase(),
            ms: (ms > 0.0).then_some(ms),
        };
        let ends = (local.to_string(), remote.to_string());
        Some(Line {
            socket: words[0].to_owned(),
            ends,
            step,
        })
    };
    table.lines().filter_map(line).collect()
}

/// The lines of connections with this port on either end.
pub fn on_port(mut told: Vec<Line>, port: u16) -> Vec<Line> {
    let port = format!(":{port}");
    told.retain(|line| line.ends.0.ends_with(&port) || line.ends.1.ends_with(&port));
    told
}
