use super::{
    Lines, awaits_confirm,
    driving::{Driving, Role},
    exit_of, how_a_person_goes_on, how_to_go_on,
    interrupt::{Choice, Interrupt, Interrupts},
    view::View,
};
use crate::{
    app::App,
    commands::artifact::blocking,
    plane::{Plane, Watch},
};
use deploy_core::{backend::Clock as _, memory::SystemClock};
use deploy_operations::parse::field;
use deploy_wire::{Exit, Problem, ProblemCode, Rollout, RolloutCommand};
use std::time::Duration;

/// How often it is looked for something new.
const REFRESH: Duration = Duration::from_millis(100);

/// Follows a rollout to its end, or to where a person is needed.
#[derive(Debug)]
pub(crate) struct Follow<'a> {
    app: &'a App,
    plane: &'a dyn Plane,
    id: &'a str,
    role: Role,
    /// Whether to go on where a person is needed.
    wait: bool,
    /// Whether the output of attempts is shown as it comes.
    logs: bool,
    /// The position after which it is told what happens.
    after: u64,
}

impl<'a> Follow<'a> {
    pub(crate) fn new(app: &'a App, plane: &'a dyn Plane, id: &'a str, role: Role) -> Self {
        let wait = app.output.is_live();
        Self { app, plane, id, role, wait, logs: false, after: 0 }
    }

    /// Goes on, or not, where a person is needed; by default only somebody at a terminal waits.
    pub(crate) fn with_wait(mut self, wait: Option<bool>) -> Self {
        self.wait = wait.unwrap_or(self.wait);
        self
    }

    /// Tells only what happens after `rollout` was as it is.
    pub(crate) const fn from(mut self, rollout: &Rollout) -> Self {
        self.after = rollout.seq;
        self
    }

    /// Shows the output of attempts, if that is wanted.
    pub(crate) const fn with_logs(mut self, logs: bool) -> Self {
        self.logs = logs;
        self
    }

    pub(crate) async fn run(self) -> Result<Exit, Problem> {
        let mut interrupts = Interrupts::listen()?;
        let mut driving = match self.plane.own() {
            Some(own) => Some(Driving::new(own, field("rollout", self.id)?, self.role, self.wait)),
            None => None,
        };
        let mut seen = self.open().await?;
        loop {
            let at_work = driving.as_ref().is_some_and(Driving::is_at_work);
            if let Some(exit) = self.end_of(seen.watch.rollout()).filter(|_| !at_work) {
                seen.finish(&self).await?;
                return Ok(exit);
            }
            if let Some(driving) = driving.as_mut().filter(|_| self.goes_on(seen.watch.rollout())) {
                driving.stand_by(&self.app.output, seen.watch.rollout()).await?;
            }
            let driven = driving.as_ref().is_none_or(Driving::is_anywhere);
            tokio::select! {
                biased;
                interrupt = interrupts.next() => {
                    seen.view.clear();
                    let awaits = awaits_confirm(seen.watch.rollout());
                    let end = self.interrupted(interrupt, awaits, &mut interrupts, driving.as_mut());
                    if let Some(end) = end.await {
                        return end;
                    }
                }
                done = ended(driving.as_mut()) => done?,
                looked = seen.look(&self, driven) => looked?,
            }
            if self.app.output.is_closed() {
                return Err(self.stopped("whoever read the output has gone away"));
            }
        }
    }

