//! The server itself: takes what the tracer sends, and connections from whoever may connect. One thread, so
//! that it cannot take more than one processor from what is observed.

mod answer;
mod auth;
mod connection;
mod encoded;
mod negotiate;
mod patient;
mod rate;
mod sandbox;
mod state;

use std::{
    io,
    net::TcpListener,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixListener,
    },
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::{runtime::Builder, sync::mpsc as channel_of};

use self::state::State;
use super::message::{Kind, MAX_MESSAGE, Message, Ready};
use crate::channel::{self, Broken};

/// For what takes long: one hears the tracer, two compare passwords and compress.
const THREADS: usize = 3;
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Ends when the tracer closes its side.
pub(super) fn run(tracer: OwnedFd) -> io::Result<()> {
    let mut missing = sandbox::before_threads();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_keep_alive(FOR_EVER)
        .build()?;
    // All threads that there will ever be: afterwards none can be made.
    let (arrived, arrivals) = mpsc::channel();
    let (released, release) = mpsc::channel::<()>();
    let release = Arc::new(std::sync::Mutex::new(release));
    for _ in 0..THREADS {
        let (arrived, release) = (arrived.clone(), Arc::clone(&release));
        runtime.spawn_blocking(move || {
            let _ = arrived.send(());
            let _ = release.lock().map(|release| release.recv());
        });
    }
    for _ in 0..THREADS {
        let _ = arrivals.recv();
    }
    drop(released);
    missing.extend(sandbox::after_threads());
    let ready = Ready { without: missing };
    channel::send(tracer.as_fd(), &ready, None, None).map_err(io::Error::other)?;
    runtime.block_on(serve(tracer))
}

async fn serve(tracer: OwnedFd) -> io::Result<()> {
    let state = Arc::new(State::default());
    // Small: the tracer waits when this process does not keep up, and then sends only what is newest.
    let (send, mut messages) = channel_of::channel(2);
    let hearing = tokio::task::spawn_blocking(move || hear(&tracer, &send));
    while let Some((message, descriptor)) = messages.recv().await {
        state.alive();
        match (message, descriptor) {
            (Message::Listener(kind), Some(socket)) => listen(kind, socket, &state)?,
            (Message::Config(setup), _) => state.configure(*setup).map_err(io::Error::other)?,
            (Message::Published(json), _) => {
                let known = Arc::clone(&state);
                let taken = tokio::task::spawn_blocking(move || known.publish(&json)).await;
                taken.map_err(io::Error::other)?.map_err(io::Error::other)?;
            }
            (Message::Listener(_), None) | (Message::Alive, _) => {}
        }
    }
    match hearing.await {
        Ok(Err(Broken::Closed) | Ok(())) => Ok(()),
        Ok(Err(broken)) => Err(io::Error::other(broken)),
        Err(error) => Err(error.into()),
    }
}

type Heard = (Message, Option<OwnedFd>);

fn hear(tracer: &OwnedFd, send: &channel_of::Sender<Heard>) -> Result<(), Broken> {
    loop {
        let heard = channel::receive(tracer.as_fd(), MAX_MESSAGE, None)?;
        if send.blocking_send(heard).is_err() {
            return Ok(());
        }
    }
}

fn listen(kind: Kind, socket: OwnedFd, state: &Arc<State>) -> io::Result<()> {
    let state = Arc::clone(state);
    match kind {
        Kind::Tcp => {
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => connection::tcp(stream, &state),
                        Err(_) => tokio::time::sleep(NO_DESCRIPTORS).await,
                    }
                }
            });
        }
        Kind::Unix => {
            let listener = UnixListener::from(socket);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::UnixListener::from_std(listener)?;
            tokio::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => connection::unix(stream, &state),
                        Err(_) => tokio::time::sleep(NO_DESCRIPTORS).await,
                    }
                }
            });
        }
    }
    Ok(())
}

/// `accept()` fails when there is no descriptor left, or the client has gone; trying at once would spin.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);
