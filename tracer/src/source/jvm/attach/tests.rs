//! The conversation with machines that are none: this process listens instead of one.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::process::{Pid, PidfdFlags, getegid, geteuid};
use tempfile::TempDir;

use super::*;

const SHORT: Limits = Limits {
    patience: Duration::from_millis(300),
    trigger_stays: Duration::from_millis(900),
    bytes: 4 << 20,
};

struct Place {
    tmp: TempDir,
    own_pid: i32,
}

impl Place {
    fn new() -> Self {
        let own_pid = std::process::id() as i32;
        let tmp = TempDir::new().unwrap();
        Self { tmp, own_pid }
    }

    fn target(&self, may_be_signalled: Result<(), Why>) -> Target {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let pid = Pid::from_raw(self.own_pid).unwrap();
        Target {
            pid: std::process::id(),
            own_pid: self.own_pid,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            handle: rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap(),
            tmp: rustix::fs::open(self.tmp.path(), flags, Mode::empty()).unwrap(),
            may_be_signalled,
        }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.tmp.path().join(format!(".java_pid{}", self.own_pid))
    }

    /// Answers one request by `answer`.
    fn listen(&self, answer: impl FnOnce(UnixStream) + Send + 'static) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; REQUEST.len()];
            if stream.read_exact(&mut request).is_ok() {
                assert_eq!(request, REQUEST);
                answer(stream);
            }
        });
    }

    fn ask(&self) -> Result<Answer, Why> {
        let target = self.target(Err(Why::NotCaught));
        Asking::begin(target, SHORT).unwrap().answer().0
    }
}

fn why(answer: Result<Answer, Why>) -> Why {
    answer.map(|answer| answer.text).unwrap_err()
}

#[test]
fn an_answer_is_taken_whole() {
    let place = Place::new();
    place.listen(|mut stream| stream.write_all(b"0\nFull thread dump\n").unwrap());
    let answer = place.ask().unwrap();
    assert_eq!(answer.text, "Full thread dump\n");
    assert_eq!(answer.cut, None);
}

#[test]
fn an_answer_that_is_an_error_is_none() {
    let place = Place::new();
    place.listen(|mut stream| stream.write_all(b"101\nno such protocol\n").unwrap());
    assert_eq!(why(place.ask()), Why::Nonsense);
    let place = Place::new();
    place.listen(drop);
    assert_eq!(why(place.ask()), Why::Nonsense);
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    let begun = Instant::now();
    let place = Place::new();
    place.listen(|_stream| std::thread::sleep(Duration::from_secs(5)));
    assert_eq!(why(place.ask()), Why::Silent(SHORT.patience));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn who_never_stops_answering_is_cut_off() {
    for pause in [Duration::ZERO, Duration::from_millis(30)] {
        let begun = Instant::now();
        let place = Place::new();
        place.listen(move |mut stream| {
            stream.write_all(DONE).unwrap();
            let line = vec![b'\n'; 64 << 10];
            let mut left = 100 << 20;
            while left > 0 && stream.write_all(&line).is_ok() {
                left -= line.len();
                std::thread::sleep(pause);
            }
            assert!(left > 0, "all of it was read");
        });
        let answer = place.ask().unwrap();
        assert!(answer.text.len() <= SHORT.bytes);
        assert!(answer.cut.is_some());
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn without_a_socket_only_who_may_be_signalled_is() {
    let place = Place::new();
    assert_eq!(why(place.ask()), Why::NotCaught);
    assert_eq!(fs::read_dir(place.tmp.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_the_targets_own_socket_is_refused() {
    let place = Place::new();
    let foreign = Why::Foreign {
        path: format!("/tmp/.java_pid{}", place.own_pid),
    };
    fs::write(place.socket(), "").unwrap();
    assert_eq!(why(place.ask()), foreign);
    fs::remove_file(place.socket()).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.socket()).unwrap();
    assert_eq!(why(place.ask()), foreign);
    fs::remove_file(place.socket()).unwrap();
    place.listen(drop);
    if geteuid().is_root() {
        chown(place.socket(), Some(65534), None).unwrap();
        assert_eq!(why(place.ask()), foreign);
        chown(place.socket(), Some(0), None).unwrap();
    }
    // The right owner, but another process listens: the init process does not.
    let target = Target {
        pid: 1,
        ..place.target(Err(Why::NotCaught))
    };
    let asking = Asking::begin(target, SHORT).unwrap();
    assert_eq!(why(asking.answer().0), foreign);
}

/// A child of which nothing but this signal is expected, and which makes no socket.
#[test]
fn the_file_that_announces_a_request_stays_until_it_is_of_no_use() {
    let place = Place::new();
    let mut child = std::process::Command::new("sh")
        .args([
            "-c",
            "trap 'echo caught' QUIT; echo ready; while :; do sleep 0.1; done",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut said = [0; 6];
    output.read_exact(&mut said).unwrap();
    let target = Target {
        pid: child.id(),
        own_pid: child.id() as i32,
        handle: rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap(),
        ..place.target(Ok(()))
    };
    let trigger = place.tmp.path().join(format!(".attach_pid{}", child.id()));
    let (answer, thread) = Asking::begin(target, SHORT).unwrap().answer();
    assert_eq!(why(answer), Why::Silent(SHORT.patience));
    assert!(trigger.exists());
    thread.join().unwrap();
    assert!(!trigger.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "caught\n");
}
