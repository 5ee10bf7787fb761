//! The orders that ask, or end.
use super::{
    Host, answers,
    answers::{failing, invalid},
};
use crate::{
    attempt::{Attempt, AttemptKey, Attempts, State},
    folder::Folder,
    journal::record::Record,
    shim::{self, Question},
    spec::{Place, Spec, check_token},
};
use deploy_agent_protocol::v1::{
    AwaitsConfirm, Check, Checked, Kill, KillFailed, NeverStarted, Observe, Observed, Probe,
    Refused, Resolution, Resolve, Resolved, answer::Kind,
};
use deploy_core::digest::Digest;
use deploy_host::{
    archive::{self, Limits},
    shell,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, io, process::Stdio, time::Duration};
use tokio::{process::Command, task::spawn_blocking, time::timeout};

/// How long a shim may take to end a tree, beyond the grace.
pub(super) const KILL_WITHIN: Duration = Duration::from_secs(20);

impl Host {
    pub(super) async fn probe(&self, probe: &Probe) -> Result<Kind, Refused> {
        let place = Place::parse(probe.place.as_ref())?;
        let key = place.attempt(probe.generation)?;
        let Some(attempt) = self.fence_off(&key, &probe.token).await? else {
            return Ok(Kind::NeverStarted(NeverStarted::default()));
        };
        let folder = self.folder(&key);
        Ok(match attempt.state {
            State::Exited { end, .. } => answers::end(end),
            State::Starting { .. } if folder.awaits_confirm() => {
                Kind::AwaitsConfirm(AwaitsConfirm {})
            }
            State::Accepted { .. } | State::Starting { .. } => {
                answers::running(folder.last_begun())
            }
        })
    }

    /// Raises the fence, durably, and says what is known of the attempt then.
    async fn fence_off(&self, key: &AttemptKey, token: &str) -> Result<Option<Attempt>, Refused> {
        check_token(token)?;
        let (known, decided) = self.journal.decide(|attempts| {
            let known = attempts.attempt(key).cloned();
            let records = match &known {
                Some(it) if it.token != token => Vec::new(),
                Some(_) | None => attempts.fence_off(key),
            };
            (records, known)
        })?;
        self.journal.durable(decided).await?;
        if known.is_some_and(|it| it.token != token) {
            return Err(invalid("an attempt of that generation has another token"));
        }
        self.attempt(key).await
    }

    pub(super) async fn kill(&self, kill: &Kill) -> Result<Kind, Refused> {
        let place = Place::parse(kill.place.as_ref())?;
        let key = place.attempt(kill.generation)?;
        let Some(attempt) = self.fence_off(&key, &kill.token).await? else {
            return Ok(Kind::NeverStarted(NeverStarted::default()));
        };
        if let State::Exited { end, .. } = attempt.state {
            return Ok(answers::end(end));
        }
        if let Some(answer) = self.take_back(&key).await? {
            return Ok(answer);
        }
        let within = Duration::from_secs(kill.grace_s.into()) + KILL_WITHIN;
        match timeout(within, self.end(&key, kill.grace_s)).await {
            Ok(ended) => ended,
            Err(_elapsed) => {
                let shim = self.folder(&key).shim(&self.boot_id);
                let survivors = shim.map(|it| format!("{}:deploy-agent", it.pid));
                Ok(Kind::KillFailed(KillFailed { survivors: survivors.into_iter().collect() }))
            }
        }
    }

    /// Has the shim end an attempt, and waits until that is written down.
    async fn end(&self, key: &AttemptKey, grace_s: u32) -> Result<Kind, Refused> {
        let folder = self.folder(key);
        if let Some(mut news) = self.listener(key) {
            // It may be on its way to its folder.
            while !folder.path().exists() && news.changed().await.is_ok() {}
            if folder.path().exists() {
                folder.ask_to_kill(grace_s).map_err(failing)?;
                self.wake(&folder);
            }
            while news.changed().await.is_ok() {
                if let Some(answer) = self.take_back(key).await? {
                    return Ok(answer);
                }
            }
        }
        Ok(match self.attempt(key).await? {
            Some(Attempt { state: State::Exited { end, .. }, .. }) => answers::killed(end),
            Some(_) => return Err(failing("the end of the attempt cannot be written down")),
            None => Kind::NeverStarted(NeverStarted::default()),
        })
    }

    /// A shim that somebody has stopped can end nothing.
    pub(super) fn wake(&self, folder: &Folder) {
        let shim = folder.shim(&self.boot_id).and_then(|it| Pid::from_raw(it.pid));
        if let Some(shim) = shim {
            _ = kill_process(shim, Signal::CONT);
        }
    }

    pub(super) async fn check(&self, check: &Check) -> Result<Kind, Refused> {
        let place = Place::parse(check.place.as_ref())?;
        let unsupported = Checked { supported: false, healthy: false, reason: String::new() };
        let Some((folder, spec)) = self.current_attempt(&place).await? else {
            return Ok(Kind::Checked(unsupported));
        };
        let Some((_, step)) = spec.step("verify") else {
            return Ok(Kind::Checked(unsupported));
        };
        let question = Question {
            step: "verify".to_owned(),
            path: step.path(),
            seconds: check.timeout_s.max(1).into(),
        };
        let (code, said) = self.ask(folder, &spec, &question).await?;
        let reason = match (code, said.trim()) {
            (0, _) => String::new(),
            (_, "") => format!("verify ended with code {code}"),
            (_, said) => format!("verify ended with code {code}: {said}"),
        };
        Ok(Kind::Checked(Checked { supported: true, healthy: code == 0, reason }))
    }

