//! A client as there are millions: asks, takes the answer, hangs up. The server's end of the
//! connection is then in `CLOSE_WAIT` until the server closes it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// What the service forgets to close, and what it closes.
pub const PAGE: &[u8] = b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n";
pub const HEALTH_CHECK: &[u8] = b"GET /health HTTP/1.1\r\nHost: demo\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(5);

/// One whole visit; the connection is closed when this returns.
pub fn visit(port: u16, request: &[u8]) -> Result<()> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)
        .with_context(|| format!("connect to the demo service at {server}"))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("set a read timeout")?;
    stream.write_all(request).context("send a request")?;
    let mut answer = [0; 1024];
    let got = stream.read(&mut answer).context("receive the answer")?;
    ensure!(got > 0, "the demo service closed without an answer");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_visit_asks_takes_the_answer_and_hangs_up() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let got = stream.read(&mut request).unwrap();
            stream.write_all(b"ok").unwrap();
            let end = stream.read(&mut [0]).unwrap();
            (request.get(..got).unwrap().to_vec(), end)
        });
        visit(port, PAGE).unwrap();
        assert_eq!(server.join().unwrap(), (PAGE.to_vec(), 0));
    }

    #[test]
    fn a_server_that_says_nothing_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
        });
        assert!(visit(port, PAGE).is_err());
        server.join().unwrap();
    }
}
