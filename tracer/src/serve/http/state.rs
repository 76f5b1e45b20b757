//! What requests are answered from: the newest report and the settings in force. Replaced as a whole, so an
//! answer never mixes two reports.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::{auth::Users, encoded::Edition, rate::Bucket};
use crate::serve::{message::Setup, metrics::Limits, page::History, published::Published};

/// Connections at once, each with two buffers of up to 16 KiB.
const MAX_CONNECTIONS: usize = 2048;
/// Pages that are kept up to date at once.
const MAX_SUBSCRIBERS: usize = 64;
/// The tracer says something every few seconds; without a word for so long it hangs.
const SILENCE: Duration = Duration::from_mins(1);

pub(super) struct State {
    settings: Mutex<Arc<Settings>>,
    edition: watch::Sender<Option<Arc<Edition>>>,
    history: Mutex<History>,
    heard: Mutex<Instant>,
    pub connections: Arc<Semaphore>,
    pub subscribers: Arc<Semaphore>,
}

#[derive(Default)]
pub(super) struct Settings {
    pub setup: Setup,
    pub tls: Option<TlsAcceptor>,
    pub users: Users,
    bucket: Option<Mutex<Bucket>>,
}

impl Settings {
    pub(super) fn allows_another(&self) -> bool {
        self.bucket.as_ref().is_none_or(|bucket| {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.allows(Instant::now())
        })
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            settings: Mutex::default(),
            edition: watch::Sender::new(None),
            history: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            subscribers: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
        }
    }
}

impl State {
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn configure(&self, setup: Setup) -> Result<(), String> {
        let settings = Settings {
            tls: setup.web.server_config()?.map(TlsAcceptor::from),
            users: Users::new(setup.web.users.clone()),
            bucket: setup
                .web
                .rate_limit
                .map(|limit| Mutex::new(Bucket::new(limit, Instant::now()))),
            setup,
        };
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(())
    }

    /// JSON of a `Published`; takes a while when it is large.
    pub(super) fn publish(&self, json: &[u8]) -> Result<(), serde_json::Error> {
        let published: Published = serde_json::from_slice(json)?;
        let limits = Limits {
            max_sites: self.settings().setup.max_sites,
        };
        let number = self.edition().map_or(0, |edition| edition.number) + 1;
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let edition = Edition::new(number, published, limits, &mut history);
        self.edition.send_replace(Some(Arc::new(edition)));
        Ok(())
    }

    pub(super) fn edition(&self) -> Option<Arc<Edition>> {
        self.edition.borrow().clone()
    }

    pub(super) fn editions(&self) -> watch::Receiver<Option<Arc<Edition>>> {
        self.edition.subscribe()
    }

    /// The tracer has said something.
    pub(super) fn alive(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn is_alive(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.elapsed() < SILENCE
    }
}
