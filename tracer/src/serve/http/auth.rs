//! Basic authentication against bcrypt hashes, off the thread that answers; a password that was right once is
//! remembered by its digest, so that a scraper does not cost a bcrypt each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// Right pairs of name and password; there are few scrapers.
const MAX_REMEMBERED: usize = 128;
/// Requests that may wait for their password to be compared.
const MAX_WAITING: usize = 16;
/// bcrypt looks at the first 72 bytes only.
const MAX_PASSWORD: usize = 72;
/// Compared when there is no such user, so that the time does not tell.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    right: Mutex<BTreeSet<[u8; 32]>>,
    /// One comparison at a time: the other threads are for answers.
    turn: Semaphore,
    waiting: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Denied,
    /// Too many passwords are being compared.
    Busy,
}

impl Default for Users {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Self {
        Self {
            hashes,
            right: Mutex::default(),
            turn: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(super) async fn allow(&self, headers: &HeaderMap) -> Outcome {
        if self.hashes.is_empty() {
            return Outcome::Allowed;
        }
        let Some((user, password)) = credentials(headers) else {
            return Outcome::Denied;
        };
        let (known, hash) = match self.hashes.get(&user) {
            Some(hash) => (true, hash.clone()),
            None => (false, NOBODY.to_owned()),
        };
        let digest = digest(&user, &hash, &password);
        if known && self.right().contains(&digest) {
            return Outcome::Allowed;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Outcome::Busy;
        }
        let fits = self.compare(password, hash).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if !fits || !known {
            return Outcome::Denied;
        }
        let mut right = self.right();
        if right.len() >= MAX_REMEMBERED {
            right.clear();
        }
        right.insert(digest);
        Outcome::Allowed
    }

    async fn compare(&self, password: String, hash: String) -> bool {
        let Ok(_turn) = self.turn.acquire().await else {
            return false;
        };
        let compare = move || bcrypt::verify(password, &hash).unwrap_or(false);
        tokio::task::spawn_blocking(compare).await.unwrap_or(false)
    }

    fn right(&self) -> std::sync::MutexGuard<'_, BTreeSet<[u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(user: &str, hash: &str, password: &str) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [user, hash, password] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    (password.len() <= MAX_PASSWORD).then(|| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(user: &str, password: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let pair = STANDARD.encode(format!("{user}:{password}"));
        headers.insert(AUTHORIZATION, format!("Basic {pair}").parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn only_the_right_password_of_the_right_user() {
        let hash = bcrypt::hash("correct horse", 4).unwrap();
        let users = Users::new([("alice".to_owned(), hash)].into());
        for _ in 0..2 {
            assert_eq!(
                users.allow(&with("alice", "correct horse")).await,
                Outcome::Allowed
            );
            assert_eq!(users.allow(&with("alice", "wrong")).await, Outcome::Denied);
            assert_eq!(
                users.allow(&with("bob", "correct horse")).await,
                Outcome::Denied
            );
        }
        assert_eq!(users.allow(&HeaderMap::new()).await, Outcome::Denied);
        assert_eq!(users.right().len(), 1);
        assert_eq!(
            Users::default().allow(&HeaderMap::new()).await,
            Outcome::Allowed
        );
    }

    #[tokio::test]
    async fn a_flood_of_passwords_is_turned_away() {
        let hash = bcrypt::hash("x", 4).unwrap();
        let users = Users::new([("alice".to_owned(), hash)].into());
        users.waiting.store(MAX_WAITING, Ordering::Relaxed);
        assert_eq!(users.allow(&with("alice", "y")).await, Outcome::Busy);
        assert_eq!(users.waiting.load(Ordering::Relaxed), MAX_WAITING);
    }

    #[test]
    fn the_hash_of_nobody_can_be_compared() {
        assert!(!bcrypt::verify("anything", NOBODY).unwrap());
    }
}
