//! A connection with limits of its own in time: what was begun to be written must be gone after a while, and
//! a client that sends nothing is not waited for. Knows nothing of HTTP.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// For everything that is ready to be sent: 10 MiB in this time is 350 KiB a second.
const WRITE: Duration = Duration::from_secs(30);

pub(super) struct Patient<S> {
    stream: S,
    /// Runs while something waits to be taken by the client.
    unsent: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            unsent: None,
        }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let unsent = self.unsent.get_or_insert_with(|| Box::pin(sleep(WRITE)));
        unsent.as_mut().poll(context).is_ready()
    }

    /// Progress of a part does not count: who takes a byte a second would hold the rest for days.
    fn judge<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_pending() && self.is_late(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self
            .unsent
            .as_ref()
            .is_some_and(|sleep| sleep.deadline() <= Instant::now())
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(outcome, context)
    }

    /// Called when everything has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        if outcome.is_ready() {
            self.unsent = None;
        }
        self.judge(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        let outcome = self.judge(outcome, context);
        Poll::Ready(ready!(outcome))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self
            .unsent
            .as_ref()
            .is_some_and(|sleep| sleep.deadline() <= Instant::now())
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_the_answer_in_time_is_left() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut patient = Patient::new(ours);
        let writing = tokio::spawn(async move {
            patient.write_all(&[0; 4096]).await?;
            patient.flush().await
        });
        // A byte a second is no progress to wait for.
        for _ in 0..60 {
            let mut byte = [0];
            let _ = theirs.read(&mut byte).await;
            sleep(Duration::from_secs(1)).await;
        }
        let outcome = writing.await.unwrap().unwrap_err();
        assert_eq!(outcome.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_starts_the_time_afresh() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut patient = Patient::new(ours);
        for _ in 0..5 {
            let mut taken = [0; 2048];
            let (sent, got) = tokio::join!(
                async {
                    patient.write_all(&[0; 2048]).await?;
                    patient.flush().await
                },
                theirs.read_exact(&mut taken)
            );
            sent.unwrap();
            got.unwrap();
            sleep(Duration::from_secs(25)).await;
        }
    }
}
