//! The load generator: both ends of every connection in one thread on one CPU, in lockstep, so that
//! no wake-up or wait hides what tracing adds. Told what to do on stdin, one line a job.

use std::io::{BufRead as _, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};

use anyhow::{Context as _, Result, bail};
use rustix::thread::CpuSet;

use crate::say;

/// Peers on loopback: 100 times the ephemeral ports of one, so that closed connections still in
/// `TIME_WAIT` leave enough free.
const ADDRESSES: u8 = 100;
const MESSAGE: [u8; 100] = [b'x'; 100];
/// Sent at once and read byte by byte; small enough never to wait for buffer space.
const BATCH: [u8; 16_384] = [b'x'; 16_384];

/// A line on stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Connections: open, one request, one reply, the client closes first.
    Connections(u32),
    /// Reads of one byte that is already there.
    Reads(u32),
    /// One byte there and one back on one connection.
    Exchanges(u32),
}

impl Job {
    pub fn line(self) -> String {
        match self {
            Self::Connections(count) => format!("connections {count}"),
            Self::Reads(count) => format!("reads {count}"),
            Self::Exchanges(count) => format!("exchanges {count}"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (kind, count) = line.split_once(' ')?;
        let count = count.parse().ok()?;
        match kind {
            "connections" => Some(Self::Connections(count)),
            "reads" => Some(Self::Reads(count)),
            "exchanges" => Some(Self::Exchanges(count)),
            _ => None,
        }
    }
}

/// The line that answers a job.
pub const DONE: &str = "done";

/// Works until stdin ends, which it also does when whoever started us is gone.
pub fn serve() -> Result<()> {
    pin_to_last_cpu()?;
    let mut load = Load::start()?;
    for line in std::io::stdin().lock().lines() {
        let line = line.context("read a job")?;
        match Job::parse(&line) {
            Some(Job::Connections(count)) => load.connections(count)?,
            Some(Job::Reads(count)) => load.reads(count)?,
            Some(Job::Exchanges(count)) => load.exchanges(count)?,
            None => bail!("no such job: {line}"),
        }
        say::result(DONE);
    }
    Ok(())
}

/// The first CPU is left to the tools, and to interrupts.
fn pin_to_last_cpu() -> Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None).context("read the CPU affinity")?;
    if let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)) {
        let mut only = CpuSet::new();
        only.set(last);
        rustix::thread::sched_setaffinity(None, &only).context("pin to one CPU")?;
    }
    Ok(())
}

struct Load {
    listener: TcpListener,
    port: u16,
    /// Which address the next connection goes to.
    turn: u8,
}

impl Load {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("listen")?;
        let port = listener.local_addr().context("read our port")?.port();
        Ok(Self {
            listener,
            port,
            turn: 0,
        })
    }

    fn open(&mut self) -> Result<(TcpStream, TcpStream)> {
        self.turn = (self.turn + 1) % ADDRESSES;
        let address = Ipv4Addr::new(127, 0, 0, self.turn + 1);
        let client =
            TcpStream::connect(SocketAddrV4::new(address, self.port)).context("connect")?;
        let (server, _) = self.listener.accept().context("accept")?;
        Ok((client, server))
    }

    /// Every server socket passes through `CLOSE_WAIT` and is closed at once, as it should be.
    fn connections(&mut self, count: u32) -> Result<()> {
        let mut buffer = [0; MESSAGE.len()];
        for _ in 0..count {
            let (mut client, mut server) = self.open()?;
            pass(&mut client, &mut server, &MESSAGE, &mut buffer).context("request")?;
            pass(&mut server, &mut client, &MESSAGE, &mut buffer).context("reply")?;
            client.shutdown(Shutdown::Write).context("half-close")?;
            expect_end(&mut server).context("end of the request")?;
            drop(server);
            expect_end(&mut client).context("end of the reply")?;
        }
        Ok(())
    }

    fn reads(&mut self, count: u32) -> Result<()> {
        let (mut client, mut server) = self.open()?;
        let mut byte = [0];
        let mut left = count as usize;
        while left > 0 {
            let batch = BATCH.get(..left).unwrap_or(&BATCH);
            client.write_all(batch).context("send a batch")?;
            for _ in batch {
                server.read_exact(&mut byte).context("read a byte")?;
            }
            left -= batch.len();
        }
        Ok(())
    }

    fn exchanges(&mut self, count: u32) -> Result<()> {
        let (mut client, mut server) = self.open()?;
        let mut byte = [0];
        for _ in 0..count {
            pass(&mut client, &mut server, b"x", &mut byte).context("send a byte")?;
            pass(&mut server, &mut client, b"x", &mut byte).context("send a byte back")?;
        }
        Ok(())
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8], room: &mut [u8]) -> Result<()> {
    from.write_all(bytes).context("send")?;
    to.read_exact(room).context("receive")
}

fn expect_end(stream: &mut TcpStream) -> Result<()> {
    match stream.read(&mut [0]).context("receive")? {
        0 => Ok(()),
        _ => bail!("data where the connection should have ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_survive_the_pipe() {
        for job in [Job::Connections(7), Job::Reads(1), Job::Exchanges(9)] {
            assert_eq!(Job::parse(&job.line()), Some(job));
        }
        assert_eq!(Job::parse("nap 3"), None);
        assert_eq!(Job::parse("reads"), None);
    }

    #[test]
    fn all_jobs_run() {
        let mut load = Load::start().unwrap();
        load.connections(150).unwrap();
        load.reads(20_000).unwrap();
        load.exchanges(100).unwrap();
    }
}
