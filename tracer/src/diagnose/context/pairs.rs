//! Two connections of one piece of work: the two sides of a relay, and the servers that were asked on behalf of
//! a client.

use std::net::SocketAddr;

use foldhash::HashMap;

use tracer_common::{
    event::OUTSIDE,
    state::{ESTABLISHED, SYN_SENT},
};

use super::{
    threads::{Threads, operations},
    waits::{Waits, WaitsFor, is_silent},
};
use crate::{
    model::{
        input::Connection,
        socket::{History, LastOperation, SocketOperation},
    },
    track::{Socket, Tracker},
};

/// The other side of a relay: the one connection its process opened between accepting a connection
/// and accepting the next.
#[derive(Clone, Copy, Debug)]
pub struct Partner {
    pub history: History,
    pub connection: Connection,
}

impl Partner {
    /// Nothing was said to it about an end: open in both directions.
    pub fn is_open(&self) -> bool {
        self.connection.state == ESTABLISHED
    }

    /// Data has gone to it and has come from it.
    pub fn copies_both_ways(&self) -> bool {
        let moved = self.connection.moved;
        moved.is_some_and(|moved| moved.sent > 0 && moved.received > 0)
    }
}

/// A connection on which a server was asked for a client, and which has said nothing since.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    pub connection: &'a Connection,
    /// When it was opened or last written to.
    pub asked_at: u64,
    /// By how it was found: no other client can be meant.
    pub is_its_own: bool,
    pub link: Link,
    /// The operation that opened it or wrote to it.
    pub operation: LastOperation,
}

/// What ties the question to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The client's own thread asked, between two operations on clients.
    Thread,
    /// It was asked at once after a client's request was read; this request came then or later.
    Time,
    /// Between this client and the next one the process began to connect to it, and nothing of this client was read since.
    Accepted,
}

#[derive(Default)]
pub struct Pairs<'a> {
    partners: HashMap<u64, Partner>,
    upstreams: HashMap<u64, Upstream<'a>>,
    /// When each process asked on connections that are silent since.
    asked: HashMap<u32, Vec<u64>>,
}

impl<'a> Pairs<'a> {
    pub fn new(tracker: &'a Tracker, threads: &Threads<'a>, waits: &Waits<'a>) -> Self {
        let mut pairs = Self::default();
        pairs.find_partners(threads, waits);
        pairs.find_upstreams(tracker, threads, waits);
        pairs.note_asked(tracker, threads, waits);
        pairs
    }

    pub fn partner_of(&self, cookie: u64) -> Option<&Partner> {
        self.partners.get(&cookie)
    }

