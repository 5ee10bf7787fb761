use super::{
    recovery::{Cause, Seen, Verdict, verdict},
    *,
};

fn key(generation: u64) -> AttemptKey {
    AttemptKey { service: "web".parse().unwrap(), generation }
}

fn ended() -> v1::Ended {
    v1::Ended { token: "t".to_owned(), ..v1::Ended::default() }
}

fn starting(generation: u64) -> Record {
    Record::Starting { attempt: key(generation), boot_id: "b".to_owned(), cgroup: String::new() }
}

fn exited(generation: u64) -> Record {
    Record::Exited { attempt: key(generation), end: End::Ended(ended()) }
}

/// The service after these attempts were accepted and `records` written.
fn after(accepted: u64, records: &[Record]) -> Attempts {
    let mut attempts = Attempts::default();
    accept(&mut attempts, accepted);
    records.iter().for_each(|it| attempts.apply(it).unwrap());
    attempts
}

fn accept(attempts: &mut Attempts, generation: u64) {
    let Ok(Acceptance::New(records)) = attempts.accept(&key(generation), "t") else {
        panic!("{generation} is not accepted")
    };
    records.iter().for_each(|it| attempts.apply(it).unwrap());
}

#[test]
fn accepting_raises_the_fence() {
    let attempts = after(5, &[starting(5), exited(5)]);
    for old in [1, 4] {
        assert_eq!(attempts.accept(&key(old), "t"), Err(NotAccepted::Fenced { seen: 5 }));
    }
    assert_eq!(attempts.accept(&key(5), "t"), Ok(Acceptance::Known));
    assert_eq!(attempts.accept(&key(5), "other"), Err(NotAccepted::OtherToken));
    assert!(matches!(attempts.accept(&key(6), "t"), Ok(Acceptance::New(_))));
}

#[test]
fn an_attempt_that_is_alive_is_alone() {
    for records in [&[][..], &[starting(1)]] {
        let attempts = after(1, records);
        assert_eq!(attempts.accept(&key(2), "t"), Err(NotAccepted::Busy { generation: 1 }));
        assert_eq!(attempts.running(&key(1).service), Some(1));
    }
}

#[test]
fn what_was_only_accepted_waits_for_its_order_after_a_restart() {
    let mut attempts = after(1, &[]);
    attempts.restart();
    assert_eq!(attempts.accept(&key(1), "t"), Ok(Acceptance::Unstarted));
    // A newer one takes its place, for good.
    let Ok(Acceptance::New(records)) = attempts.accept(&key(2), "t") else { panic!() };
    records.iter().for_each(|it| attempts.apply(it).unwrap());
    assert_eq!(attempts.accept(&key(1), "t"), Err(NotAccepted::Busy { generation: 2 }));
    assert_eq!(attempts.attempt(&key(1)), None);
}

#[test]
fn a_fence_withdraws_what_nobody_starts() {
    let mut attempts = after(3, &[]);
    assert_eq!(attempts.fence_off(&key(3)), [], "somebody is about to start it");
    attempts.restart();
    for record in attempts.fence_off(&key(3)) {
        attempts.apply(&record).unwrap();
    }
    assert_eq!(attempts.accept(&key(3), "t"), Err(NotAccepted::Fenced { seen: 3 }));
}

#[test]
fn records_out_of_order_are_refused() {
    let wrong: [(&[Record], Record); 5] = [
        (&[], exited(1)),
        (&[], Record::Closed { attempt: key(1) }),
        (&[starting(1)], starting(1)),
        (&[starting(1), exited(1)], exited(1)),
        (&[starting(1), exited(1)], Record::Withdrawn { attempt: key(1) }),
    ];
    for (before, record) in wrong {
        let mut attempts = after(1, before);
        let as_before = attempts.clone();
        assert!(attempts.apply(&record).is_err(), "{record:?}");
        assert_eq!(attempts, as_before);
    }
}

#[test]
fn forgetting_an_attempt_never_lets_it_run_again() {
    let mut attempts = Attempts::default();
    for generation in 1..=30 {
        accept(&mut attempts, generation);
        let records = [
            starting(generation),
            exited(generation),
            Record::Closed { attempt: key(generation) },
            Record::LogStored { attempt: key(generation) },
        ];
        // The end of the second was confirmed by nobody.
        let records = records.iter().take(if generation == 2 { 2 } else { 4 });
        records.for_each(|it| attempts.apply(it).unwrap());
    }
    attempts.forget();
    let mut read = Attempts::default();
    attempts.snapshot().iter().for_each(|it| read.apply(it).unwrap());
    assert_eq!(read, attempts);
    let kept: Vec<_> = read.of(&key(1).service).map(|(generation, _)| generation).collect();
    assert_eq!(kept, [2].into_iter().chain(11..=30).collect::<Vec<_>>(), "2 is waited for");
    for generation in (1..=30).filter(|it| !kept.contains(it)) {
        assert_eq!(read.accept(&key(generation), "t"), Err(NotAccepted::Fenced { seen: 30 }));
    }
}

/// The table of `docs/agent.md`, row by row.
#[test]
fn the_recovery_table() {
    let accepted = State::Accepted { stalled: true };
    let starting = State::Starting { boot_id: "b".to_owned(), cgroup: String::new() };
    let exited = State::Exited { end: End::Ended(ended()), closed: false, log_stored: false };
    for bits in 0..128_u8 {
        let bit = |at: u8| bits & (1 << at) != 0;
        let (rebooted, shim_alive, begun, exit) = (bit(0), bit(1), bit(2), bit(3));
        let (waited, going_back, resumable) = (bit(4), bit(5), bit(6));
        let row = |state: &State| {
            let attempt = Attempt { token: "t".to_owned(), state: state.clone() };
            let exit = exit.then(ended);
            let seen = Seen { rebooted, shim_alive, begun, exit, waited, going_back, resumable };
            verdict(&attempt, &seen)
        };
        assert_eq!(row(&accepted), Verdict::Await);
        assert_eq!(row(&exited), Verdict::Settled);
        let expected = match (rebooted, shim_alive, begun, exit) {
            (false, true, ..) => Verdict::Running,
            (.., true) => Verdict::Ended(ended()),
            _ if waited && !going_back && resumable => Verdict::Resume,
            (_, _, false, _) => Verdict::NeverStarted,
            (true, ..) => Verdict::Died(Cause::Rebooted),
            (false, false, true, false) => Verdict::Died(Cause::ShimLost),
        };
        assert_eq!(row(&starting), expected);
    }
}
