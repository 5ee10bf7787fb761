use crate::sample::{NOW, host, input, package, parse, runs, service, strategy};
use deploy_core::{
    digest::digest_of,
    host::{Host, Installed},
    id::{HostName, LabelValue, Seq},
    plan::{PlanInput, Verdict, Work, inventory_diff, inventory_digest, plan},
    spec::{Direction, Order},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn hosts() -> impl Strategy<Value = Vec<Host>> {
    let labels = ("[abc]?", "[xy]?").prop_map(|(zone, rack)| {
        let pairs = [("zone", zone), ("rack", rack)];
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        given.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    });
    prop::collection::btree_map("[a-c]{1,3}", labels, 0..40)
        .prop_map(|it| it.iter().map(|(name, labels)| host(name, labels)).collect())
}

fn seen() -> impl Strategy<Value = BTreeMap<HostName, Installed>> {
    let one = (0_u64..5, any::<bool>()).prop_map(|(number, known)| {
        let id = format!("web-{number}");
        let package = known.then(|| package(&id).digest);
        let release = Some(number).filter(|it| *it > 0).map(|_| parse(&id));
        Installed::new(release, package, Seq::new(1), NOW)
    });
    prop::collection::btree_map("[a-c]{1,3}".prop_map(|it| parse(&it)), one, 0..40)
}

fn orders() -> impl Strategy<Value = Order> {
    let labels = prop::collection::vec(prop::sample::select(&["zone", "rack"]), 0..3)
        .prop_map(|it| it.into_iter().map(parse).collect::<Vec<_>>());
    prop_oneof![
        Just(Order::Name),
        labels.clone().prop_map(Order::Group),
        labels.prop_map(Order::Spread),
    ]
}

fn inputs() -> impl Strategy<Value = PlanInput> {
    let selector =
        prop::sample::select(&["*", "zone=a", "zone", "!rack", "zone in (a,b)", "host=a*"]);
    let sizes = prop::sample::select(&["100%", "1", "2,*2", "1,10%,+1", "34%", "1,*1", "3,50%"]);
    let back = prop::option::of(prop::collection::btree_map(
        "[a-c]{1,3}".prop_map(|it| parse::<HostName>(&it)),
        prop::option::of((1_u64..4).prop_map(|it| parse(&format!("web-{it}")))),
        0..20,
    ));
    let placed = prop::option::of(any::<u64>());
    (hosts(), seen(), orders(), selector, sizes, placed, back).prop_map(
        |(hosts, seen, order, selector, sizes, placed, back)| {
            let mut strategy = strategy(sizes);
            strategy.order = order;
            let service = service(selector).with_strategy(strategy);
            let matched = hosts.iter().filter(|it| service.selector.matches(it));
            let placed = placed.map(|bits| {
                let chosen = matched.enumerate().filter(|(at, _)| bits >> (at % 64) & 1 == 1);
                chosen.map(|(_, host)| host.name.clone()).collect()
            });
            let input = input(service, hosts).with_installed(seen);
            let input = match back {
                Some(back) => input.as_rollback(back),
                None => input,
            };
            match placed {
                Some(placed) => input.with_placed(placed),
                None => input,
            }
        },
    )
}

fn strata(hosts: &[&Host], order: &Order) -> BTreeSet<Vec<Option<LabelValue>>> {
    let labels = match order {
        Order::Group(labels) | Order::Spread(labels) => labels.clone(),
        Order::Name => Vec::new(),
    };
    let values = |host: &&Host| labels.iter().map(|it| host.labels.get(it).cloned()).collect();
    hosts.iter().map(values).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn plans_are_whole(input in inputs()) {
        let Ok((plan, report)) = plan(&input) else {
            return Ok(());
        };
        prop_assert_eq!(plan.check(), Ok(()));

        // Every host of the inventory has a verdict, and the plan agrees with it.
        let names: BTreeSet<&HostName> = input.hosts.iter().map(|it| &it.name).collect();
        prop_assert_eq!(names.len(), report.hosts.len());
        for host in &report.hosts {
            prop_assert!(names.contains(&host.host));
            let wave = plan.waves.iter().position(|it| it.iter().any(|it| it.host.name == host.host));
            let no_op = plan.no_ops.contains(&host.host);
            match &host.verdict {
                Verdict::Change { wave: said, .. } => {
                    prop_assert_eq!(wave, usize::try_from(*said).ok());
                    prop_assert!(!no_op);
                }
                Verdict::NoOp => prop_assert!(no_op && wave.is_none()),
                Verdict::Out { .. } => prop_assert!(!no_op && wave.is_none()),
            }
        }
        let total = u32::try_from(report.changes().count()).unwrap();
        prop_assert_eq!(plan.target_count(), total);
        prop_assert_eq!(report.no_ops().count(), plan.no_ops.len());

        // Waves are as large as the strategy says, and hosts are as the inventory has them.
        let sizes: Vec<u32> = plan.waves.iter().map(|it| u32::try_from(it.len()).unwrap()).collect();
        prop_assert_eq!(&sizes, &plan.strategy.waves.sizes(total));
        prop_assert_eq!(&sizes, &report.waves);
        for target in plan.targets() {
            prop_assert!(input.hosts.contains(&target.host));
        }

        // Every host that is to change has something to run, forth and back.
        for target in plan.targets() {
            let forward = plan.movement(target, Direction::Forward);
            prop_assert!(forward.is_some());
        }
    }

    #[test]
    fn exactly_the_selected_hosts_are_in_a_plan(input in inputs()) {
        let Ok((plan, _)) = plan(&input) else {
            return Ok(());
        };
        let planned: BTreeSet<&HostName> =
            plan.targets().map(|it| &it.host.name).chain(&plan.no_ops).collect();
        let selected = input.hosts.iter().filter(|host| match (&input.placed, input.back_to.is_empty()) {
            _ if input.work == Work::Rollback => planned.contains(&host.name),
            (Some(placed), _) => placed.contains(&host.name),
            (None, _) => input.service.selector.matches(host),
        });
        prop_assert_eq!(selected.map(|it| &it.name).collect::<BTreeSet<_>>(), planned);
    }

    #[test]
    fn the_order_in_which_things_are_given_does_not_matter(input in inputs(), seed in any::<u64>()) {
        let mut other = input.clone();
        other.hosts.sort_by_key(|it| digest_of(&(seed, &it.name)));
        other.releases.reverse();
        match (plan(&input), plan(&other)) {
            (Ok((a, report)), Ok((b, other))) => {
                prop_assert_eq!(a.digest(), b.digest());
                prop_assert_eq!(report, other);
            }
            (a, b) => prop_assert_eq!(a, b),
        }
    }

    #[test]
    fn a_spread_covers_every_stratum_first(input in inputs()) {
        let Ok((plan, _)) = plan(&input) else {
            return Ok(());
        };
        let targets: Vec<&Host> = plan.targets().map(|it| &it.host).collect();
        let order = &plan.strategy.order;
        let all = strata(&targets, order);
        match order {
            Order::Spread(_) => {
                prop_assert_eq!(strata(&targets[..all.len()], order), all);
            }
            Order::Group(_) => {
                let one = |host: &Host| strata(&[host], order);
                let runs = targets.chunk_by(|a, b| one(a) == one(b)).count();
                prop_assert_eq!(runs, all.len());
            }
            Order::Name => prop_assert!(targets.is_sorted_by_key(|it| &it.name)),
        }
    }

    #[test]
    fn a_plan_depends_on_what_its_digest_covers(input in inputs(), hosts in hosts(), now in seen(), which in 0..3) {
        let Ok((plan, _)) = plan(&input) else {
            return Ok(());
        };
        let (before, after) = (&input.hosts, &input.installed);
        prop_assert_eq!(inventory_diff(&plan, before, after), []);
        prop_assert_eq!(inventory_digest(&plan, before, after), plan.inventory);
        let (hosts, now) = match which {
            0 => (&hosts, &now),
            1 => (before, &now),
            _ => (&hosts, after),
        };
        let same = inventory_digest(&plan, hosts, now) == plan.inventory;
        prop_assert_eq!(inventory_diff(&plan, hosts, now).is_empty(), same);
    }

    /// What counts is what follows: where the inventory is as it was, so is the plan made for it, and only there.
    #[test]
    fn the_plan_is_the_same_as_long_as_there_is_no_difference(
        input in inputs(),
        changed in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..4), 0..3),
    ) {
        let Ok((first, _)) = plan(&input) else {
            return Ok(());
        };
        let mut now = input.installed.clone();
        for (which, number) in changed {
            let id = format!("web-{number}");
            let seen = Installed::new(Some(parse(&id)), Some(package(&id).digest), Seq::new(9), NOW);
            now.insert(which.get(&input.hosts).name.clone(), seen);
        }
        let same = inventory_diff(&first, &input.hosts, &now).is_empty();
        let again = plan(&input.with_installed(now));
        if first.work == Work::Release {
            prop_assert_eq!(again.unwrap().0 == first, same);
        }
    }
}

#[test]
fn a_large_fleet_is_planned() {
    let size = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let hosts: Vec<Host> = (0..size)
        .map(|it| host(&format!("web-{it:06}"), &format!("zone=z{},rack=r{}", it % 7, it % 900)))
        .collect();
    let before = runs("web-1");
    let seen = hosts.iter().map(|it| (it.name.clone(), before.clone()));
    let mut strategy = strategy("10,1%,*2");
    strategy.order = Order::Spread(vec![parse("zone"), parse("rack")]);
    let input = input(service("zone,rack!=r9").with_strategy(strategy), hosts.clone())
        .with_installed(seen.collect());
    let (plan, report) = plan(&input).unwrap();
    assert_eq!(plan.check(), Ok(()));
    assert_eq!(report.hosts.len(), hosts.len());
    assert_eq!(report.changes().count() + report.out().count(), hosts.len());
    assert_eq!(inventory_diff(&plan, &hosts, &input.installed), []);
}
