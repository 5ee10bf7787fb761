use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn later(millis: u64) -> Timestamp {
    NOW.after(Duration::from_millis(millis))
}

fn swarm(blocks: u32) -> (Swarm, Seat) {
    let mut swarm = Swarm::new(blocks, 1, Policy::default());
    let seed = Newcomer::new("seed".parse().unwrap(), Role::Seed, Bits::all(blocks));
    let seed = swarm.join(seed, NOW);
    (swarm, seed)
}

fn newcomer(name: &str, blocks: u32) -> Newcomer {
    Newcomer::new(name.parse().unwrap(), Role::Host, Bits::none(blocks))
}

#[test]
fn new_blocks_come_from_the_seed_and_others_from_peers() {
    let (mut swarm, seed) = swarm(3);
    let (one, two) = (swarm.join(newcomer("one", 3), NOW), swarm.join(newcomer("two", 3), NOW));
    let given = swarm.ask(one, 9, NOW);
    assert_eq!(given.len(), 3);
    assert!(given.iter().all(|it| it.source == seed));
    assert_eq!(swarm.ask(two, 1, NOW), []);
    swarm.done(one, given[0].block, later(5));
    let offers = swarm.take_offers();
    let expected = Assignment { block: given[0].block, source: one };
    assert_eq!(offers, [(two, expected)]);
}

#[test]
fn a_seed_gives_what_others_have_to_those_who_waited_in_vain() {
    let (mut swarm, seed) = swarm(1);
    let (one, two) = (swarm.join(newcomer("one", 1), NOW), swarm.join(newcomer("two", 1), NOW));
    let three = swarm.join(newcomer("three", 1).with_slots(1), NOW);
    let [only] = swarm.ask(one, 1, NOW)[..] else { panic!() };
    swarm.done(one, only.block, NOW);
    assert_eq!(swarm.ask(two, 1, NOW)[0].source, one);
    swarm.leave(one);
    assert_eq!(swarm.ask(three, 1, NOW), []);
    swarm.done(two, only.block, later(100));
    assert_eq!(swarm.take_offers()[0].1.source, two);
    swarm.failed(three, only.block, two, Failure::Missing, later(200));
    // Nobody has it any more: it is new again.
    assert_eq!(swarm.ask(three, 1, later(300))[0].source, seed);
}

#[test]
fn near_sources_are_preferred() {
    let (mut swarm, _) = swarm(64);
    let zone = |name: &str| Some(name.parse().unwrap());
    for (name, place) in [("near", "z1"), ("far1", "z2"), ("far2", "z2"), ("far3", "z2")] {
        let mut it = newcomer(name, 64).with_zone(zone(place)).with_slots(64);
        it.had = Bits::all(64);
        swarm.join(it, NOW);
    }
    let host = swarm.join(newcomer("host", 64).with_zone(zone("z1")), NOW);
    let mut sources = Vec::new();
    while let [given] = swarm.ask(host, 1, NOW)[..] {
        sources.push(swarm.name(given.source).unwrap().to_string());
        swarm.done(host, given.block, NOW);
    }
    assert_eq!(sources.len(), 64);
    assert!(sources.iter().all(|it| it == "near"), "{sources:?}");
}

#[test]
fn who_serves_what_is_wrong_is_named_and_not_asked_again() {
    let (mut swarm, seed) = swarm(8);
    let mut bad = newcomer("bad", 8);
    bad.had = Bits::all(8);
    let (bad, host) = (swarm.join(bad, NOW), swarm.join(newcomer("host", 8), NOW));
    // Until somebody has had a right block from it, there is one at a time to each host.
    let given = swarm.ask(host, 8, NOW);
    assert_eq!(given.iter().map(|it| it.source).collect::<Vec<_>>(), [bad]);
    swarm.failed(host, given[0].block, bad, Failure::Corrupt, NOW);
    let (source, by) = ("bad".parse().unwrap(), "host".parse().unwrap());
    assert_eq!(swarm.take_events(), [Event::Quarantined { source, by, block: given[0].block }]);
    assert!(swarm.is_quarantined(bad));
    let again = swarm.ask(host, 4, NOW);
    assert!(again.len() == 4 && again.iter().all(|it| it.source == seed));
    // Coming back does not help.
    let mut back = newcomer("bad", 8);
    back.had = Bits::all(8);
    assert_eq!(swarm.join(back, NOW), bad);
    let other = swarm.join(newcomer("other", 8), NOW);
    assert!(swarm.ask(other, 8, NOW).iter().all(|it| it.source != bad));
}

