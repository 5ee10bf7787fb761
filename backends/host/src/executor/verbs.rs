//! The calls that ask one question and end.
use super::{
    ShellExecutor,
    call::{Call, Heard, Patience},
    control_folder, deploy_path, failure,
    reports::{self, Identity},
};
use crate::{control::Control, duration::whole_seconds, shell, transport::Transport};
use deploy_core::{
    backend::{
        CheckRequest, CollectRequest, Health, HostRequest, KillReport, KillRequest, Observed,
        Piece, ProbeReport, ProbeRequest, Resolution, ResolveRequest,
    },
    error::{BackendError, BackendResult, ErrorKind},
    id::Seq,
};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// How long a host may take for an answer, beyond what it was asked to wait for.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A question: which verb, about what, and how long the host itself may need.
struct Question<'a> {
    operation: &'static str,
    verb: &'static str,
    arguments: &'a [&'a str],
    takes: Duration,
    /// How many bytes the host may give with its answer.
    most: usize,
}

/// An answer, what was said beside it, and the bytes that came with it.
struct Answer {
    control: Control,
    noise: String,
    bytes: Vec<u8>,
}

impl<T: Transport> ShellExecutor<T> {
    pub(super) async fn probe_attempt(&self, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        const OPERATION: &str = "executor.probe";
        let identity = Identity { generation: request.generation, token: &request.token };
        let generation = request.generation.to_string();
        let question = Question {
            operation: OPERATION,
            verb: "probe",
            arguments: &[&generation, &generation],
            takes: Duration::ZERO,
            most: 0,
        };
        match self.ask(&request.on, question).await?.control {
            Control::Exit(record) => identity.report(&record, OPERATION).map(ProbeReport::Ended),
            Control::Died { cause, step, survivors } => {
                Ok(ProbeReport::Ended(reports::died(cause, step, &survivors)))
            }
            Control::NeverStarted => Ok(ProbeReport::NeverStarted),
            Control::Running => Ok(ProbeReport::Running),
            other => Err(failure::unexpected(OPERATION, &other)),
        }
    }

    pub(super) async fn kill_attempt(&self, request: &KillRequest) -> BackendResult<KillReport> {
        const OPERATION: &str = "executor.kill";
        let identity = Identity { generation: request.generation, token: &request.token };
        let grace = whole_seconds(request.grace);
        let question = Question {
            operation: OPERATION,
            verb: "kill",
            arguments: &[&request.generation.to_string(), &grace.to_string()],
            takes: request.grace,
            most: 0,
        };
        // Processes may have been ended before the connection was.
        let answer = self.ask(&request.on, question).await;
        let answer = answer.map_err(|err| failure::doubtful(err, true))?;
        match answer.control {
            Control::Exit(record) => identity.report(&record, OPERATION).map(KillReport::Ended),
            Control::Died { cause, step, survivors } if survivors.is_empty() => {
                Ok(KillReport::Ended(reports::died(cause, step, &survivors)))
            }
            Control::Died { survivors, .. } | Control::KillFailed { survivors } => {
                Ok(KillReport::KillFailed { survivors })
            }
            Control::Killed => Ok(KillReport::Killed),
            Control::NeverStarted => Ok(KillReport::NeverStarted),
            other => Err(failure::unexpected(OPERATION, &other)),
        }
    }

    pub(super) async fn collect_piece(&self, request: &CollectRequest) -> BackendResult<Piece> {
        const OPERATION: &str = "executor.collect";
        let identity = Identity { generation: request.generation, token: &request.token };
        identity.check(OPERATION)?;
        let limit = request.limit.min(CollectRequest::LARGEST_PIECE);
        let question = Question {
            operation: OPERATION,
            verb: "collect",
            arguments: &[
                &request.generation.to_string(),
                &request.token,
                request.output.as_str(),
                &request.offset.to_string(),
                &limit.to_string(),
            ],
            takes: Duration::ZERO,
            most: limit,
        };
        let answer = self.ask(&request.on, question).await?;
        match answer.control {
            Control::Output { size } => Ok(Piece::new(answer.bytes, size)),
            Control::Missing => Err(BackendError::new(ErrorKind::NotFound, OPERATION)
                .with("host", &request.on.host.name)
                .with("output", &request.output)
                .because("the attempt has left no such file on the host")),
            other => Err(failure::unexpected(OPERATION, &other)),
        }
    }

