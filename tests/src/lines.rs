//! Reads a child's output line by line without ever blocking a test.
use crate::wait::poll_for;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The lines a stream has given so far; a thread keeps reading until the stream ends.
#[derive(Debug)]
pub struct Lines {
    seen: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Lines {
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches('\n')
                    .to_owned();
                sink.lock().unwrap().push(text);
                line.clear();
            }
        });
        Self { seen, reader }
    }

    /// What has come so far.
    pub fn so_far(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The rest of the first line that starts with `prefix`, waiting for it if need be.
    pub fn after(&self, prefix: &str, limit: Duration) -> Option<String> {
        poll_for(limit, || {
            let found = |line: &String| line.strip_prefix(prefix).map(str::to_owned);
            self.seen.lock().unwrap().iter().find_map(found)
        })
    }

    /// All of it, once the stream has ended.
    pub fn all(self) -> String {
        self.reader.join().expect("read a child's output");
        let mut text = self.seen.lock().unwrap().join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}
