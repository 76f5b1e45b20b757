//! Asks a server as plainly as can be: one request, one connection, the whole answer.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower case names.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// With `Host: ADDRESS` unless the extra lines say otherwise.
pub fn get(address: &str, path: &str, extra: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("connect to the server");
    stream
        .set_read_timeout(Some(LIMIT))
        .expect("limit the wait");
    let whole = ask(&mut stream, &request(address, path, extra));
    parse(&whole)
}

pub fn get_unix(socket: &Path, path: &str) -> Answer {
    let mut stream = UnixStream::connect(socket).expect("connect to the server");
    stream
        .set_read_timeout(Some(LIMIT))
        .expect("limit the wait");
    let whole = ask(&mut stream, &request("unix", path, &[]));
    parse(&whole)
}

pub fn request(host: &str, path: &str, extra: &[&str]) -> String {
    let mut lines = vec![
        format!("GET {path} HTTP/1.1"),
        "Connection: close".to_owned(),
    ];
    if !extra.iter().any(|line| line.starts_with("Host:")) {
        lines.push(format!("Host: {host}"));
    }
    lines.extend(extra.iter().map(|line| (*line).to_owned()));
    lines.join("\r\n") + "\r\n\r\n"
}

fn ask(stream: &mut (impl Read + Write), request: &str) -> Vec<u8> {
    stream
        .write_all(request.as_bytes())
        .expect("send a request");
    let mut whole = Vec::new();
    // A server that resets after its answer has answered.
    let _ = stream.read_to_end(&mut whole);
    whole
}

fn parse(whole: &[u8]) -> Answer {
    let end = whole.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(whole)));
    let head = String::from_utf8_lossy(&whole[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .expect("a status");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer {
        status: status.parse().expect("a number as status"),
        headers,
        body: whole[end + 4..].to_vec(),
    }
}