#[test]
fn who_accuses_everybody_is_not_believed() {
    let (mut swarm, _) = swarm(8);
    let liar = swarm.join(newcomer("liar", 8), NOW);
    for number in 0..6 {
        let mut it = newcomer(&format!("good{number}"), 8);
        it.had = Bits::all(8);
        swarm.join(it, NOW);
    }
    let mut quarantined = 0;
    for _ in 0..20 {
        for it in swarm.ask(liar, 8, NOW) {
            swarm.failed(liar, it.block, it.source, Failure::Corrupt, NOW);
        }
        let events = swarm.take_events();
        quarantined += events.iter().filter(|it| matches!(it, Event::Quarantined { .. })).count();
    }
    assert_eq!(quarantined, 3);
}

#[test]
fn nobody_says_anything_of_a_source_that_it_was_not_sent_to() {
    let (mut swarm, _) = swarm(8);
    let mut good = newcomer("good", 8);
    good.had = Bits::all(8);
    let (good, liar) = (swarm.join(good, NOW), swarm.join(newcomer("liar", 8), NOW));
    swarm.failed(liar, 3, good, Failure::Corrupt, NOW);
    assert!(!swarm.is_quarantined(good) && swarm.take_events().is_empty());
}

#[test]
fn a_late_block_is_given_to_others_and_its_source_has_fewer_slots() {
    let (mut swarm, _) = swarm(16);
    let mut slow = newcomer("slow", 16);
    slow.had = Bits::all(16);
    let slow = swarm.join(slow, NOW);
    let host = swarm.join(newcomer("host", 16), NOW);
    let [first] = swarm.ask(host, 1, NOW)[..] else { panic!() };
    assert_eq!((first.source, swarm.lent(slow)), (slow, 1));
    let at = loop {
        // Whoever is silent for 30 seconds is gone, so both are heard of meanwhile.
        let at = swarm.wake_at().unwrap();
        swarm.ask(host, 0, at);
        swarm.ask(slow, 0, at);
        if at >= later(15_000) {
            break at;
        }
        swarm.wake(at);
    };
    swarm.wake(at);
    assert_eq!(swarm.lent(slow), 0);
    assert!(!swarm.has(host, first.block));
}

#[test]
fn who_is_silent_is_gone_and_may_come_back() {
    let (mut swarm, _) = swarm(4);
    let host = swarm.join(newcomer("host", 4), NOW);
    swarm.ask(host, 1, NOW);
    while let Some(at) = swarm.wake_at().filter(|it| *it <= later(40_000)) {
        swarm.wake(at);
    }
    assert_eq!(swarm.seat(&"host".parse().unwrap()), None);
    assert_eq!(swarm.ask(host, 1, later(40_000)), []);
    assert_eq!(swarm.join(newcomer("host", 4), later(40_000)), host);
    assert_eq!(swarm.ask(host, 1, later(40_000)).len(), 1);
}

#[test]
fn what_cannot_be_is_taken_calmly() {
    let (mut swarm, seed) = swarm(4);
    let host = swarm.join(newcomer("host", 9), NOW);
    assert_eq!(swarm.count(host), 0);
    swarm.done(host, 77, NOW);
    swarm.done(Seat(99), 0, NOW);
    swarm.failed(Seat(99), 0, seed, Failure::Stalled, NOW);
    swarm.leave(Seat(99));
    assert_eq!(swarm.ask(Seat(99), u16::MAX, NOW), []);
    assert_eq!(swarm.ask(host, u16::MAX, NOW).len(), 4);
    assert_eq!(swarm.ask(host, u16::MAX, NOW), []);
}

