//! What a finding rests on besides its sockets: the pool, the silent server, and the connections that keep the
//! workers; and the commands that end just those, for who cannot wait for the fix.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    Group,
    context::waits::WaitsFor,
    explanation,
    rules::{Evidence, worker_starvation::called},
};
use crate::model::{
    endpoint::Endpoint,
    input::{Connection, Relief},
    report::{Pool, PoolKind, Upstream},
    untrusted::Untrusted,
};

/// A command for each connection; more of them are no relief but a restart.
const MAX_COMMANDS: usize = 32;

/// The connections that threads wait on instead of serving these sockets, by cookie.
pub struct Blockers<'a> {
    connections: BTreeMap<u64, (&'a Connection, Whose)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Client,
    /// A server that does not answer, and when it was asked.
    Upstream {
        asked_at: Option<u64>,
    },
}

impl<'a> Blockers<'a> {
    pub fn of(group: &Group<'a>) -> Self {
        let mut blockers = Self {
            connections: BTreeMap::new(),
        };
        for view in group.views.iter().filter(|view| !view.has_ended()) {
            match view.proof.as_ref().map(|proof| &proof.evidence) {
                Some(Evidence::Upstream(upstream)) => {
                    let asked_at = Some(upstream.asked_at);
                    blockers.add(upstream.connection, Whose::Upstream { asked_at });
                }
                Some(Evidence::AtWork(work)) => match work.behind {
                    Some(behind) => blockers.wait(behind.waits, behind.thread.since),
                    None => blockers.wait(work.waits, work.thread.since),
                },
                Some(Evidence::Pool(pool)) => {
                    for thread in &pool.busy {
                        blockers.wait(view.context.waits.of(thread), thread.since);
                    }
                    // All of the group wait for the same pool.
                    break;
                }
                // A thread that should accept is kept like any other.
                Some(Evidence::Acceptor(acceptor)) => {
                    if let Some(thread) = acceptor.thread {
                        blockers.wait(view.context.waits.of(thread), thread.since);
                    }
                }
                _ => {}
            }
        }
        // To end a stuck connection is to close what the program has not, behind its back.
        for view in &group.views {
            blockers.connections.remove(&view.socket.cookie);
        }
        blockers
    }

    fn wait(&mut self, waits: WaitsFor<'a>, asked_at: Option<u64>) {
        match waits {
            WaitsFor::Upstream(connection) => self.add(connection, Whose::Upstream { asked_at }),
            WaitsFor::PeerReads(connection) | WaitsFor::ClientSends(connection) => {
                self.add(connection, Whose::Client);
            }
            _ => {}
        }
    }

    fn add(&mut self, connection: &'a Connection, whose: Whose) {
        self.connections
            .insert(connection.cookie, (connection, whose));
    }

    /// Each with the moment it was asked.
    fn upstreams(&self) -> impl Iterator<Item = (&'a Connection, Option<u64>)> {
        let upstream = |(connection, whose): &(&'a Connection, Whose)| match whose {
            Whose::Upstream { asked_at } => Some((*connection, *asked_at)),
            Whose::Client => None,
        };
        self.connections.values().filter_map(upstream)
    }

    /// The server that most of them were asked of, silent since it was first asked.
    pub fn upstream(&self, now: u64) -> Option<Upstream> {
        let mut asked: BTreeMap<String, (u64, Option<u64>)> = BTreeMap::new();
        for (connection, asked_at) in self.upstreams() {
            let address = Endpoint(connection.endpoints.remote).to_string();
            let (count, first) = asked.entry(address).or_default();
            *count += 1;
            *first = first.iter().copied().chain(asked_at).min();
        }
        let most = asked.into_iter().max_by_key(|(_, (count, _))| *count);
        let (address, (connections, first)) = most?;
        let silent = now.saturating_sub(first?);
        Some(Upstream {
            address,
            silent_seconds: (silent / 1_000_000) as f64 / 1000.0,
            connections,
        })
    }

    /// One command a connection, each with both ends in full: a filter that says less would end others too.
    pub fn commands(&self, relief: Option<&Relief>) -> Option<String> {
        let relief = relief.filter(|relief| relief.kernel_can != Some(false))?;
        if self.connections.is_empty() || self.connections.len() > MAX_COMMANDS {
            return None;
        }
        let commands: Option<Vec<String>> = self
            .connections
            .values()
            .map(|(connection, _)| command(connection, relief))
            .collect();
        Some(commands?.join("; "))
    }

    /// Whom the commands hit, and what they do not do. Completes the advice.
    pub fn says(&self, relief: Option<&Relief>) -> Option<String> {
        let count = self.connections.len();
        let relief = relief.filter(|_| count > 0)?;
        let upstreams = self.upstreams().count();
        let whose = match upstreams {
            0 => "of clients that keep the threads",
            all if all == count => "to the server that is silent",
            _ => "of clients and to servers that keep the threads",
        };
        let them = format!("{} {whose}", explanation::sockets(count));
        Some(match relief.kernel_can {
            Some(false) => format!(
                "This kernel cannot end the {them} from outside (it was built without \
                 CONFIG_INET_DIAG_DESTROY): until the fix only a restart frees the threads."
            ),
            _ if count > MAX_COMMANDS => format!(
                "The threads are kept by {them}: too many to end one by one, so that until the fix a restart \
                 is the relief."
            ),
            can => format!(
                "Until then, as a relief, just the {them} can be ended with ss -K, by both ends: the threads go \
                 on, what was going on over {} is lost, and the code still leaks.{}",
                explanation::agree(count, "it", "them"),
                if can.is_none() {
                    " Whether this kernel can end connections from outside is not known."
                } else {
                    ""
                }
            ),
        })
    }
}

fn command(connection: &Connection, relief: &Relief) -> Option<String> {
    let ends = connection.endpoints;
    let whole = |end: SocketAddr| end.port() != 0 && !end.ip().is_unspecified();
    // Loopback connections of two namespaces may have the same ends: which one it is in must be known.
    if connection.netns == 0 || !whole(ends.local) || !whole(ends.remote) {
        return None;
    }
    // TCP only: a datagram socket may have the same ends.
    let end = format!(
        "ss -K -t src {} dst {}",
        word(Endpoint(ends.local)),
        word(Endpoint(ends.remote))
    );
    if connection.netns == relief.own_netns {
        return Some(end);
    }
    let mut namespaces = relief.namespaces.iter();
    let (_, pid) = namespaces.find(|(netns, _)| *netns == connection.netns)?;
    Some(format!("nsenter -t {pid} -n {end}"))
}

/// Brackets are a pattern to a shell.
fn word(end: Endpoint) -> String {
    match end.to_string() {
        bracketed if bracketed.starts_with('[') => format!("'{bracketed}'"),
        plain => plain,
    }
}

/// The pool that has no thread left, where that is what the finding says.
pub fn pool(group: &Group<'_>) -> Option<Pool> {
    let proof = group.oldest()?.proof.as_ref()?;
    let Evidence::Pool(pool) = &proof.evidence else {
        return None;
    };
    Some(Pool {
        name: Untrusted::new(called(&pool.stem)),
        busy: pool.busy.len() as u32,
        size: pool.size as u32,
        kind: PoolKind::Threads,
    })
}
