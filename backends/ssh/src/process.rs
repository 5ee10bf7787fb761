//! A process on a host, at the other end of a channel.
use crate::{
    client::{Arrival, Route},
    connection::{Lease, NoChannel},
    failure::Failure,
    pace::Pace,
    target::Target,
};
use async_trait::async_trait;
use deploy_core::{error::BackendResult, id::HostName};
use deploy_host::transport::{HostOutput, HostProcess};
use russh::{ChannelWriteHalf, client::Msg};
use std::{
    collections::VecDeque,
    fmt,
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::AsyncWrite,
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How many pieces of output wait to be taken before the server is made to wait.
const BACKLOG: usize = 64;
/// The largest piece of input that is given to a session at a time.
const PIECE: usize = 32 * 1024;

/// A process on a host.
pub(crate) struct SshProcess {
    about: Arc<About>,
    arrivals: mpsc::Receiver<Arrival>,
    /// Output that was looked at already, and is to be delivered first.
    seen: VecDeque<HostOutput>,
    stdin: Option<Stdin>,
    channel: Option<Channel>,
    ended: bool,
}

/// Which host it is about, for messages.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) host: HostName,
    pub(crate) target: Target,
}

/// The channel, as long as it is ours to close.
struct Channel {
    writer: ChannelWriteHalf<Msg>,
    lease: Lease,
}

/// Why no process was started.
#[derive(Debug)]
pub(crate) enum NoProcess {
    /// There was no channel for it.
    Channel(NoChannel),
    Failure(Failure),
}

impl SshProcess {
    /// Starts `line` over `lease`.
    pub(crate) async fn start(
        lease: Lease,
        line: &str,
        about: Arc<About>,
    ) -> Result<Self, NoProcess> {
        let opened = lease.open_session().await.map_err(NoProcess::Channel)?;
        let (_, writer) = opened.split();
        let (arrived, arrivals) = mpsc::channel(BACKLOG);
        let (told, started) = oneshot::channel();
        let (gone, writer_gone) = oneshot::channel();
        let route = Route { arrivals: arrived, started: Some(told), _writer: gone };
        lease.shared().add(writer.id(), route);
        let stdin = Stdin {
            inner: Box::pin(writer.make_writer()),
            gone: Some(writer_gone),
            pace: Arc::clone(lease.pace()),
            offered: false,
        };
        let patience = lease.patience();
        let process = Self {
            about,
            arrivals,
            seen: VecDeque::new(),
            stdin: Some(stdin),
            channel: Some(Channel { writer, lease }),
            ended: false,
        };
        process.exec(line).await?;
        match timeout(patience, started).await {
            Ok(Ok(true)) => Ok(process),
            Ok(Ok(false)) => Err(NoProcess::Failure(Failure::new(
                deploy_core::error::ErrorKind::PermissionDenied,
                "the SSH server runs no commands for this account",
            ))),
            Ok(Err(_)) => Err(NoProcess::Failure(process.lost())),
            Err(_) => Err(NoProcess::Failure(Failure::unknown(format!(
                "the SSH server did not say within {} s whether it has started the process",
                patience.as_secs()
            )))),
        }
    }

    async fn exec(&self, line: &str) -> Result<(), NoProcess> {
        let Some(channel) = &self.channel else { return Ok(()) };
        // A message that was not taken was not sent.
        let gone = |_| NoProcess::Channel(NoChannel::Gone);
        channel.writer.exec(true, line).await.map_err(gone)
    }

    /// The next piece of output; `None` at the end.
    pub(crate) async fn output(&mut self) -> Result<Option<HostOutput>, Failure> {
        if let Some(output) = self.seen.pop_front() {
            return Ok(Some(output));
        }
        if self.ended {
            return Ok(None);
        }
        match self.arrivals.recv().await {
            Some(Arrival::Stdout(bytes)) => Ok(Some(HostOutput::Stdout(bytes))),
            Some(Arrival::Stderr(bytes)) => Ok(Some(HostOutput::Stderr(bytes))),
            Some(Arrival::Closed) => {
                self.ended = true;
                Ok(None)
            }
            None => Err(self.lost()),
        }
    }

    /// Delivers `output` again, before all others.
    pub(crate) fn put_back(&mut self, output: VecDeque<HostOutput>) {
        self.seen = output;
    }

    fn lost(&self) -> Failure {
        let lost = self.channel.as_ref().and_then(|it| it.lease.shared().lost());
        Failure::unknown(match lost {
            Some(reason) => format!("the connection was lost, the process may still run: {reason}"),
            None => "its output was not taken for too long, and the channel was closed; the process may still run".into(),
        })
    }
}

#[async_trait]
impl HostProcess for SshProcess {
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        self.stdin.take().map(|it| Box::new(it) as _)
    }

    async fn next(&mut self) -> BackendResult<Option<HostOutput>> {
        let about = Arc::clone(&self.about);
        self.output().await.map_err(|it| it.at("ssh.read", &about.host, &about.target))
    }
}

impl Drop for SshProcess {
    fn drop(&mut self) {
        let Some(channel) = self.channel.take() else { return };
        let route = channel.lease.shared().remove(channel.writer.id());
        // Without a route the server has closed the channel, or the connection is gone.
        if let (Some(_), Ok(runtime)) = (route, Handle::try_current()) {
            channel.lease.abandoned();
            runtime.spawn(async move {
                // The connection may end meanwhile, and the channel with it.
                let _ = channel.writer.close().await;
                drop(channel.lease);
            });
        }
    }
}

impl fmt::Debug for SshProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshProcess").field("about", &self.about).finish_non_exhaustive()
    }
}

/// The writing end of a process's standard input. A write waits for the server's window; it fails once the channel is closed.
struct Stdin {
    inner: Pin<Box<dyn AsyncWrite + Send + Sync>>,
    /// Resolves when the channel is closed: whoever waits for the window would wait for ever.
    gone: Option<oneshot::Receiver<()>>,
    pace: Arc<Pace>,
    /// A piece is counted already, and not taken yet.
    offered: bool,
}

impl Stdin {
    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let gone = self.gone.as_mut().is_none_or(|it| Pin::new(it).poll(cx).is_ready());
        if gone {
            self.gone = None;
        }
        gone
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_gone(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let piece = buf.get(..PIECE).unwrap_or(buf);
        if !self.offered {
            ready!(self.pace.poll_ready(cx));
            // Before it is taken: what is counted after it was written would wait for ever.
            self.pace.gives(piece.len());
            self.offered = true;
        }
        let written = ready!(self.inner.as_mut().poll_write(cx, piece));
        self.offered = false;
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The end of what nobody reads need not be told.
        if self.is_gone(cx) {
            return Poll::Ready(Ok(()));
        }
        self.inner.as_mut().poll_shutdown(cx)
    }
}
