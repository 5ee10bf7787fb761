//! Runs an attempt to its end, over as many connections as it takes.
use super::{
    ShellExecutor,
    attempt::AttemptParts,
    call::{Call, Heard, Patience},
    control_folder, deploy_path, failure,
    reports::{self, Identity},
    upload::{Stopped, Upload},
};
use crate::{
    control::Control,
    shell,
    transport::{HostCommand, Transport},
};
use deploy_core::{
    backend::{AttemptLog, AttemptReport, AttemptRequest, HostRequest},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind, Retry},
    time::Timestamp,
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, sync::oneshot};

const OPERATION: &str = "executor.run";
/// How long a host may be silent before the attempt has started: it may have gigabytes to hash.
const START_WITHIN: Duration = Duration::from_secs(600);
/// How long a host may be silent while an attempt runs; whether a connection is alive, the transport finds out.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
/// How long the rest of the output may take once the result is known.
const END_WITHIN: Duration = Duration::from_secs(30);
/// A connection that held for so long was a good one.
const LASTING: Duration = Duration::from_secs(60);
/// How often a log that ends early is asked for again.
const SHORT_LOGS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What an attempt needs on each of its connections.
struct Attempt<'a> {
    on: &'a HostRequest,
    identity: Identity<'a>,
    control_folder: String,
    parts: AttemptParts,
    log: &'a dyn AttemptLog,
}

/// How far an attempt has come.
struct Progress {
    /// The next byte of the log.
    offset: u64,
    /// The host has said that the attempt runs or has ended.
    attached: bool,
    /// Something may have been started by a call that nothing more was heard of.
    maybe_started: bool,
    /// A package on the host was damaged, and is sent anew.
    resent: bool,
    /// How much of the package the host had.
    have: u64,
    /// How often the whole log did not come although nothing was cut.
    short_logs: u32,
    /// Since when nothing has come of connecting.
    trouble_since: Option<Timestamp>,
    wait: Duration,
}

impl Progress {
    const fn new(offset: u64) -> Self {
        Self {
            offset,
            attached: false,
            maybe_started: false,
            resent: false,
            have: 0,
            short_logs: 0,
            trouble_since: None,
            wait: FIRST_WAIT,
        }
    }

    /// Something may run on the host.
    const fn doubt(&self) -> bool {
        self.attached || self.maybe_started
    }

    /// What tells two states apart between which something came of connecting.
    const fn mark(&self) -> (u64, bool, u64) {
        (self.offset, self.attached, self.have)
    }
}

/// How a connection ended.
enum End {
    /// With an answer.
    Answer(Control),
    /// Without one, though it may have been good at first.
    Gone { why: BackendError, connected: bool },
    /// With a failure on this side.
    Stopped(BackendError),
}

impl<T: Transport> ShellExecutor<T> {
    pub(super) async fn run_attempt(
        &self,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        let identity = Identity { generation: request.generation, token: &request.token };
        identity.check(OPERATION)?;
        let deploy_path = deploy_path(&request.on, OPERATION)?;
        // What has not started yet is not hurt by the loss of a connection to a store.
        let parts = self.parts(request, &deploy_path).await.map_err(failure::harmless)?;
        let control_folder = control_folder(&deploy_path);
        let attempt = Attempt { on: &request.on, identity, control_folder, parts, log };
        let mut progress = Progress::new(request.log_offset);
        loop {
            let (mark, began) = (progress.mark(), self.clock.now());
            let end = if progress.attached {
                self.attach(&attempt, &mut progress).await
            } else {
                self.start(&attempt, &mut progress).await
            };
            let why = match end {
                End::Answer(control) => match conclude(control, &attempt, &mut progress) {
                    Next::Done(result) => return result,
                    Next::Again(why) => why,
                },
                End::Stopped(err) => return Err(failure::doubtful(err, progress.doubt())),
                End::Gone { why, connected } => {
                    if let Some(err) = hopeless(&why, connected, &progress) {
                        return Err(err);
                    }
                    why
                }
            };
            if progress.mark() != mark || self.clock.now().since(began) >= LASTING {
                progress.trouble_since = None;
                progress.wait = FIRST_WAIT;
            }
            self.wait_to_reconnect(&attempt, &mut progress, why).await?;
        }
    }

    async fn parts(
        &self,
        request: &AttemptRequest,
        deploy_path: &str,
    ) -> BackendResult<AttemptParts> {
        let release = self.artifacts.descriptor(request.release.descriptor.digest).await?;
        let parts = AttemptParts::new(request, deploy_path, &release)?;
        if let Some(package) = request.release.package.filter(|it| parts.package == Some(it.digest))
        {
            self.artifacts.check_package(package).await?;
        }
        Ok(parts)
    }