#[test]
fn nobody_takes_a_seed_from_the_others() {
    let (mut swarm, seed) = swarm(64);
    let liars: Vec<_> =
        (0..5).map(|it| swarm.join(newcomer(&format!("liar{it}"), 64), NOW)).collect();
    let honest = swarm.join(newcomer("honest", 64), NOW);
    for liar in liars {
        let [given] = swarm.ask(liar, 1, NOW)[..] else { panic!() };
        swarm.failed(liar, given.block, seed, Failure::Corrupt, NOW);
        let accused = swarm.take_events();
        assert!(matches!(accused[..], [Event::Accused { .. }]), "{accused:?}");
        assert_eq!(swarm.ask(liar, 1, NOW), [], "it does not want anything from there");
        swarm.ask(liar, 0, NOW);
    }
    assert!(!swarm.is_quarantined(seed));
    assert_eq!(swarm.ask(honest, 1, NOW)[0].source, seed);
}

#[test]
fn a_seed_keeps_slots_whatever_is_said_of_it() {
    let left_after_lies_of = |liars: usize| {
        let mut swarm = Swarm::new(512, 1, Policy::default());
        let seed = Newcomer::new("seed".parse().unwrap(), Role::Seed, Bits::all(512));
        let seed = swarm.join(seed.with_slots(8), NOW);
        let all: Vec<_> =
            (0..liars).map(|it| swarm.join(newcomer(&format!("liar{it}"), 512), NOW)).collect();
        for liar in all.iter().copied().cycle().take(300) {
            let [given] = swarm.ask(liar, 1, NOW)[..] else { panic!() };
            swarm.failed(liar, given.block, seed, Failure::Stalled, NOW);
            swarm.ask(liar, 0, NOW);
        }
        let honest = swarm.join(newcomer("honest", 512), NOW);
        swarm.ask(honest, 8, NOW).len()
    };
    assert_eq!([1, 2, 9].map(left_after_lies_of), [4, 2, 2]);
}

#[test]
fn who_sent_a_host_elsewhere_is_not_blamed_here() {
    let (mut swarm, seed) = swarm(8);
    let mut good = newcomer("good", 8);
    good.had = Bits::all(8);
    let good = swarm.join(good, NOW);
    let host = swarm.join(newcomer("host", 8).with_under_way(vec![3, 4]), NOW);
    swarm.failed(host, 3, good, Failure::Corrupt, NOW);
    swarm.failed(host, 4, seed, Failure::Corrupt, NOW);
    assert!(!swarm.is_quarantined(good) && swarm.take_events().is_empty());
    assert_eq!(swarm.member(host.0).unwrap().coming.count(), 0);
}

#[test]
fn who_comes_and_goes_takes_no_more_room() {
    let (mut swarm, _) = swarm(64);
    for number in 0..100 {
        let zone = |name: &str| Some(format!("{name}{number}").parse().unwrap());
        let mut it = newcomer("host", 64).with_zone(zone("z")).with_rack(zone("r"));
        it.had = Bits::all(64);
        let host = swarm.join(it, NOW);
        swarm.leave(host);
    }
    assert_eq!(swarm.groups.len(), 3, "nowhere, its zone, and its rack");
    assert!(swarm.fresh.len() <= 64);
}

#[test]
fn places_that_are_known_are_known_when_there_are_too_many() {
    let (mut swarm, _) = swarm(1);
    let at = |number: u32| Some(format!("z{number}").parse().unwrap());
    for number in 0..MOST_PLACES + 9 {
        swarm.join(newcomer(&format!("h{number}"), 1).with_zone(at(number)), NOW);
    }
    let [first, again] = ["h0", "again"].map(|name| {
        let seat = swarm.join(newcomer(name, 1).with_zone(at(0)), NOW);
        swarm.member(seat.0).unwrap().zone()
    });
    assert_eq!(first, again);
    assert_eq!(swarm.groups.len(), MOST_PLACES as usize);
}

#[test]
fn who_gives_nothing_is_asked_for_nothing() {
    let (mut swarm, seed) = swarm(4);
    let mut silent = newcomer("silent", 4).with_slots(0);
    silent.had = Bits::all(4);
    swarm.join(silent, NOW);
    let host = swarm.join(newcomer("host", 4), NOW);
    let given = swarm.ask(host, 4, NOW);
    assert!(given.len() == 4 && given.iter().all(|it| it.source == seed), "{given:?}");
}