    pub fn upstream_of(&self, cookie: u64) -> Option<&Upstream<'a>> {
        self.upstreams.get(&cookie)
    }

    /// The process asked a server after that moment, which has not answered.
    pub fn asked_since(&self, pid: u32, at: u64) -> bool {
        let asked = self.asked.get(&pid).into_iter().flatten();
        asked.into_iter().any(|asked| *asked > at)
    }

    fn note_asked(&mut self, tracker: &Tracker, threads: &Threads<'_>, waits: &Waits<'_>) {
        for connection in tracker.connections() {
            let history = threads.history(connection.cookie).unwrap_or_default();
            if let Some(last) = last_question(history)
                && waits.is_upstream(connection.cookie)
                && is_silent(connection)
                && !has_answered_since(history, last.at)
            {
                self.asked.entry(last.pid).or_default().push(last.at);
            }
        }
    }

    fn find_partners(&mut self, threads: &Threads<'_>, waits: &Waits<'a>) {
        let mut openings: HashMap<u32, Vec<Opening>> = HashMap::default();
        for (cookie, history) in threads.histories() {
            // Processes outside of the pid namespace are not told apart.
            if let Some(opened) = history.opened.filter(|opened| opened.pid != OUTSIDE) {
                let of_process = openings.entry(opened.pid).or_default();
                of_process.push((opened.at, cookie, opened.kind));
            }
        }
        for of_process in openings.values_mut() {
            of_process.sort_unstable_by_key(|(at, cookie, _)| (*at, *cookie));
            for (one, other) in alternating(of_process) {
                for (one, other) in [(one, other), (other, one)] {
                    let known = waits.connection_of(other).zip(threads.history(other));
                    if let Some((connection, history)) = known {
                        let connection = *connection;
                        self.partners.insert(
                            one,
                            Partner {
                                history,
                                connection,
                            },
                        );
                    }
                }
            }
        }
    }

    /// A server that has not accepted yet: until it does, who relays reads nothing of the client.
    fn connecting_for(&self, socket: &Socket, waits: &Waits<'a>) -> Option<Upstream<'a>> {
        let History { opened, used, eof } = *socket.history;
        let partner = self.partners.get(&socket.cookie)?;
        let operation = partner.history.opened?;
        let is_after = opened.is_some_and(|opened| opened.at <= operation.at);
        let is_unread = used.is_none() && eof.is_none();
        (is_unread && is_after && partner.connection.state == SYN_SENT).then_some(Upstream {
            connection: waits.connection_of(partner.connection.cookie)?,
            asked_at: operation.at,
            is_its_own: true,
            link: Link::Accepted,
            operation,
        })
    }

    /// By thread first. What is left are programs that let one thread ask for what others have read, and for all that
    /// want the same: there only the order in time is known.
    fn find_upstreams(&mut self, tracker: &'a Tracker, threads: &Threads<'a>, waits: &Waits<'a>) {
        let mut claims: HashMap<u64, usize> = HashMap::default();
        for socket in tracker.sockets() {
            let Some(last) = operations(&socket.history).max_by_key(|operation| operation.at)
            else {
                continue;
            };
            if threads.is_connected(socket.cookie) {
                continue;
            }
            let asked = asked_by_thread(socket.cookie, *last, threads, waits);
            // Its loop may have read the end while who serves it waits for the answer.
            let before_end = || {
                let request = socket
                    .history
                    .used
                    .filter(|_| socket.history.eof.is_some())?;
                let asked = asked_by_thread(socket.cookie, request, threads, waits);
                asked.filter(|upstream| upstream.is_its_own)
            };
            let unread = || self.connecting_for(socket, waits);
            if let Some(upstream) = asked.or_else(before_end).or_else(unread) {
                *claims.entry(upstream.connection.cookie).or_default() += 1;
                self.upstreams.insert(socket.cookie, upstream);
            }
        }
        for upstream in self.upstreams.values_mut() {
            let claims = claims.get(&upstream.connection.cookie).copied();
            upstream.is_its_own &= claims == Some(1);
        }
        let by_time = asked_by_others(tracker, threads, waits, &self.upstreams);
        self.upstreams.extend(by_time);
    }
}

