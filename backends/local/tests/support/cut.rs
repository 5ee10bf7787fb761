//! Connections that are lost when a test says so.
use async_trait::async_trait;
use deploy_core::{
    error::{BackendError, BackendResult, ErrorKind},
    host::Host,
};
use deploy_host::transport::{HostCommand, HostOutput, HostProcess, Transport};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{io::AsyncWrite, select, sync::watch};

/// Decides when connections are lost.
#[derive(Debug)]
pub(crate) struct Scissors {
    /// Cuts all that are open when it grows.
    cuts: watch::Sender<u64>,
    /// For the connections to come, one after another: how many bytes may go in and out; no entry is no limit.
    limits: Mutex<Vec<(u64, u64)>>,
    /// How many connections were opened.
    pub(crate) opened: AtomicUsize,
    /// How many bytes went to hosts.
    pub(crate) sent: Arc<AtomicU64>,
    /// What stands in front of every command line.
    pub(crate) prefix: Mutex<String>,
}

impl Default for Scissors {
    fn default() -> Self {
        Self {
            cuts: watch::Sender::new(0),
            limits: Mutex::default(),
            opened: AtomicUsize::new(0),
            sent: Arc::default(),
            prefix: Mutex::default(),
        }
    }
}

impl Scissors {
    /// Cuts every open connection.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|it| *it += 1);
    }

    /// Lets the connections to come live so long: so many bytes to the host, so many from it.
    pub(crate) fn limit(&self, limits: &[(u64, u64)]) {
        *self.limits.lock().unwrap() = limits.iter().rev().copied().collect();
    }
}

#[derive(Debug)]
pub(crate) struct CutTransport<T> {
    inner: T,
    scissors: Arc<Scissors>,
}

impl<T> CutTransport<T> {
    pub(crate) fn new(inner: T, scissors: Arc<Scissors>) -> Self {
        Self { inner, scissors }
    }
}

#[async_trait]
impl<T: Transport> Transport for CutTransport<T> {
    async fn open(
        &self,
        host: &Host,
        command: &HostCommand,
    ) -> BackendResult<Box<dyn HostProcess>> {
        self.scissors.opened.fetch_add(1, Ordering::SeqCst);
        let (input, output) =
            self.scissors.limits.lock().unwrap().pop().unwrap_or((u64::MAX, u64::MAX));
        let mut command = command.clone();
        command.script = format!("{}{}", self.scissors.prefix.lock().unwrap(), command.script);
        let inner = self.inner.open(host, &command).await?;
        let cuts = self.scissors.cuts.subscribe();
        let sent = Arc::clone(&self.scissors.sent);
        Ok(Box::new(CutProcess { inner: Some(inner), cuts, input, output, sent }))
    }
}

#[derive(Debug)]
struct CutProcess {
    inner: Option<Box<dyn HostProcess>>,
    cuts: watch::Receiver<u64>,
    input: u64,
    output: u64,
    sent: Arc<AtomicU64>,
}

impl CutProcess {
    fn lost(&mut self) -> BackendError {
        self.inner = None;
        BackendError::new(ErrorKind::OutcomeUnknown, "cut.next").because("the connection was cut")
    }
}

#[async_trait]
impl HostProcess for CutProcess {
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        let inner = self.inner.as_mut()?.stdin()?;
        let (left, sent) = (self.input, Arc::clone(&self.sent));
        Some(Box::new(CutInput { inner: Some(inner), left, sent }))
    }

    async fn next(&mut self) -> BackendResult<Option<HostOutput>> {
        let Some(inner) = self.inner.as_mut().filter(|_| self.output > 0) else {
            return Err(self.lost());
        };
        let output = select! {
            biased;
            _ = self.cuts.changed() => return Err(self.lost()),
            output = inner.next() => output?,
        };
        let Some(output) = output else { return Ok(None) };
        let room = usize::try_from(self.output).unwrap_or(usize::MAX);
        let cut = |bytes: bytes::Bytes| bytes.slice(..bytes.len().min(room));
        let output = match output {
            HostOutput::Stdout(bytes) => HostOutput::Stdout(cut(bytes)),
            HostOutput::Stderr(bytes) => HostOutput::Stderr(cut(bytes)),
        };
        let (HostOutput::Stdout(bytes) | HostOutput::Stderr(bytes)) = &output;
        self.output -= bytes.len() as u64;
        Ok(Some(output))
    }
}

/// After its last byte the input is closed, and who writes to it learns nothing: as a network does.
struct CutInput {
    inner: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl AsyncWrite for CutInput {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let room = usize::try_from(this.left).unwrap_or(usize::MAX).min(bytes.len());
        if room == 0 {
            this.inner = None;
        }
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(Ok(bytes.len())) };
        let written = std::task::ready!(Pin::new(inner).poll_write(cx, &bytes[..room]))?;
        this.left -= written as u64;
        this.sent.fetch_add(written as u64, Ordering::SeqCst);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.as_mut().map_or(Poll::Ready(Ok(())), |it| Pin::new(it).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut()
            .inner
            .as_mut()
            .map_or(Poll::Ready(Ok(())), |it| Pin::new(it).poll_shutdown(cx))
    }
}