    async fn open(&self) -> Result<Seen<'a>, Problem> {
        let watch = self.plane.watch(self.id, self.after).await?;
        let lines = match self.logs {
            true => Some(Lines::new(self.plane.printed(self.id, None).await?)),
            false => None,
        };
        let mut seen = Seen { watch, lines, view: View::new(&self.app.output) };
        seen.take(self, true).await?;
        Ok(seen)
    }

    /// Whether a rollout goes on, as far as this process waits for that.
    const fn goes_on(&self, rollout: &Rollout) -> bool {
        rollout.ended_at.is_none() && (self.wait || !rollout.waits_for_person)
    }

    /// What to end with, if there is nothing more to follow.
    fn end_of(&self, rollout: &Rollout) -> Option<Exit> {
        exit_of(rollout).or_else(|| (!self.goes_on(rollout)).then_some(Exit::Stuck))
    }

    /// Does what somebody wants who pressed Ctrl-C; gives an end if there is one.
    async fn interrupted(
        &self,
        interrupt: Interrupt,
        awaits_confirm: bool,
        interrupts: &mut Interrupts,
        driving: Option<&mut Driving<'_>>,
    ) -> Option<Result<Exit, Problem>> {
        if interrupt == Interrupt::Stop {
            return Some(Err(self.stopped("the process was told to end")));
        }
        let here = driving.as_ref().is_some_and(|it| it.is_here());
        let (question, answers) = Choice::question(awaits_confirm, here);
        let asked = self.ask(question, answers);
        let answer = tokio::select! {
            biased;
            _ = interrupts.next() => None,
            answer = asked => answer,
        };
        let Some(answer) = answer else {
            return Some(Err(self.stopped("interrupted")));
        };
        let note = "Ctrl-C".to_owned();
        let command = match Choice::of(answer) {
            Choice::Abort => RolloutCommand::Abort { note, kill: false },
            Choice::Confirm => RolloutCommand::Confirm,
            Choice::Pause => RolloutCommand::Pause { note },
            Choice::Rollback => RolloutCommand::Rollback { note, plan: None },
            Choice::Stay => return None,
            Choice::Detach => return Some(self.detach(driving).await),
        };
        if let Err(problem) = self.plane.command(self.id, &command).await {
            self.app.output.problem(&problem);
        }
        None
    }

    async fn ask(&self, question: &'static str, answers: &'static str) -> Option<char> {
        let asker = self.app.output.asker();
        blocking(move || Ok(asker.ask(question, answers))).await.ok().flatten()
    }

    async fn detach(&self, driving: Option<&mut Driving<'_>>) -> Result<Exit, Problem> {
        let (output, id) = (&self.app.output, self.id);
        let log = match driving {
            Some(driving) => driving.detach(self.app).await?,
            None => None,
        };
        match log {
            Some(log) => output.note(format_args!(
                "the rollout goes on in the background, and writes to {}\n`deploy rollout watch {id}` shows it",
                log.display()
            )),
            None => output.note(format_args!(
                "no longer watching: `deploy rollout watch {id}` shows it again"
            )),
        }
        Ok(Exit::Other)
    }

    /// The process ends before the rollout does.
    fn stopped(&self, why: &str) -> Problem {
        let id = self.id;
        let how = match self.plane.own() {
            Some(_) => how_to_go_on(id),
            None => format!("the server drives it on: `deploy rollout watch {id}` shows it again"),
        };
        Problem::new(ProblemCode::Interrupted, why).with_hint(how).with_context("rollout", id)
    }
}

/// What is seen of a rollout, and shown.
struct Seen<'a> {
    watch: Box<dyn Watch>,
    lines: Option<Lines>,
    view: View<'a>,
}

impl Seen<'_> {
    /// Waits a moment, or for the end if that is sooner, and shows what is new.
    async fn look(&mut self, follow: &Follow<'_>, driven: bool) -> Result<(), Problem> {
        let clock = SystemClock::new();
        tokio::select! {
            () = clock.sleep_until(clock.now().after(REFRESH)) => {}
            end = self.watch.end() => end?,
        }
        self.take(follow, driven).await
    }

    /// Shows what is new.
    async fn take(&mut self, follow: &Follow<'_>, driven: bool) -> Result<(), Problem> {
        let events = self.watch.look().await?;
        if let Some(lines) = &mut self.lines {
            let pieces = lines.pieces().await?;
            for line in lines.take(&follow.app.output, &pieces) {
                self.view.line(&line);
            }
        }
        self.view.happened(&events, self.watch.rollout());
        self.view.now(self.watch.rollout(), SystemClock::new().now(), driven);
        Ok(())
    }

    /// Shows what is left to show, and what somebody can do now.
    async fn finish(&mut self, follow: &Follow<'_>) -> Result<(), Problem> {
        let output = &follow.app.output;
        let events = self.watch.look().await?;
        if let Some(lines) = &mut self.lines {
            let pieces = lines.last_pieces().await?;
            let mut all = lines.take(output, &pieces);
            all.extend(lines.rest(output));
            for line in all {
                self.view.line(&line);
            }
        }
        let rollout = self.watch.rollout();
        self.view.happened(&events, rollout);
        self.view.draw(rollout, SystemClock::new().now(), true);
        if let Some(task) = rollout.attention.first() {
            let (id, host) = (&rollout.id, &task.host);
            output.note(format_args!(
                "`deploy rollout why {id} {host}` says what happened there, `deploy rollout logs {id} --host {host}` shows what was printed"
            ));
        }
        if !output.is_live()
            && let Some(how) = how_a_person_goes_on(rollout)
        {
            output.note(how);
        }
        Ok(())
    }
}

/// Waits until the driver of this process has ended; for ever if there is none.
async fn ended(driving: Option<&mut Driving<'_>>) -> Result<(), Problem> {
    match driving {
        Some(driving) => driving.ended().await,
        None => std::future::pending().await,
    }
}