    async fn wait_to_reconnect(
        &self,
        attempt: &Attempt<'_>,
        progress: &mut Progress,
        why: BackendError,
    ) -> BackendResult<()> {
        let now = self.clock.now();
        let trouble = now.since(*progress.trouble_since.get_or_insert(now));
        if trouble >= self.reconnect_for {
            let kind =
                if progress.doubt() { ErrorKind::OutcomeUnknown } else { ErrorKind::Unavailable };
            return Err(BackendError::new(kind, OPERATION)
                .with("host", &attempt.on.host.name)
                .with("tried_for", crate::duration::format(trouble))
                .because(why));
        }
        tracing::debug!(
            target: "deploy::backend",
            { deploy.target = %attempt.on.host.name, deploy.generation = attempt.identity.generation.get(), reason = %why.chain() },
            "connecting to the host again"
        );
        self.clock.sleep_until(now.after(spread(progress.wait, attempt))).await;
        progress.wait = (progress.wait * 2).min(LONGEST_WAIT);
        Ok(())
    }

    /// Sends the attempt and follows it. If it is on the host already, this attaches to it.
    async fn start(&self, attempt: &Attempt<'_>, progress: &mut Progress) -> End {
        let identity = attempt.identity;
        let package = attempt.parts.package_word();
        let line = shell::start_line(
            &attempt.control_folder,
            identity.generation.get(),
            identity.token,
            &package,
            progress.offset,
        );
        let (mut call, stdin) = match self.open(attempt, line).await {
            Ok(opened) => opened,
            Err(why) => return End::Gone { why, connected: false },
        };
        let Some(mut stdin) = stdin else {
            return End::Stopped(no_input());
        };
        let patience = Patience::new(self.clock.now(), START_WITHIN);
        let may_start = AtomicBool::new(false);
        let (have, had) = oneshot::channel();
        let upload = Upload {
            parts: &attempt.parts,
            artifacts: &self.artifacts,
            clock: &*self.clock,
            patience: &patience,
            may_start: &may_start,
        };
        let send = async {
            match had.await {
                Ok(have) => upload.send(&mut *stdin, have).await,
                Err(_) => Ok(()),
            }
        };
        let follow = self.follow(attempt, progress, &mut call, &patience, Some(have));
        let end = send_while_following(send, follow).await;
        // Once the host has answered, that is known, and not a doubt.
        if matches!(end, End::Gone { .. }) && may_start.load(Ordering::SeqCst) {
            progress.maybe_started = true;
        }
        end
    }

    /// Follows an attempt that the host has.
    async fn attach(&self, attempt: &Attempt<'_>, progress: &mut Progress) -> End {
        let generation = attempt.identity.generation.to_string();
        let offset = progress.offset.to_string();
        let line = shell::launcher_line("attach", &[&attempt.control_folder, &generation, &offset]);
        let (mut call, stdin) = match self.open(attempt, line).await {
            Ok(opened) => opened,
            Err(why) => return End::Gone { why, connected: false },
        };
        let Some(mut stdin) = stdin else {
            return End::Stopped(no_input());
        };
        let patience = Patience::new(self.clock.now(), START_WITHIN);
        let send = async {
            stdin.write_all(shell::LAUNCHER.as_bytes()).await?;
            Ok(stdin.shutdown().await?)
        };
        send_while_following(send, self.follow(attempt, progress, &mut call, &patience, None)).await
    }

    async fn open(
        &self,
        attempt: &Attempt<'_>,
        line: String,
    ) -> BackendResult<(Call<'_>, Option<Input>)> {
        let command = HostCommand::new(line).with_account(attempt.on.account.clone());
        let mut process = self.transport.open(&attempt.on.host, &command).await?;
        let stdin = process.stdin();
        Ok((Call::new(process, &*self.clock, OPERATION), stdin))
    }

    /// Listens to the end of a call: stores the log as it comes, and gives the answer.
    async fn follow(
        &self,
        attempt: &Attempt<'_>,
        progress: &mut Progress,
        call: &mut Call<'_>,
        patience: &Patience,
        mut have: Option<oneshot::Sender<u64>>,
    ) -> End {
        let mut answer = None;
        loop {
            let heard = match call.next(patience).await {
                Ok(Some(heard)) => heard,
                Ok(None) => break,
                Err(why) if answer.is_none() => {
                    return End::Gone { why, connected: true };
                }
                // The answer is what counts; what the log lacks is fetched again.
                Err(_) => break,
            };
            match heard {
                Heard::Log(bytes) => {
                    if let Err(err) = attempt.log.write(progress.offset, &bytes).await {
                        return End::Stopped(failure::doubtful(err, true));
                    }
                    progress.offset += bytes.len() as u64;
                }
                Heard::Control(Control::Have { bytes }) => {
                    progress.have = progress.have.max(bytes);
                    // Who no longer waits for it has ended the upload.
                    _ = have.take().map(|it| it.send(bytes));
                }
                Heard::Control(Control::Attached | Control::Started) => {
                    progress.attached = true;
                    patience.change(self.clock.now(), FOREVER);
                }
                Heard::Control(Control::Step { name }) => attempt.log.step(name),
                Heard::Control(control) => {
                    patience.change(self.clock.now(), END_WITHIN);
                    answer = Some(control);
                }
            }
        }
        match answer {
            Some(answer) => End::Answer(answer),
            None => End::Gone {
                why: failure::silent(OPERATION, &call.noise()),
                connected: call.was_heard(),
            },
        }
    }
}

