//! The tracer's end: starts the process that answers requests, hands it listeners, settings and each finished
//! report, starts another when it ends, and never waits for it. It is told nothing in return.

use std::{
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::Child,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    ARGUMENT,
    config::WebConfig,
    listen::Listener,
    message::{Kind, MAX_ANSWER, Message, Ready, Setup},
    published::Published,
};
use crate::{
    channel::{self, Broken},
    confine,
};

/// To start on a busy machine.
const STARTED: Duration = Duration::from_secs(10);
/// To take a report in; it hears while it answers.
const TAKEN: Duration = Duration::from_secs(20);
/// How often it is told that the tracer is alive, and files are looked at.
const ROUND: Duration = Duration::from_secs(2);
/// For the process to end by itself.
const ENDED: Duration = Duration::from_secs(2);
/// Between two starts, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A process that lived so long did not end because of how it was started.
const SETTLED: Duration = Duration::from_mins(2);
/// Sites of one report that are handed over; the rest is counted.
pub const MAX_SITES: usize = 500;

#[derive(Default)]
struct Shared {
    state: Mutex<Pending>,
    news: Condvar,
    restarts: AtomicU64,
    warnings: Mutex<Vec<String>>,
    /// What is wrong with the web config file, until it is mended.
    wrong_config: Mutex<Option<String>>,
}

#[derive(Default)]
struct Pending {
    published: Option<Arc<Vec<u8>>>,
    number: u64,
    alive: u64,
    reload: bool,
    stop: bool,
}

/// Hands reports over in a thread of its own. Dropped, it ends the process.
pub struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// After privileges were given up: the thread keeps those of its maker. Returns when the process can be
    /// talked to, or says why there is none.
    pub fn start(
        listeners: Vec<Listener>,
        config: WebConfig,
        hosts: Vec<String>,
        max_sites: usize,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut feeder = Feeder {
            shared: Arc::clone(&shared),
            listeners,
            config,
            hosts,
            max_sites,
        };
        let (told, first) = std::sync::mpsc::channel();
        let thread = thread::Builder::new()
            .name("publisher".to_owned())
            // The process it starts ends with this thread, as the kernel has it (prctl(2), PR_SET_PDEATHSIG).
            .spawn(move || {
                let server = feeder.start();
                let failed = server.as_ref().err().map(ToString::to_string);
                let begun = server.is_ok();
                let _ = told.send(failed);
                if begun {
                    feeder.run(server.ok());
                }
            })?;
        match first.recv() {
            Ok(None) => Ok(Self {
                shared,
                thread: Some(thread),
            }),
            Ok(Some(reason)) => Err(io::Error::other(reason)),
            Err(_) => Err(io::Error::other("its thread ended")),
        }
    }

    /// The newest report replaces one that has not been handed over yet.
    pub fn publish(&self, mut published: Published) {
        published.bound(MAX_SITES);
        let wrong = self.shared.wrong_config().clone();
        published.report.warnings.extend(wrong);
        // Plain data: it cannot fail.
        let Ok(json) = serde_json::to_vec(&published) else {
            return;
        };
        let mut state = self.shared.state();
        state.published = Some(Arc::new(json));
        state.number += 1;
        state.alive += 1;
        self.shared.news.notify_one();
    }

    /// The tracer's loop goes on.
    pub fn alive(&self) {
        self.shared.state().alive += 1;
    }

    /// Reads the web config file at once.
    pub fn reload(&self) {
        self.shared.state().reload = true;
        self.shared.news.notify_one();
    }

    pub fn restarts(&self) -> u64 {
        self.shared.restarts.load(Ordering::Relaxed)
    }

    /// What has to be said in the report since the last call.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(
            &mut *self
                .shared
                .warnings
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong_config(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        let locked = self.wrong_config.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    fn warn(&self, text: String) {
        tracing::warn!("{text}");
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    }
}

struct Feeder {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    config: WebConfig,
    hosts: Vec<String>,
    max_sites: usize,
}

struct Server {
    process: Child,
    /// Closed to end the process.
    socket: Option<OwnedFd>,
    since: Instant,
    /// Number of the report it has.
    has: u64,
    alive: u64,
}

