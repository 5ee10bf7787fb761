//! The bytes below an SSH session: a TCP connection, or a channel through another host.
use crate::{connection::Lease, pace::Pace};
use russh::{ChannelStream, client::Msg};
use std::{
    fmt,
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, ReadBuf},
    net::TcpStream,
    sync::oneshot,
};

/// How much is read from a socket at once: a session reads each packet in two pieces.
const READ_AHEAD: usize = 4 * 1024;

/// A stream that ends at once when the [`Cut`] that came with it is dropped, whatever the other side does: a session that
/// nobody wants any more may be waiting for a server that never answers.
pub(crate) struct Wire {
    stream: Stream,
    cut: Option<oneshot::Receiver<()>>,
    pace: Arc<Pace>,
    /// Told when the first byte comes.
    heard: Option<oneshot::Sender<()>>,
}

/// What keeps a [`Wire`] whole.
#[derive(Debug)]
pub(crate) struct Cut {
    _wire: oneshot::Sender<()>,
    /// What is written to it.
    pub(crate) pace: Arc<Pace>,
}

enum Stream {
    Direct(BufReader<TcpStream>),
    /// The lease keeps the connection to the host in between.
    Jump(Box<ChannelStream<Msg>>, #[expect(dead_code, reason = "held, not read")] Lease),
}

impl Wire {
    pub(crate) fn direct(stream: TcpStream, heard: oneshot::Sender<()>) -> (Self, Cut) {
        Self::new(Stream::Direct(BufReader::with_capacity(READ_AHEAD, stream)), heard)
    }

    pub(crate) fn jump(
        stream: ChannelStream<Msg>,
        lease: Lease,
        heard: oneshot::Sender<()>,
    ) -> (Self, Cut) {
        Self::new(Stream::Jump(Box::new(stream), lease), heard)
    }

    fn new(stream: Stream, heard: oneshot::Sender<()>) -> (Self, Cut) {
        let (wire, cut) = oneshot::channel();
        let pace = Arc::<Pace>::default();
        let held = Cut { _wire: wire, pace: Arc::clone(&pace) };
        (Self { stream, cut: Some(cut), pace, heard: Some(heard) }, held)
    }

    /// Fails once the wire is cut.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let cut = match &mut self.cut {
            Some(cut) => Pin::new(cut).poll(cx).is_ready(),
            None => true,
        };
        if cut {
            self.cut = None;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    fn stream(&mut self) -> Pin<&mut dyn Both> {
        match &mut self.stream {
            Stream::Direct(stream) => Pin::new(stream),
            Stream::Jump(stream, _) => Pin::new(stream),
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        ready!(self.stream().poll_read(cx, buf))?;
        if buf.filled().len() > before
            && let Some(heard) = self.heard.take()
        {
            // Who no longer waits for it has given up.
            let _ = heard.send(());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        ready!(self.stream().poll_flush(cx))?;
        self.pace.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A cut wire is not shut down in good order: that could mean waiting again.
        if self.check(cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.stream().poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