type Input = Box<dyn tokio::io::AsyncWrite + Send + Unpin>;

/// Sends and listens at once. What ends it is the listening, or a failure to send that is this side's own.
async fn send_while_following(
    send: impl Future<Output = Result<(), Stopped>>,
    follow: impl Future<Output = End>,
) -> End {
    let stopped = async {
        match send.await {
            Err(Stopped::Store(err)) => End::Stopped(failure::harmless(err)),
            Ok(()) | Err(Stopped::Host) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        end = stopped => end,
        end = follow => end,
    }
}

fn no_input() -> BackendError {
    BackendError::new(ErrorKind::Internal, OPERATION)
        .because("the transport gave a process without an input")
}

/// What follows from an answer.
enum Next {
    Again(BackendError),
    Done(BackendResult<AttemptReport>),
}

fn conclude(control: Control, attempt: &Attempt<'_>, progress: &mut Progress) -> Next {
    let identity = attempt.identity;
    let fact = |kind| BackendError::new(kind, OPERATION).with("host", &attempt.on.host.name);
    Next::Done(match control {
        Control::Exit(record) => {
            progress.attached = true;
            let report = identity.report(&record, OPERATION);
            if report.is_ok() && progress.offset < record.log_length {
                progress.short_logs += 1;
                if progress.short_logs <= SHORT_LOGS {
                    let why = fact(ErrorKind::OutcomeUnknown).because("the log ended early");
                    return Next::Again(why);
                }
                tracing::warn!(
                    target: "deploy::backend",
                    { deploy.target = %attempt.on.host.name, missing = record.log_length - progress.offset },
                    "the host has lost a part of the log"
                );
            }
            report
        }
        Control::Died { cause, step, survivors } => Ok(reports::died(cause, step, &survivors)),
        Control::Fenced { seen } => {
            Err(fact(ErrorKind::Fenced).with("generation", identity.generation).with("seen", seen))
        }
        Control::Busy { generation } => Err(fact(ErrorKind::Conflict)
            .with("generation", generation)
            .because("another attempt of the service is alive on the host")),
        Control::NeverStarted => {
            let err = fact(ErrorKind::Unavailable)
                .because("the attempt ended on the host before anything was started");
            Err(failure::doubtful(err, progress.attached))
        }
        Control::Error { code, message } if code == "bad_digest" && !progress.resent => {
            progress.resent = true;
            return Next::Again(failure::of_host(OPERATION, &code, &message));
        }
        // What was sent was cut on its way, so nothing has come of it.
        Control::Error { code, message } if code == "bad_stream" => {
            return Next::Again(failure::of_host(OPERATION, &code, &message));
        }
        Control::Error { code, message } => {
            let err =
                failure::of_host(OPERATION, &code, &message).with("host", &attempt.on.host.name);
            Err(failure::doubtful(err, progress.doubt()))
        }
        other => Err(failure::doubtful(failure::unexpected(OPERATION, &other), true)),
    })
}

/// The error to end with where connecting again cannot help, or is the caller's to decide because nothing has begun.
fn hopeless(why: &BackendError, connected: bool, progress: &Progress) -> Option<BackendError> {
    let doubt = progress.doubt();
    let begun = doubt || connected || progress.have > 0;
    let lasting = why.kind().retry() == Retry::Never;
    if begun && !lasting {
        return None;
    }
    let mut err = BackendError::new(why.kind(), OPERATION).because(why.chain());
    if !doubt {
        err = failure::harmless(err);
    }
    Some(failure::doubtful(err, doubt))
}

/// Up to a quarter less than `wait`, by host, so that a fleet does not come back all at once.
fn spread(wait: Duration, attempt: &Attempt<'_>) -> Duration {
    let hash = Digest::of(attempt.on.host.name.as_str().as_bytes());
    let part = hash.as_bytes().first().copied().unwrap_or(0);
    wait - wait * u32::from(part) / 1024
}