impl Drop for Server {
    /// It is another user's by now, whom this process may have no right to signal; but it ends when nobody talks
    /// to it any more, and with the thread that started it.
    fn drop(&mut self) {
        self.socket = None;
        let _ = self.process.kill();
        let until = Instant::now() + ENDED;
        let lives = |process: &mut Child| process.try_wait().is_ok_and(|ended| ended.is_none());
        while lives(&mut self.process) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Feeder {
    fn run(&mut self, mut server: Option<Server>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = match &mut server {
                Some(server) => self.feed(server),
                None => Ok(()),
            };
            match outcome {
                Ok(()) if server.is_some() => return,
                Ok(()) => {}
                Err(broken) => {
                    self.shared.warn(format!(
                        "the process that answers requests {broken}; another is started"
                    ));
                    if server
                        .take()
                        .is_some_and(|server| server.since.elapsed() > SETTLED)
                    {
                        pause = FIRST_PAUSE;
                    }
                }
            }
            if self.waits(pause) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.shared.restarts.fetch_add(1, Ordering::Relaxed);
            match self.start() {
                Ok(started) => server = Some(started),
                Err(error) => {
                    self.shared.warn(format!(
                        "the process that answers requests cannot be started: {error}"
                    ));
                }
            }
        }
    }

    /// True when it is time to end.
    fn waits(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.shared.state();
        while !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn start(&self) -> io::Result<Server> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = confine::process::start("sockleak-http", ARGUMENT, theirs.into())?;
        let server = Server {
            process,
            socket: Some(ours.into()),
            since: Instant::now(),
            has: 0,
            alive: 0,
        };
        self.introduce(&server).map_err(|broken| {
            io::Error::other(format!("the process that answers requests {broken}"))
        })?;
        Ok(server)
    }

    fn introduce(&self, server: &Server) -> Result<(), Broken> {
        let until = Some(Instant::now() + STARTED);
        let (ready, _): (Ready, _) = channel::receive(server.socket()?, MAX_ANSWER, until)?;
        for missing in ready.without {
            self.shared.warn(format!(
                "the process that answers requests is less confined than it should be: {}",
                missing.means()
            ));
        }
        self.configure(server)
    }

    /// Not before there is something to answer with: until then connections wait to be accepted.
    fn let_listen(&self, server: &Server) -> Result<(), Broken> {
        let until = Some(Instant::now() + TAKEN);
        for listener in &self.listeners {
            let message = Message::Listener(listener.kind);
            let socket = Some(listener.socket.as_fd());
            channel::send(server.socket()?, &message, socket, until)?;
        }
        Ok(())
    }

    fn configure(&self, server: &Server) -> Result<(), Broken> {
        let setup = Setup {
            web: self.config.loaded.clone(),
            hosts: self.hosts.clone(),
            max_sites: self.max_sites,
        };
        server.say(&Message::Config(Box::new(setup)))
    }

    /// Until the end of the run, or of the process.
    fn feed(&mut self, server: &mut Server) -> Result<(), Broken> {
        loop {
            let state = self.shared.state();
            let waits =
                |state: &mut Pending| !state.stop && !state.reload && state.number == server.has;
            let waited = self.shared.news.wait_timeout_while(state, ROUND, waits);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.stop {
                return Ok(());
            }
            state.reload = false;
            let (number, alive, published) = (state.number, state.alive, state.published.clone());
            drop(state);
            if server
                .process
                .try_wait()
                .map_or(true, |ended| ended.is_some())
            {
                return Err(Broken::Closed);
            }
            match self.config.refresh() {
                Ok(true) => self.configure(server)?,
                Ok(false) => {}
                Err(wrong) => tracing::warn!("{wrong}; the settings before stay in force"),
            }
            let wrong = &self.config.wrong;
            self.shared.wrong_config().clone_from(wrong);
            if let Some(json) = published
                && number != server.has
            {
                server.say(&Message::Published(json.to_vec()))?;
                if server.has == 0 {
                    self.let_listen(server)?;
                }
                server.has = number;
            } else if alive != server.alive {
                server.say(&Message::Alive)?;
            }
            server.alive = alive;
        }
    }
}

impl Server {
    fn socket(&self) -> Result<BorrowedFd<'_>, Broken> {
        self.socket
            .as_ref()
            .map(OwnedFd::as_fd)
            .ok_or(Broken::Closed)
    }

    fn say(&self, message: &Message) -> Result<(), Broken> {
        channel::send(self.socket()?, message, None, Some(Instant::now() + TAKEN))
    }
}

/// Of listeners that everybody can reach, for a warning.
pub fn open_to_all(listeners: &[Listener]) -> Vec<String> {
    let open = listeners
        .iter()
        .filter(|one| one.kind == Kind::Tcp && !one.local);
    open.map(|one| one.name.clone()).collect()
}
