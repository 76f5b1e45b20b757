//! One connection: TLS where it is configured, limits on headers, size and time, then request by request.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{answer::answer, patient::Patient, state::State};

/// From the end of one answer to the last header of the next request: idle connections go as well.
const HEADERS: Duration = Duration::from_secs(10);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Of headers and request line.
const MAX_REQUEST: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Tcp,
    /// The file's permissions have said already who may.
    Unix,
}

pub(super) fn tcp(stream: TcpStream, state: &Arc<State>) {
    // One too many is closed at once: its client tries again, and those that are served stay so.
    let Ok(permit) = Arc::clone(&state.connections).try_acquire_owned() else {
        return;
    };
    // Answers are written at once; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let _permit = permit;
        let stream = Patient::new(stream);
        match state.settings().tls.clone() {
            Some(acceptor) => {
                if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    serve(stream, state, Via::Tcp).await;
                }
            }
            None => serve(stream, state, Via::Tcp).await,
        }
    });
}

pub(super) fn unix(stream: UnixStream, state: &Arc<State>) {
    let Ok(permit) = Arc::clone(&state.connections).try_acquire_owned() else {
        return;
    };
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let _permit = permit;
        serve(Patient::new(stream), state, Via::Unix).await;
    });
}

async fn serve<S>(stream: S, state: Arc<State>, via: Via)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(request, &state, via).await) }
    });
    // How it ends is the client's business.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_REQUEST)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[cfg(test)]
mod damaged {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn damaged_requests_are_answered_or_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let mut answered = 0;
        crate::damaged::run("http-requests", 4000, |bytes| {
            let state = Arc::new(State::default());
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            runtime.block_on(async {
                let serving = tokio::spawn(serve(Patient::new(theirs), state, Via::Tcp));
                let (mut from, mut to) = tokio::io::split(ours);
                to.write_all(bytes).await.unwrap_or_default();
                to.shutdown().await.unwrap_or_default();
                let mut answer = Vec::new();
                from.read_to_end(&mut answer).await.unwrap_or_default();
                serving.await.unwrap();
                answered += u32::from(answer.starts_with(b"HTTP/1."));
            });
        });
        assert!(answered > 1000, "{answered}");
    }
}
