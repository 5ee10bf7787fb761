//! Processes on this machine.
use async_trait::async_trait;
use bytes::BytesMut;
use deploy_core::{
    error::{BackendError, BackendResult, ErrorKind},
    host::{Connection, Host},
};
use deploy_host::transport::{HostCommand, HostOutput, HostProcess, Transport};
use std::{
    fmt, io,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    select,
};

const OPERATION: &str = "local.open";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PIECE: usize = 64 << 10;

/// Runs `sh` with all arguments but the first, as the account that the first names.
const AS_ACCOUNT: &str = r#"
account=$1
shift
if [ "$(id -un)" = "$account" ]; then exec sh "$@"; fi
if [ "$(id -u)" -ne 0 ]; then exec sudo -n -H -u "$account" -- sh "$@"; fi
group=$(id -g "$account") &&
	exec setpriv --reuid "$account" --regid "$group" --init-groups --reset-env sh "$@"
"#;

/// Starts processes on this machine, each in a session of its own and with nothing of this process's environment.
///
/// Another account than this process's own is taken on by `setpriv` where this process is root, and by `sudo -n -H -u` where it is not.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LocalTransport;

impl LocalTransport {
    /// The transport.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Transport for LocalTransport {
    async fn open(
        &self,
        host: &Host,
        command: &HostCommand,
    ) -> BackendResult<Box<dyn HostProcess>> {
        let Connection::Local { .. } = host.connection else {
            return Err(BackendError::new(ErrorKind::InvalidInput, OPERATION)
                .with("host", &host.name)
                .because("this executor reaches hosts of this machine only"));
        };
        let process = LocalProcess::spawn(command);
        process.map(|it| Box::new(it) as _).map_err(|err| {
            let err = BackendError::new(ErrorKind::Unavailable, OPERATION).because(err);
            err.with("host", &host.name)
        })
    }
}

struct LocalProcess {
    /// Only held: it is not killed when this is dropped, and is reaped in the background.
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    buffer: BytesMut,
    errors: BytesMut,
}

impl LocalProcess {
    fn spawn(command: &HostCommand) -> io::Result<Self> {
        let mut program = Command::new("setsid");
        program.arg("sh");
        if let Some(account) = &command.account {
            program.args(["-c", AS_ACCOUNT, "sh", account.as_str()]);
        }
        program.args(command.words());
        let mut child = program
            .env_clear()
            .envs([("PATH", PATH), ("LANG", "C.UTF-8")])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Self { child, stdin, stdout, stderr, buffer: BytesMut::new(), errors: BytesMut::new() })
    }
}

impl fmt::Debug for LocalProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalProcess").field("pid", &self.child.id()).finish_non_exhaustive()
    }
}

#[async_trait]
impl HostProcess for LocalProcess {
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        self.stdin.take().map(|it| Box::new(Input(Some(it))) as _)
    }

    async fn next(&mut self) -> BackendResult<Option<HostOutput>> {
        loop {
            if self.stdout.is_none() && self.stderr.is_none() {
                return Ok(None);
            }
            let output = select! {
                bytes = read(&mut self.stdout, &mut self.buffer), if self.stdout.is_some() => bytes.map(HostOutput::Stdout),
                bytes = read(&mut self.stderr, &mut self.errors), if self.stderr.is_some() => bytes.map(HostOutput::Stderr),
            };
            if let Some(output) = output {
                return Ok(Some(output));
            }
        }
    }
}

/// The next bytes; at the end, or if the pipe broke, which is the same, the stream is taken away.
async fn read<R: AsyncRead + Unpin>(
    from: &mut Option<R>,
    buffer: &mut BytesMut,
) -> Option<bytes::Bytes> {
    let reader = from.as_mut()?;
    buffer.reserve(PIECE);
    match reader.read_buf(buffer).await {
        Ok(0) | Err(_) => {
            *from = None;
            None
        }
        Ok(_) => Some(buffer.split().freeze()),
    }
}

/// A pipe is closed by dropping it: shutting it down alone does nothing.
struct Input(Option<ChildStdin>);

impl Input {
    fn open(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        let pipe = self.0.as_mut().map(Pin::new);
        pipe.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut().open() {
            Ok(pipe) => pipe.poll_write(cx, bytes),
            Err(err) => Poll::Ready(Err(err)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().open() {
            Ok(pipe) => pipe.poll_flush(cx),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0 = None;
        Poll::Ready(Ok(()))
    }
}
