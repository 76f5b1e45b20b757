//! Sockets stuck in `CLOSE_WAIT` on purpose: servers that read the end of the data and keep the
//! descriptor, clients in other processes that close. All end when our end of their stdin does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::say;

#[derive(clap::Args)]
pub struct ServerArgs {
    count: u32,
}

#[derive(clap::Args)]
pub struct ClientArgs {
    port: u16,
    count: u32,
    /// The first of its own ports, the same on each of its addresses.
    first: u16,
}

const FEWEST_SERVERS: u32 = 5;
const CLIENT_ADDRESSES: u32 = 100;
/// Below those that the kernel hands out (`ip_local_port_range`). Each client has its ports to itself: when the
/// table of `TIME_WAIT` sockets is full, the kernel hands out a port again whose server side is stuck, which
/// is reset then.
const CLIENT_PORTS: u16 = 10_000;
/// Descriptors a server needs besides those of its sockets.
const SPARE: u64 = 64;
const STUCK: &str = "stuck";

/// The servers; dropping it ends them.
pub struct Stuck {
    servers: Vec<Server>,
}

struct Server {
    child: Child,
    says: BufReader<ChildStdout>,
    count: u32,
}

impl Stuck {
    pub fn make(sockets: u32) -> Result<Self> {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let room = u32::try_from(most.saturating_sub(SPARE)).unwrap_or(u32::MAX);
        let servers = sockets.div_ceil(room.max(1)).max(FEWEST_SERVERS);
        let mut stuck = Self {
            servers: Vec::new(),
        };
        for index in 0..servers {
            let count = sockets / servers + u32::from(index < sockets % servers);
            stuck.servers.push(Server::start(count)?);
        }
        let mut clients = Vec::new();
        let mut first = CLIENT_PORTS;
        for server in &mut stuck.servers {
            let port = server.line()?;
            clients.push(ourselves(&[
                "stuck-client",
                &port,
                &server.count.to_string(),
                &first.to_string(),
            ])?);
            let ports = u16::try_from(server.count.div_ceil(CLIENT_ADDRESSES));
            first = ports
                .ok()
                .and_then(|ports| first.checked_add(ports))
                .context("that many sockets need more ports than there are")?;
        }
        for client in &mut clients {
            let status = client.wait().context("wait for a client")?;
            if !status.success() {
                bail!("a client ended with {status}");
            }
        }
        for server in &mut stuck.servers {
            let said = server.line()?;
            if said != STUCK {
                bail!("a server said {said:?} instead of {STUCK:?}");
            }
        }
        Ok(stuck)
    }
}

impl Server {
    fn start(count: u32) -> Result<Self> {
        let mut child = ourselves(&["stuck-server", &count.to_string()])?;
        let says = child.stdout.take().context("hear a server")?;
        Ok(Self {
            child,
            says: BufReader::new(says),
            count,
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.says.read_line(&mut line).context("hear a server")?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is as good; wait reaps it either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ourselves(args: &[&str]) -> Result<Child> {
    Command::new(std::env::current_exe().context("find this program")?)
        .arg("bench")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", args.join(" ")))
}

/// A server process: prints its port, and when all its sockets are stuck.
pub fn serve(args: &ServerArgs) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raise the limit of open files")?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("listen")?;
    say::result(listener.local_addr().context("read our port")?.port());
    let mut leaked = Vec::with_capacity(args.count as usize);
    for _ in 0..args.count {
        let (mut stream, _) = listener.accept().context("accept")?;
        let mut byte = [0];
        stream.read_exact(&mut byte).context("read the request")?;
        stream.write_all(&byte).context("reply")?;
        if stream.read(&mut byte).context("read the end")? != 0 {
            bail!("data where the connection should have ended");
        }
        leaked.push(stream);
    }
    say::result(STUCK);
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .context("wait for the end of stdin")?;
    Ok(())
}

/// A client process: connects from 100 addresses in turn, from a port of its own each time, and closes.
pub fn connect(args: &ClientArgs) -> Result<()> {
    let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, args.port);
    for index in 0..args.count {
        let last = u8::try_from(index % CLIENT_ADDRESSES).context("make an address")? + 1;
        let port = u16::try_from(index / CLIENT_ADDRESSES).context("make a port")? + args.first;
        let source = SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, last), port);
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)
            .context("make a socket")?;
        // An earlier run may have left the port in TIME_WAIT.
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true).context("reuse a port")?;
        rustix::net::bind(&socket, &source).with_context(|| format!("bind to {source}"))?;
        rustix::net::connect(&socket, &server).with_context(|| format!("connect to {server}"))?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"x").context("request")?;
        stream.read_exact(&mut [0]).context("read the reply")?;
    }
    Ok(())
}
