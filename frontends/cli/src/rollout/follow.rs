use super::{
    DriverNow, LogTail, Tail, driver_of, exit_of, hand_over,
    interrupt::{Choice, Interrupt, Interrupts},
    view::View,
};
use crate::{
    app::{App, Embedded},
    commands::artifact::blocking,
    documents,
    embedded::own_name,
    output::styles,
    problem::OrProblem as _,
};
use deploy_core::{
    engine::{Command, DriveEnd, DriveOptions, NoObserver, PlatformError},
    error::ErrorKind,
    id::{HostName, RolloutId},
    rollout::Rollout,
    time::Timestamp,
};
use deploy_wire::{Exit, Problem, ProblemCode};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the journal is looked at.
const REFRESH: Duration = Duration::from_millis(100);

/// How often it is looked whether anybody drives.
const DRIVER_CHECK: Duration = Duration::from_secs(2);

/// What this process has to do with a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It drives. As long as another process does, it watches; when that one is gone, it steps in.
    Drive,
    /// It watches.
    Watch,
}

/// Follows a rollout to its end, or to where a person is needed.
#[derive(Debug)]
pub(crate) struct Follow<'a> {
    app: &'a App,
    embedded: &'a Embedded,
    id: RolloutId,
    role: Role,
    /// Whether to go on where a person is needed.
    wait: bool,
    /// The output of attempts, if that is shown as it comes.
    logs: Option<LogTail>,
    /// Whether what happened before is told as well.
    history: bool,
}

/// A driver at work.
type Driving = JoinHandle<Result<DriveEnd, PlatformError>>;

impl<'a> Follow<'a> {
    pub(crate) fn new(app: &'a App, embedded: &'a Embedded, id: RolloutId, role: Role) -> Self {
        let wait = app.output.is_live();
        Self { app, embedded, id, role, wait, logs: None, history: true }
    }

    /// Goes on, or not, where a person is needed; by default only somebody at a terminal waits.
    pub(crate) fn with_wait(mut self, wait: Option<bool>) -> Self {
        self.wait = wait.unwrap_or(self.wait);
        self
    }

    /// Tells only what happens from now on.
    pub(crate) fn without_history(mut self) -> Self {
        self.history = false;
        self
    }

    /// Shows the output of attempts.
    pub(crate) fn with_logs(mut self) -> Self {
        self.logs = Some(LogTail::new(self.id.clone()));
        self
    }

    /// What to do about a rollout that nobody drives.
    pub(crate) fn how_to_go_on(id: &RolloutId) -> String {
        format!("`deploy rollout resume {id}` goes on from where it is")
    }

    /// What somebody can do about a rollout that waits for that; `None` if it does not.
    pub(crate) fn how_a_person_goes_on(rollout: &Rollout) -> Option<String> {
        let id = rollout.id();
        if rollout.outcome().is_some() || !rollout.waits_for_person() {
            return None;
        }
        if rollout.view().awaits_confirm {
            return Some(format!(
                "`deploy rollout confirm {id}` lets the next wave go, `rollback {id}` goes back, `abort {id}` ends it"
            ));
        }
        let again = match rollout.tasks().any(|it| documents::needs_attention(&it)) {
            true => format!("`retry {id} --failed` tries hosts in trouble again, "),
            false => String::new(),
        };
        Some(format!(
            "`deploy rollout resume {id}` goes on, {again}`rollback {id}` goes back, `abort {id}` ends it"
        ))
    }

    pub(crate) async fn run(mut self) -> Result<Exit, Problem> {
        let mut interrupts = Interrupts::listen()?;
        let mut driving = None;
        let mut view = View::new(&self.app.output);
        let (mut tail, records) = Tail::open(self.embedded.parts(), &self.id).await?;
        if self.history {
            view.happened(&records, &tail.rollout);
        } else {
            view.skip(&records, &tail.rollout);
        }
        let mut driven = Driven::default();
        loop {
            self.look(&mut tail, &mut view).await?;
            if driving.is_none() && self.is_to_be_driven(&tail) {
                driving = self.stand_by(&tail, &mut driven).await?;
            }
            let now = self.embedded.parts().clock.now();
            view.now(&tail.rollout, now, driving.is_some() || driven.by_another);
            if let Some(exit) = self.end_of(&tail, driving.as_ref()).await? {
                self.finish(&mut tail, &mut view).await?;
                return Ok(exit);
            }
            let next = self.embedded.parts().clock.now().after(REFRESH);
            tokio::select! {
                biased;
                interrupt = interrupts.next() => {
                    view.clear();
                    let awaits = tail.rollout.view().awaits_confirm;
                    if let Some(end) = self.interrupted(interrupt, awaits, &mut interrupts, &mut driving).await {
                        return end;
                    }
                }
                ended = ended(&mut driving) => {
                    driving = None;
                    self.driver_ended(ended)?;
                    driven.looked_at = self.embedded.parts().clock.now();
                }
                () = self.embedded.parts().clock.sleep_until(next) => {}
            }
            if self.app.output.is_closed() {
                return Err(stopped(&self.id, "whoever read the output has gone away"));
            }
        }
    }

