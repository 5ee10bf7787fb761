//! Plays a rollout: gives the machine its inputs one by one, and journals what it decides.
use deploy_core::{
    digest::Digest,
    host::{Connection, Host},
    id::{HostName, Seq},
    plan::{Plan, PlanInput, Work, plan},
    rollout::{
        AttemptEnd, Effect, Event, Input, Reason, Record, Reply, Rollout, SkipKind, TaskState,
    },
    spec::{
        ArtifactRef, Direction, Effect as StepEffect, Release, Service, Step, StepName, Strategy,
    },
    time::Timestamp,
};
use std::{fmt::Debug, str::FromStr, time::Duration};

/// A Friday, at noon UTC.
const START: u64 = 1_800_014_400_000;

pub(crate) fn parse<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn host(number: usize) -> HostName {
    parse(&format!("h{number}"))
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Waves of these sizes, and nothing else out of the ordinary.
pub(crate) fn waves(sizes: &str) -> Strategy {
    let mut strategy = Strategy::new();
    strategy.waves = parse(sizes);
    strategy
}

/// A rollout between two inputs.
pub(crate) struct Play {
    rollout: Option<Rollout>,
    journal: Vec<Record>,
    now: Timestamp,
}

impl Play {
    /// Rolls out onto the hosts `h0`, `h1`, …, which ran nothing before.
    pub(crate) fn new(hosts: usize, strategy: Strategy) -> Self {
        Self::with_effect(hosts, strategy, StepEffect::Once)
    }

    /// As [`new`](Self::new), with steps of this effect.
    pub(crate) fn with_effect(hosts: usize, strategy: Strategy, effect: StepEffect) -> Self {
        Self::of(&planned(hosts, strategy, Work::Release, effect))
    }

    /// As [`new`](Self::new), an ad-hoc run.
    pub(crate) fn run(hosts: usize, strategy: Strategy) -> Self {
        Self::of(&planned(hosts, strategy, Work::Run, StepEffect::Once))
    }

    fn of(plan: &Plan) -> Self {
        Self::begin(plan, "web-1", Timestamp::from_millis(START))
    }

    /// Carries `plan` out as the rollout `id` from `now` on.
    pub(crate) fn begin(plan: &Plan, id: &str, now: Timestamp) -> Self {
        let accepted =
            Event::Accepted { plan: Box::new(plan.clone()), by: parse("ann"), request: None };
        let journal = vec![Record::new(Seq::new(1), now, parse(id), accepted)];
        let rollout = Some(Rollout::replay(&journal).unwrap());
        let mut play = Self { rollout, journal, now };
        play.tick();
        play
    }

    /// The machine as it stands.
    pub(crate) fn rollout(&self) -> &Rollout {
        self.rollout.as_ref().expect("it is there between two inputs")
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// What was journaled.
    pub(crate) fn journal(&self) -> &[Record] {
        &self.journal
    }

    /// Gives the machine an input.
    pub(crate) fn give(&mut self, input: &Input) {
        let pending = self.rollout.take().expect("there is a rollout").decide(input, self.now);
        self.journal.extend_from_slice(pending.records());
        let (rollout, _changed) = pending.commit();
        let wake = rollout.wake_at(self.now);
        assert!(wake.is_none_or(|it| it > self.now), "it would wake at once, for nothing");
        assert_eq!(rollout, Rollout::replay(&self.journal).unwrap(), "a replay is another");
        self.rollout = Some(rollout);
    }

    pub(crate) fn tick(&mut self) {
        self.give(&Input::Tick);
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.tick();
    }

    /// Somebody sets the clock back.
    pub(crate) fn set_back(&mut self, by: Duration) {
        let before = self.now.as_millis().checked_sub(u64::try_from(by.as_millis()).unwrap());
        self.now = Timestamp::from_millis(before.unwrap());
        self.tick();
    }

    /// What is under way on a host comes back.
    pub(crate) fn reply(&mut self, number: usize, reply: Reply) {
        let effect = self.effect(number);
        let effect = effect.unwrap_or_else(|| panic!("nothing is asked of h{number}"));
        self.reply_of(&effect, reply);
    }

    /// An effect comes back, late or not.
    pub(crate) fn reply_of(&mut self, effect: &Effect, reply: Reply) {
        let (host, generation) = (effect.host.clone(), effect.generation);
        self.give(&Input::Replied { host, generation, reply });
    }

    pub(crate) fn succeed(&mut self, number: usize) {
        self.reply(number, Reply::Ended(AttemptEnd::Succeeded));
    }

    pub(crate) fn fail(&mut self, number: usize) {
        let end = AttemptEnd::Failed {
            step: Some(StepName::Start),
            code: Some(1),
            reason: String::new(),
        };
        self.reply(number, Reply::Ended(end));
    }

    pub(crate) fn unreachable(&mut self, number: usize) {
        let reason = "no route to host".to_owned();
        self.reply(number, Reply::Ended(AttemptEnd::Unreachable { reason }));
    }

    /// The connection is lost, or nobody answers.
    pub(crate) fn lose(&mut self, number: usize) {
        self.reply(number, Reply::Unknown { reason: "the connection was lost".to_owned() });
    }

    pub(crate) fn pause(&mut self) {
        self.give(&Input::Pause { by: parse("bob"), note: "lunch".to_owned() });
    }

    pub(crate) fn resume(&mut self) {
        self.give(&Input::Resume { by: parse("bob") });
    }

    pub(crate) fn confirm(&mut self) {
        self.give(&Input::Confirm { by: parse("bob") });
    }

    pub(crate) fn abort(&mut self) {
        self.give(&Input::Abort { by: parse("bob"), note: String::new(), kill: false });
    }

    pub(crate) fn turn_back(&mut self) {
        self.give(&Input::Rollback { by: parse("bob"), note: String::new() });
    }

    pub(crate) fn retry(&mut self, number: usize) {
        self.give(&Input::Retry { host: Some(host(number)), by: parse("bob") });
    }

    pub(crate) fn skip(&mut self, number: usize) {
        let kind = SkipKind::Skip;
        self.give(&Input::Skip { host: host(number), kind, by: parse("bob") });
    }

    pub(crate) fn exclude(&mut self, number: usize) {
        let kind = SkipKind::Exclude;
        self.give(&Input::Skip { host: host(number), kind, by: parse("bob") });
    }

    pub(crate) fn kill(&mut self, number: usize) {
        self.give(&Input::Kill { host: host(number), by: parse("bob") });
    }

    pub(crate) fn effect(&self, number: usize) -> Option<Effect> {
        self.rollout().effect_on(&host(number))
    }

    /// Where the newest task of a host is.
    pub(crate) fn at(&self, number: usize) -> TaskState {
        self.rollout().task_of(&host(number)).unwrap().state
    }

    /// Where each host's task in `direction` is.
    pub(crate) fn states(&self, direction: Direction) -> Vec<TaskState> {
        let targets = self.rollout().plan().targets();
        targets.map(|it| self.rollout().task(&it.host.name, direction).unwrap().state).collect()
    }

    /// Why it pauses, turned back or is aborted.
    pub(crate) fn reason(&self) -> Option<&Reason> {
        self.rollout().reason()
    }

    /// How often a fact such as this was journaled.
    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.journal.iter().filter(|it| is_it(&it.event)).count()
    }

    pub(crate) fn why(&self, number: usize) -> String {
        self.rollout().why(&host(number), self.now).unwrap().to_string()
    }
}

fn planned(hosts: usize, strategy: Strategy, work: Work, effect: StepEffect) -> Plan {
    let at = Timestamp::from_millis(START);
    let mut service = Service::new(parse("web"), parse("ann"), parse("/srv/web"), parse("*"));
    service.strategy = strategy;
    let names: &[StepName] = match work {
        Work::Run => &[StepName::Run],
        _ => &[StepName::Install, StepName::Rollback, StepName::Start, StepName::Verify],
    };
    let steps = names.iter().map(|it| Step::new(*it).with_effect(effect)).collect();
    let artifact = ArtifactRef::new(Digest::of(b"package"), 1_000);
    let (id, version) = (parse("web-1"), parse("1"));
    let release = Release::new(id, parse("web"), version, artifact, steps, at, parse("ann"));
    let local = |it| Connection::Local { root: format!("/hosts/{it}") };
    let hosts = (0..hosts).map(|it| Host::new(host(it), local(it))).collect();
    let input = PlanInput::new(service, release, hosts, at, parse("ann"));
    let input = if work == Work::Run { input.as_run() } else { input };
    plan(&input).unwrap().0
}
