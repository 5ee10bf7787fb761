//! Runs an attempt to its end, over as many connections as it takes.
use super::{
    ShellExecutor,
    attempt::AttemptParts,
    call::{Call, Heard, Patience},
    control_folder, deploy_path, failure, offer,
    progress::{Attempt, FIRST_WAIT, Next, OPERATION, Progress, conclude, give_up, spread},
    reports::Identity,
    upload::{Stopped, Upload, Wanted},
};
use crate::{
    control::Control,
    shell,
    transport::{HostCommand, Transport},
};
use deploy_core::{
    backend::{AttemptLog, AttemptReport, AttemptRequest},
    error::{BackendError, BackendResult, ErrorKind},
    telemetry::{GENERATION, HOST, TARGET_BACKEND},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, sync::oneshot};

/// How long a host may be silent before the attempt has started: it may have gigabytes to hash.
const START_WITHIN: Duration = Duration::from_secs(600);
/// How long the rest of the output may take once the result is known.
const END_WITHIN: Duration = Duration::from_secs(30);
/// A connection that held for so long was a good one.
const LASTING: Duration = Duration::from_secs(60);
/// The longest wait before connecting again.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How a connection ended.
enum End {
    /// With an answer.
    Answer(Control),
    /// Without one, though it may have been good at first.
    Gone { why: BackendError, connected: bool },
    /// With a failure on this side.
    Stopped(BackendError),
    /// Because a patch is no longer here. Nothing can have been started.
    Unpatched(BackendError),
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
                End::Unpatched(why) => {
                    progress.have = 0;
                    progress.refused = Some("it is gone from where it was made".to_owned());
                    why
                }
                End::Gone { why, connected } => give_up(why, connected, &progress)?,
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
        let offer = match request.release.package.filter(|_| request.keeps_release) {
            Some(package) => {
                let checked = self.artifacts.checked(package).await?;
                self.offer(request, &checked).await?
            }
            None => None,
        };
        AttemptParts::new(request, deploy_path, &release, offer)
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
            target: TARGET_BACKEND,
            { { HOST } = %attempt.on.host.name, { GENERATION } = attempt.identity.generation.get(), reason = %why.chain() },
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
        let command = shell::start_command(
            &attempt.control_folder,
            identity.generation.get(),
            identity.token,
            &package,
            progress.offset,
            offer::words(&attempt.parts, progress.refused.as_deref()),
        );
        let (mut call, stdin) = match self.open(attempt, command).await {
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
            patches: self.patches.as_ref(),
            clock: &*self.clock,
            patience: &patience,
            may_start: &may_start,
        };
        let send = async {
            match had.await {
                Ok(wanted) => upload.send(&mut *stdin, wanted).await,
                Err(_) => Ok(()),
            }
        };
        let follow = self.follow(attempt, progress, &mut call, &patience, Some(have));
        let end = send_while_following(send, follow).await;
        // Once the host has answered, that is known, and not a doubt.
        if matches!(end, End::Gone { .. }) && may_start.load(Ordering::SeqCst) {
            progress.maybe_started = true;
            progress.give_up_patch();
        }
        end
    }

    /// Follows an attempt that the host has.
    async fn attach(&self, attempt: &Attempt<'_>, progress: &mut Progress) -> End {
        let generation = attempt.identity.generation.to_string();
        let offset = progress.offset.to_string();
        let command =
            shell::launcher_command("attach", &[&attempt.control_folder, &generation, &offset]);
        let (mut call, stdin) = match self.open(attempt, command).await {
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
        command: HostCommand,
    ) -> BackendResult<(Call<'_>, Option<Input>)> {
        let command = command.with_account(attempt.on.account.clone());
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
        mut have: Option<oneshot::Sender<Wanted>>,
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
                Heard::Control(Control::Have { bytes, way }) => {
                    (progress.way, progress.have) = (way, progress.have.max(bytes));
                    // Who no longer waits for it has ended the upload.
                    _ = have.take().map(|it| it.send(Wanted { way, have: bytes }));
                }
                Heard::Control(Control::Attached | Control::Started) => {
                    progress.attached = true;
                    // Whether the connection is alive, the transport finds out. This is for a host that has lost its
                    // watchdog: attaching anew stands in for it.
                    patience.fix(self.clock.now().after(attempt.parts.longest));
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
            Err(Stopped::Patch(err)) => {
                let err = BackendError::new(ErrorKind::Unavailable, OPERATION).because(err);
                End::Unpatched(err)
            }
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