    /// Whether there is anything to do for a driver.
    fn is_to_be_driven(&self, tail: &Tail) -> bool {
        let person = tail.rollout.waits_for_person() && !self.wait;
        tail.rollout.outcome().is_none() && !person
    }

    /// Looks now and then whether another process drives. Where none does, this one begins to, if that is its role.
    async fn stand_by(&self, tail: &Tail, driven: &mut Driven) -> Result<Option<Driving>, Problem> {
        let (now, output) = (self.embedded.parts().clock.now(), &self.app.output);
        if now.since(driven.looked_at) < DRIVER_CHECK {
            return Ok(None);
        }
        let first = driven.looked_at == Timestamp::default();
        driven.looked_at = now;
        let driver = driver_of(self.embedded, &self.id).await?;
        let another = matches!(driver, DriverNow::Alive(_));
        let changed = std::mem::replace(&mut driven.by_another, another) != another;
        match (self.role, driver) {
            (Role::Drive, DriverNow::Alive(_)) if changed => {
                output.note("another process drives this rollout: watching");
            }
            (_, DriverNow::Alive(_)) => {}
            (Role::Drive, DriverNow::Gone(dead)) => {
                // The lease is the service's: before the first wave, who is gone has driven another rollout.
                if tail.rollout.wave().is_some() {
                    output.note("the process that drove this rollout is gone: taking over");
                }
                return Ok(Some(self.drive(Some(dead))));
            }
            (Role::Drive, DriverNow::Nobody) => return Ok(Some(self.drive(None))),
            (Role::Watch, DriverNow::Gone(_) | DriverNow::Nobody) => {
                if (changed || first) && !output.is_live() {
                    let how = Self::how_to_go_on(&self.id);
                    output.warn(format_args!("nobody drives this rollout: {how}"));
                }
            }
        }
        Ok(None)
    }

    /// Starts to drive, in the place of a process that is gone.
    fn drive(&self, dead: Option<String>) -> Driving {
        let options =
            DriveOptions::new(own_name()).with_dead_holder(dead).with_wait_for_person(self.wait);
        let platform = self.embedded.platform.clone();
        let (principal, id) = (self.embedded.principal.clone(), self.id.clone());
        tokio::spawn(async move { platform.drive(&principal, &id, options, &NoObserver).await })
    }

    /// Shows what is new.
    async fn look(&mut self, tail: &mut Tail, view: &mut View<'_>) -> Result<(), Problem> {
        let records = tail.advance(self.embedded.parts()).await?;
        self.show_logs(view, false).await?;
        view.happened(&records, &tail.rollout);
        Ok(())
    }

    async fn show_logs(&mut self, view: &mut View<'_>, rest: bool) -> Result<(), Problem> {
        let Some(logs) = &mut self.logs else { return Ok(()) };
        let output = &self.app.output;
        let mut show = |host: &HostName, line: &str| {
            let host = output.paint(styles::ACTIVE, format_args!("{host} |"));
            view.line(&format!("{host} {line}"));
        };
        logs.lines(&*self.embedded.parts().logs, &mut show).await?;
        if rest {
            logs.rest(show);
        }
        Ok(())
    }

    /// What to end with, if there is nothing more to follow. A driver that is still at work ends first.
    async fn end_of(
        &self,
        tail: &Tail,
        driving: Option<&Driving>,
    ) -> Result<Option<Exit>, Problem> {
        if driving.is_some_and(|it| !it.is_finished()) {
            return Ok(None);
        }
        if let Some(outcome) = tail.rollout.outcome() {
            return Ok(Some(exit_of(outcome)));
        }
        Ok((!self.is_to_be_driven(tail)).then_some(Exit::Stuck))
    }