/// Clients whose requests were read when one question was asked or later, and of which no more is known: a cache asks once
/// for all that want the same, a pool of connections may have just that one.
fn asked_by_others<'a>(
    tracker: &'a Tracker,
    threads: &Threads<'a>,
    waits: &Waits<'a>,
    known: &HashMap<u64, Upstream<'a>>,
) -> Vec<(u64, Upstream<'a>)> {
    let requests = requests(tracker, threads);
    let mut questions: Vec<(&Request, Upstream<'a>)> = requests
        .iter()
        .filter_map(|request| Some((request, *known.get(&request.cookie)?)))
        .collect();
    questions.extend(waited_for(tracker, threads, waits, &requests));
    questions.sort_by_key(|(request, _)| request.read.at);
    let mut found: HashMap<u64, Upstream<'a>> = HashMap::default();
    for (first, upstream) in questions {
        let later = |request: &&Request| {
            request.read.pid == first.read.pid
                && request.local == first.local
                && request.read.at >= first.read.at
                && !known.contains_key(&request.cookie)
        };
        for request in requests.iter().filter(later) {
            found.entry(request.cookie).or_insert(Upstream {
                is_its_own: false,
                link: Link::Time,
                ..upstream
            });
        }
    }
    found.into_iter().collect()
}

/// What a stuck client has sent was read, and nothing was written to it since.
struct Request {
    cookie: u64,
    local: SocketAddr,
    read: LastOperation,
}

fn requests(tracker: &Tracker, threads: &Threads<'_>) -> Vec<Request> {
    let accepted = tracker
        .sockets()
        .filter(|socket| threads.is_accepted(socket.cookie) && socket.history.eof.is_none());
    let request = |socket: &Socket| {
        let read = *operations(&socket.history).max_by_key(|operation| operation.at)?;
        (read.kind == SocketOperation::Recv).then_some(Request {
            cookie: socket.cookie,
            local: socket.endpoints().local,
            read,
        })
    };
    accepted.filter_map(request).collect()
}

/// Questions that were asked at once after a request was read, by a thread that still waits for the answer.
fn waited_for<'r, 'a>(
    tracker: &'a Tracker,
    threads: &Threads<'a>,
    waits: &Waits<'a>,
    requests: &'r [Request],
) -> Vec<(&'r Request, Upstream<'a>)> {
    /// From a request to the question that it makes necessary, if a thread is free: 100 ms.
    const AT_ONCE: u64 = 100_000_000;
    let all = tracker
        .threaded()
        .flat_map(|pid| tracker.threads(pid).iter().map(move |thread| (pid, thread)));
    let question = |(pid, thread)| {
        let waits_for = waits.of(thread);
        let WaitsFor::Upstream(connection) = waits_for else {
            return None;
        };
        let asked = last_question(threads.history(connection.cookie)?)?;
        let upstream = Upstream {
            connection,
            asked_at: asked.at,
            is_its_own: false,
            link: Link::Time,
            operation: asked,
        };
        let is_for = |request: &&Request| {
            let read = request.read;
            read.pid == pid && (read.at..=read.at.saturating_add(AT_ONCE)).contains(&asked.at)
        };
        let mut first = requests.iter().filter(is_for);
        let waits = asked.pid == pid && waits_for.is_of_work();
        Some((first.next().filter(|_| waits)?, upstream))
    };
    all.filter_map(question).collect()
}

/// What opened the connection, or was written to it last.
fn last_question(history: History) -> Option<LastOperation> {
    let asks = |operation: &&LastOperation| {
        matches!(
            operation.kind,
            SocketOperation::Connect | SocketOperation::Send
        )
    };
    operations(&history)
        .filter(asks)
        .max_by_key(|operation| operation.at)
        .copied()
}

/// When, which and how.
type Opening = (u64, u64, SocketOperation);

/// An accepted and the only connection that was opened before the next one was accepted, of openings in order.
fn alternating(of_process: &[Opening]) -> Vec<(u64, u64)> {
    let mut accepted = None;
    let mut connected = Vec::new();
    let mut pairs = Vec::new();
    let mut settle = |accepted: Option<u64>, connected: &mut Vec<u64>| {
        if let (Some(accepted), [only]) = (accepted, connected.as_slice()) {
            pairs.push((accepted, *only));
        }
        connected.clear();
    };
    for (_, cookie, kind) in of_process {
        match kind {
            SocketOperation::Accept => settle(accepted.replace(*cookie), &mut connected),
            SocketOperation::Connect => connected.push(*cookie),
            _ => {}
        }
    }
    settle(accepted, &mut connected);
    pairs
}

/// The last silent connection that the thread opened or wrote to after it touched the client, before it turned to
/// another one.
fn asked_by_thread<'a>(
    cookie: u64,
    last: LastOperation,
    threads: &Threads<'a>,
    waits: &Waits<'a>,
) -> Option<Upstream<'a>> {
    if !waits.has_upstreams() {
        return None;
    }
    let next = threads.went_on(last.actor(), cookie, last.at);
    let until = next.map_or(u64::MAX, |touch| touch.operation.at);
    let mut found: Option<Upstream<'a>> = None;
    for touch in threads.touches_after(last.actor(), last.at) {
        let operation = touch.operation;
        if operation.at >= until {
            break;
        }
        let asks = matches!(
            operation.kind,
            SocketOperation::Connect | SocketOperation::Send
        );
        let Some(connection) = waits
            .connection_of(touch.cookie)
            .filter(|connection| asks && is_silent(connection))
        else {
            continue;
        };
        let history = threads.history(touch.cookie).unwrap_or_default();
        if !waits.is_upstream(touch.cookie) || has_answered_since(history, operation.at) {
            continue;
        }
        found = Some(Upstream {
            connection,
            asked_at: operation.at,
            is_its_own: history.opened.is_some_and(|opened| opened.at > last.at),
            link: Link::Thread,
            operation: *operation,
        });
    }
    found
}

/// A read that returned something came after the question.
fn has_answered_since(history: History, asked_at: u64) -> bool {
    let read = history
        .used
        .filter(|used| used.kind == SocketOperation::Recv && used.at > asked_at);
    read.is_some() || history.eof.is_some()
}
