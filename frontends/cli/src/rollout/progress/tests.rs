use super::*;
use deploy_core::{
    digest::Digest,
    id::{HostName, Seq},
    rollout::AttemptEnd,
};
use deploy_core::{
    host::{Connection, Host},
    plan::{PlanInput, plan},
    rollout::{Event, Record, Rollout},
    spec::{ArtifactRef, Direction, Release, Service, Step, StepName},
};

/// A rollout on `hosts` hosts in waves of 2, then all.
fn rollout(hosts: u32) -> Rollout {
    let service = Service::new(
        "web".parse().unwrap(),
        "ann".parse().unwrap(),
        "/srv/web".parse().unwrap(),
        "role=web".parse().unwrap(),
    );
    let mut strategy = service.strategy.clone();
    strategy.waves = "2,100%".parse().unwrap();
    strategy.failure_budget.rollout.max_failed = "50%".parse().unwrap();
    let service = service.with_strategy(strategy);
    let descriptor = ArtifactRef::new(Digest::of(b"descriptor"), 1);
    let release = Release::new(
        "web-2".parse().unwrap(),
        "web".parse().unwrap(),
        "2".parse().unwrap(),
        descriptor,
        vec![Step::new(StepName::Install)],
        Timestamp::default(),
        "ann".parse().unwrap(),
    );
    let hosts = (1..=hosts).map(|it| {
        let connection = Connection::Local { root: "/tmp".to_owned() };
        let labels = [("role".parse().unwrap(), "web".parse().unwrap())].into();
        Host::new(format!("web-{it:03}").parse().unwrap(), connection).with_labels(labels)
    });
    let now = Timestamp::from_millis(1_000_000);
    let input = PlanInput::new(service, release, hosts.collect(), now, "ann".parse().unwrap());
    let (plan, _) = plan(&input).unwrap();
    let event = Event::Accepted { plan: Box::new(plan), by: "ann".parse().unwrap(), request: None };
    Rollout::replay(&[Record::new(Seq::new(1), now, "web-1234".parse().unwrap(), event)]).unwrap()
}

fn apply(rollout: &mut Rollout, events: Vec<Event>) {
    for event in events {
        let seq = rollout.head().next();
        let at = Timestamp::from_millis(1_000_000 + seq.get() * 1_000);
        rollout.apply(&Record::new(seq, at, rollout.id().clone(), event)).unwrap();
    }
}

fn attempt(host: &str, end: AttemptEnd, generation: u64) -> [Event; 2] {
    let host: HostName = host.parse().unwrap();
    let direction = Direction::Forward;
    let started =
        Event::AttemptStarted { host: host.clone(), direction, first_step: StepName::Install };
    let ended = Event::AttemptEnded { host, generation: Seq::new(generation), end, retry_at: None };
    [started, ended]
}

fn lines(rollout: &Rollout, columns: usize, driven: bool) -> Vec<String> {
    let rollout = documents::rollout(rollout, false);
    let now = Timestamp::from_millis(1_000_000 + 61_000);
    Progress { rollout: &rollout, now, driven }.lines(columns, &|_, text| text.to_owned())
}

#[test]
fn a_rollout_under_way_is_shown_in_a_few_lines() {
    let mut rollout = rollout(8);
    apply(&mut rollout, vec![Event::WaveStarted { wave: 0 }]);
    let failed = AttemptEnd::Failed {
        step: Some(StepName::Install),
        code: Some(3),
        reason: "disk\nfull \u{1b}[2J".to_owned(),
    };
    apply(&mut rollout, attempt("web-001", AttemptEnd::Succeeded, 3).into());
    apply(&mut rollout, attempt("web-002", failed, 5).into());
    let lines = lines(&rollout, 80, true);
    assert_eq!(lines[0], "rollout web-1234: web to web-2  running  1m1s  about 3m3s left");
    assert_eq!(
        lines[1],
        "wave 1/2 ███████████████│░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 25%"
    );
    assert_eq!(lines[2], "1 done  6 pending  1 failed");
    assert_eq!(lines[3], "  ! web-002  failed in install with code 3: disk full �[2J");
    assert_eq!(lines.len(), 4);
}

#[test]
fn somebody_is_told_what_to_do() {
    let mut rollout = rollout(4);
    let alone = lines(&rollout, 80, false);
    assert_eq!(
        alone.last().unwrap(),
        "nobody drives this rollout: `deploy rollout resume web-1234` goes on"
    );
    apply(&mut rollout, vec![Event::WaveStarted { wave: 0 }]);
    apply(&mut rollout, attempt("web-001", AttemptEnd::Succeeded, 3).into());
    apply(&mut rollout, attempt("web-002", AttemptEnd::Succeeded, 5).into());
    apply(&mut rollout, vec![Event::ConfirmRequested { wave: 0 }]);
    let waiting = lines(&rollout, 80, true);
    assert_eq!(
        waiting.last().unwrap(),
        "wave 1 waits for somebody: `deploy rollout confirm web-1234`"
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for hosts in [1, 2, 3, 50, 400] {
        let mut rollout = rollout(hosts);
        apply(&mut rollout, vec![Event::WaveStarted { wave: 0 }]);
        let failed = AttemptEnd::Unreachable { reason: "no route to host ".repeat(20) };
        apply(&mut rollout, attempt("web-001", failed, 3).into());
        for columns in 20..130 {
            for line in lines(&rollout, columns, true) {
                assert!(width(&line) <= columns, "{columns}: {line:?}");
            }
        }
    }
}