    async fn finish(&mut self, tail: &mut Tail, view: &mut View<'_>) -> Result<(), Problem> {
        let records = tail.advance(self.embedded.parts()).await?;
        self.show_logs(view, true).await?;
        view.happened(&records, &tail.rollout);
        view.draw(&tail.rollout, self.embedded.parts().clock.now(), true);
        if let Some(task) = tail.rollout.tasks().find(documents::needs_attention) {
            let (id, host) = (&self.id, &task.host);
            self.app.output.note(format_args!(
                "`deploy rollout why {id} {host}` says what happened there, `deploy rollout logs {id} --host {host}` shows what was printed"
            ));
        }
        if !self.app.output.is_live()
            && let Some(how) = Self::how_a_person_goes_on(&tail.rollout)
        {
            self.app.output.note(how);
        }
        Ok(())
    }

    /// A driver that ended well leaves the journal to say how; for one that did not get its lease, or lost it, another drives.
    fn driver_ended(&self, ended: Result<DriveEnd, PlatformError>) -> Result<(), Problem> {
        match ended {
            Ok(DriveEnd::NeedsPerson | DriveEnd::Over(_)) => Ok(()),
            Err(PlatformError::Backend(err)) if err.kind() == ErrorKind::Conflict => Ok(()),
            Err(err) => {
                Err(err).or_problem().map_err(|it| it.with_hint(Self::how_to_go_on(&self.id)))
            }
        }
    }

    /// Does what somebody wants who pressed Ctrl-C; gives an end if there is one.
    async fn interrupted(
        &self,
        interrupt: Interrupt,
        awaits_confirm: bool,
        interrupts: &mut Interrupts,
        driving: &mut Option<Driving>,
    ) -> Option<Result<Exit, Problem>> {
        if interrupt == Interrupt::Stop {
            return Some(Err(stopped(&self.id, "the process was told to end")));
        }
        let (question, answers) = Choice::question(awaits_confirm, driving.is_some());
        let asked = self.ask(question, answers);
        let answer = tokio::select! {
            biased;
            _ = interrupts.next() => None,
            answer = asked => answer,
        };
        let Some(answer) = answer else {
            return Some(Err(stopped(&self.id, "interrupted")));
        };
        let note = "Ctrl-C".to_owned();
        let command = match Choice::of(answer) {
            Choice::Abort => Command::Abort { note, kill: false },
            Choice::Confirm => Command::Confirm,
            Choice::Pause => Command::Pause { note },
            Choice::Rollback => Command::Rollback { note },
            Choice::Stay => return None,
            Choice::Detach => return Some(self.detach(driving.take()).await),
        };
        let told =
            self.embedded.platform.command(&self.embedded.principal, &self.id, command).await;
        if let Err(problem) = told.or_problem() {
            self.app.output.problem(&problem);
        }
        None
    }

    async fn ask(&self, question: &'static str, answers: &'static str) -> Option<char> {
        let asker = self.app.output.asker();
        blocking(move || Ok(asker.ask(question, answers))).await.ok().flatten()
    }

    async fn detach(&self, driving: Option<Driving>) -> Result<Exit, Problem> {
        let id = &self.id;
        let Some(driving) = driving else {
            self.app.output.note(format_args!(
                "no longer watching: `deploy rollout watch {id}` shows it again"
            ));
            return Ok(Exit::Other);
        };
        driving.abort();
        // Whatever it ended with, it no longer drives.
        drop(driving.await);
        let log = hand_over(self.app, self.embedded, id).await?;
        self.app.output.note(format_args!(
            "the rollout goes on in the background, and writes to {}\n`deploy rollout watch {id}` shows it",
            log.display()
        ));
        Ok(Exit::Other)
    }
}

/// Whether another process drives, and when that was looked at.
#[derive(Debug, Default)]
struct Driven {
    by_another: bool,
    looked_at: Timestamp,
}

/// Waits for the driver to end; for ever if there is none.
async fn ended(driving: &mut Option<Driving>) -> Result<DriveEnd, PlatformError> {
    match driving {
        Some(task) => match task.await {
            Ok(ended) => ended,
            Err(err) => std::panic::resume_unwind(err.into_panic()),
        },
        None => std::future::pending().await,
    }
}

fn stopped(id: &RolloutId, why: &str) -> Problem {
    Problem::new(ProblemCode::Interrupted, why)
        .with_hint(Follow::how_to_go_on(id))
        .with_context("rollout", id)
}