    /// The newest attempt that has ended and whose release is current.
    async fn current_attempt(&self, place: &Place) -> Result<Option<(Folder, Spec)>, Refused> {
        let (ended, decided) = self.journal.look(|attempts| {
            let of_service = attempts.of(&place.service).rev();
            let ended = of_service.filter(|(_, it)| it.is_over());
            ended.map(|(generation, _)| place.attempt(generation)).collect::<Result<Vec<_>, _>>()
        });
        self.journal.durable(decided).await?;
        let Some(current) = current_release(place) else { return Ok(None) };
        let folders: Vec<_> = ended?.iter().map(|it| self.folder(it)).collect();
        let found = spawn_blocking(move || {
            folders.into_iter().find_map(|folder| {
                let spec = Spec::parse(folder.order().ok()?).ok()?;
                let is_it = spec.release.as_ref().is_some_and(|it| it.as_str() == current);
                is_it.then_some((folder, spec))
            })
        });
        found.await.map_err(failing)
    }

    pub(super) async fn resolve(&self, resolve: &Resolve) -> Result<Kind, Refused> {
        let place = Place::parse(resolve.place.as_ref())?;
        let key = place.attempt(resolve.generation)?;
        let cannot_tell = Kind::Resolved(Resolved { resolution: Resolution::CannotTell.into() });
        let over = self.attempt(&key).await?.is_some_and(|it| it.is_over());
        let folder = self.folder(&key);
        let order = folder.order().ok().filter(|it| over && it.generation == key.generation);
        let Some(spec) = order.and_then(|it| Spec::parse(it).ok()) else {
            return Ok(cannot_tell);
        };
        let check = spec.step(&resolve.step).and_then(|it| it.1.check.clone());
        let Some(check) = check else { return Ok(cannot_tell) };
        let question = Question {
            step: resolve.step.clone(),
            path: format!("descriptor/{check}"),
            seconds: resolve.timeout_s.max(1).into(),
        };
        let resolution = match self.ask(folder, &spec, &question).await?.0 {
            0 => Resolution::Done,
            1 => Resolution::NotDone,
            _ => Resolution::CannotTell,
        };
        Ok(Kind::Resolved(Resolved { resolution: resolution.into() }))
    }

    /// Runs a read-only script of an attempt once: its code, and the end of what it printed.
    async fn ask(
        &self,
        folder: Folder,
        spec: &Spec,
        question: &Question,
    ) -> Result<(i32, String), Refused> {
        self.allowed(spec).await?;
        let (of, script, path) = (folder.clone(), spec.clone(), question.path.clone());
        let whole = spawn_blocking(move || is_whole(&of, &script, &path)).await;
        if !whole.map_err(failing)?.map_err(failing)? {
            let why =
                "the script of the attempt is damaged: was the host's power cut when it was new?";
            return Err(failing(why));
        }
        let launch = shim::Launch {
            host: shim::Host {
                name: self.options.name.clone(),
                cgroups: self.cgroups.group(&spec.group()),
                log_cap: 0,
            },
            folder,
        };
        let mut command = Command::new(&self.options.program);
        let command = command
            .arg("ask")
            .args(launch.arguments())
            .args(question.arguments())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let output = command.output().await.map_err(failing)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let (code, said) = said.split_once('\n').unwrap_or_default();
        let code = code.parse().map_err(|_none| failing("the script could not be run"))?;
        let printable = |it: char| if it.is_control() { ' ' } else { it };
        Ok((code, said.chars().map(printable).collect()))
    }

    pub(super) async fn observe(&self, observe: &Observe) -> Result<Kind, Refused> {
        let place = Place::parse(observe.place.as_ref())?;
        let service = &place.service;
        let ((fence, running), decided) =
            self.journal.look(|it| (it.fence(service), it.running(service)));
        self.journal.durable(decided).await?;
        let release = current_release(&place).unwrap_or_default();
        Ok(Kind::Observed(Observed { release, fence, running: running.unwrap_or(0) }))
    }

    /// Writes down what need not be waited for.
    pub(super) fn note(&self, note: impl FnOnce(&Attempts) -> Option<Record>) {
        // If the journal takes nothing more, that is said to whoever asks for something.
        drop(self.journal.decide(|attempts| (note(attempts).into_iter().collect(), ())));
    }
}

/// Whether a script is what the descriptor says. What an attempt unpacks is not synced, and after a power cut a file may be empty: as a script that
/// would be a success.
fn is_whole(folder: &Folder, spec: &Spec, path: &str) -> io::Result<bool> {
    let there = |path: &str| fs::read(folder.work().join(path));
    if there("lib/deployutils.sh")? != shell::LIBRARY.as_bytes() {
        return Ok(false);
    }
    let Some(script) = path.strip_prefix("descriptor/") else {
        let defaults = spec.steps.iter().filter(|it| it.path() == path);
        let text = defaults.filter_map(|it| shell::default_step(it.name)).next();
        return Ok(text.is_some_and(|it| there(path).is_ok_and(|file| file == it.as_bytes())));
    };
    let descriptor = fs::read(folder.descriptor())?;
    if Digest::of(&descriptor) != spec.descriptor.digest {
        return Ok(false);
    }
    let files = archive::read_files(&*descriptor, Limits::DESCRIPTOR).map_err(io::Error::other)?;
    Ok(files.get(script).is_some_and(|it| there(path).is_ok_and(|file| file == it.bytes)))
}

/// The release that is current, if there is one. The link is the account's: it is read, and not followed.
pub(super) fn current_release(place: &Place) -> Option<String> {
    let link = fs::read_link(format!("{}/current", place.deploy_path)).ok()?;
    let name = link.file_name()?.to_str()?.to_owned();
    let folder = format!("{}/releases/{name}", place.deploy_path);
    let is_release = name.parse::<deploy_core::id::ReleaseId>().is_ok();
    (is_release && fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir())).then_some(name)
}