    pub(super) async fn check_service(&self, request: &CheckRequest) -> BackendResult<Health> {
        const OPERATION: &str = "executor.check";
        let seconds = whole_seconds(request.timeout).max(1).to_string();
        let question = Question {
            operation: OPERATION,
            verb: "check",
            arguments: &[&seconds],
            takes: request.timeout,
            most: 0,
        };
        let answer = self.ask(&request.on, question).await?;
        match answer.control {
            Control::Healthy | Control::Unsupported => Ok(Health::Healthy),
            Control::Unhealthy { code } => {
                let said = if answer.noise.is_empty() {
                    String::new()
                } else {
                    format!(": {}", answer.noise)
                };
                Ok(Health::Unhealthy { reason: format!("verify ended with code {code}{said}") })
            }
            other => Err(failure::unexpected(OPERATION, &other)),
        }
    }

    pub(super) async fn resolve_step(&self, request: &ResolveRequest) -> BackendResult<Resolution> {
        const OPERATION: &str = "executor.resolve";
        let attempt = &request.attempt;
        let Some(step) = attempt.release.steps.iter().find(|it| it.name == request.step) else {
            return Ok(Resolution::CannotTell);
        };
        let question = Question {
            operation: OPERATION,
            verb: "resolve",
            arguments: &[
                &attempt.generation.to_string(),
                step.name.as_str(),
                &whole_seconds(step.timeout).max(1).to_string(),
            ],
            takes: step.timeout,
            most: 0,
        };
        match self.ask(&attempt.on, question).await?.control {
            Control::Resolved { result } => match result.as_str() {
                "done" => Ok(Resolution::Done),
                "not_done" => Ok(Resolution::NotDone),
                _ => Ok(Resolution::CannotTell),
            },
            other => Err(failure::unexpected(OPERATION, &other)),
        }
    }

    pub(super) async fn observe_service(&self, on: &HostRequest) -> BackendResult<Observed> {
        const OPERATION: &str = "executor.observe";
        let question = Question {
            operation: OPERATION,
            verb: "observe",
            arguments: &[],
            takes: Duration::ZERO,
            most: 0,
        };
        match self.ask(on, question).await?.control {
            Control::Observed { fence, release, running } => {
                let release = release.map(|it| it.parse()).transpose().map_err(|err| {
                    BackendError::new(ErrorKind::Corrupt, OPERATION)
                        .with("host", &on.host.name)
                        .because(err)
                })?;
                Ok(Observed::new(release, Seq::new(fence), running.map(Seq::new)))
            }
            other => Err(failure::unexpected(OPERATION, &other)),
        }
    }

    /// Feeds a host the launcher and a question. All of them may be asked again, so a loss is `Unavailable`.
    async fn ask(&self, on: &HostRequest, question: Question<'_>) -> BackendResult<Answer> {
        let answer = self.ask_once(on, &question).await;
        let answer = answer.map_err(failure::harmless)?;
        match answer.control {
            Control::Error { code, message } => {
                Err(failure::of_host(question.operation, &code, &message))
            }
            _ => Ok(answer),
        }
    }

    async fn ask_once(&self, on: &HostRequest, question: &Question<'_>) -> BackendResult<Answer> {
        let control = control_folder(&deploy_path(on, question.operation)?);
        let words: Vec<_> =
            [control.as_str()].into_iter().chain(question.arguments.iter().copied()).collect();
        let command = shell::launcher_command(question.verb, &words);
        let command = command.with_account(on.account.clone());
        let mut process = self.transport.open(&on.host, &command).await?;
        let stdin = process.stdin();
        let patience =
            Patience::new(self.clock.now(), ANSWER_WITHIN.saturating_add(question.takes));
        let mut call = Call::new(process, &*self.clock, question.operation);
        // What keeps the host from taking the launcher it says itself, or its silence does.
        let feed = async {
            if let Some(mut stdin) = stdin {
                let fed = stdin.write_all(shell::LAUNCHER.as_bytes()).await;
                drop(fed.and(stdin.shutdown().await));
            }
            std::future::pending().await
        };
        let listen = async {
            let (mut last, mut bytes) = (None, Vec::new());
            while let Some(heard) = call.next(&patience).await? {
                match heard {
                    Heard::Control(control) => last = Some(control),
                    Heard::Log(piece) => {
                        let room = question.most.saturating_sub(bytes.len());
                        bytes.extend(piece.into_iter().take(room));
                    }
                }
            }
            Ok((last, bytes))
        };
        // Listening ends the call, also where feeding does not end.
        let listened: BackendResult<(Option<Control>, Vec<u8>)> = tokio::select! {
            biased;
            listened = listen => listened,
            listened = feed => listened,
        };
        let noise = call.noise();
        match listened? {
            (Some(control), bytes) => Ok(Answer { control, noise, bytes }),
            (None, _) => Err(failure::silent(question.operation, &noise)),
        }
    }
}
