use super::*;
use crate::{
    digest::Digest,
    id::{Principal, Seq},
    spec::ArtifactRef,
};
use proptest::prelude::*;

/// One rollout of a history: to which release, on which hosts it was to be, and how far it came.
#[derive(Clone, Debug)]
struct Turn {
    release: usize,
    hosts: BTreeSet<usize>,
    /// Of these hosts, the first so many were touched.
    touched: usize,
    /// The touched ones went back at once.
    undone: bool,
    repair: bool,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let hosts = prop::collection::btree_set(0_usize..5, 1..5);
    let turn = (0_usize..12, hosts, 0_usize..6, prop::bool::weighted(0.2), any::<bool>());
    let turn = turn.prop_map(|(release, hosts, touched, undone, repair)| Turn {
        release,
        hosts,
        touched,
        undone,
        repair,
    });
    prop::collection::vec(turn, 0..30)
}

fn id(number: usize) -> ReleaseId {
    format!("web-{number}").parse().unwrap()
}

fn host(number: usize) -> HostName {
    format!("h{number}").parse().unwrap()
}

/// What hosts run and ran before, by a second account of it, and the rollouts oldest first.
#[derive(Default)]
struct Fleet {
    current: BTreeMap<usize, usize>,
    previous: BTreeMap<usize, usize>,
    rollouts: Vec<PastRollout>,
}

impl Fleet {
    fn carry_out(&mut self, turn: &Turn, open: bool) {
        let befores = turn.hosts.iter().filter_map(|it| self.current.get(it)).copied();
        let releases = befores.chain([turn.release]).map(id).collect();
        let touched: Vec<usize> = turn.hosts.iter().copied().take(turn.touched).collect();
        for at in touched.iter().filter(|_| !turn.undone) {
            if let Some(before) = self.current.insert(*at, turn.release) {
                self.previous.insert(*at, before);
            }
        }
        let changed = if turn.undone { Vec::new() } else { touched };
        self.rollouts.push(PastRollout {
            open,
            repair: turn.repair,
            releases,
            changed: changed.into_iter().map(host).collect(),
        });
    }

    fn installed(&self) -> BTreeMap<HostName, Installed> {
        let seen =
            |it: &usize| Installed::new(Some(id(*it)), None, Seq::ZERO, Timestamp::default());
        self.current.iter().map(|(at, release)| (host(*at), seen(release))).collect()
    }

    /// Reads rollouts from the newest one back, no further than has to be.
    fn in_use(&self) -> BTreeSet<ReleaseId> {
        let mut uses = Uses::new(&self.installed());
        for past in self.rollouts.iter().rev() {
            if uses.is_known() {
                break;
            }
            uses.add_past(past);
        }
        uses.into_releases()
    }
}

/// Twelve releases, newest first, made a second apart.
fn releases() -> Vec<Release> {
    let by: Principal = "ann".parse().unwrap();
    let descriptor = ArtifactRef::new(Digest::of(b"descriptor"), 1);
    let made = |number: usize| {
        let at = Timestamp::from_millis(u64::try_from(number).unwrap() * 1_000);
        let (service, version) = ("web".parse().unwrap(), format!("{number}").parse().unwrap());
        Release::new(id(number), service, version, descriptor, Vec::new(), at, by.clone())
    };
    (0..12).rev().map(made).collect()
}

proptest! {
    #[test]
    fn what_hosts_run_and_ran_before_is_never_retired(
        turns in turns(),
        open in any::<bool>(),
        newest in 0_usize..6,
        age in 0_u64..15,
    ) {
        let mut fleet = Fleet::default();
        for (at, turn) in turns.iter().enumerate() {
            fleet.carry_out(turn, open && at + 1 == turns.len());
        }
        let in_use = fleet.in_use();
        let now = Timestamp::from_millis(12_000);
        let keep = KeepReleases::new(newest, now).with_younger_than(Duration::from_secs(age));
        let releases = releases();
        let gone: BTreeSet<_> = retired(&releases, &keep, &in_use).map(|it| it.id.clone()).collect();
        for release in fleet.current.values().chain(fleet.previous.values()) {
            prop_assert!(!gone.contains(&id(*release)), "web-{release} is run, or gone back to");
        }
        if let (true, Some(last)) = (open, fleet.rollouts.last()) {
            prop_assert!(last.releases.is_disjoint(&gone), "a rollout needs {:?}", last.releases);
        }
        prop_assert!(releases.iter().take(newest).all(|it| !gone.contains(&it.id)));
        for release in &releases {
            let young = now.since(release.created_at) < Duration::from_secs(age);
            prop_assert!(!young || !gone.contains(&release.id), "{} is young", release.id);
        }
        // No more stays than there is a reason for.
        let stays = in_use.len() + newest + usize::try_from(age).unwrap();
        prop_assert!(releases.len() - gone.len() <= stays);
    }
}

#[test]
fn a_rollout_that_came_to_no_host_hides_nothing() {
    let mut fleet = Fleet::default();
    let all: BTreeSet<usize> = [0, 1].into();
    let turn = |release, touched| Turn {
        release,
        hosts: all.clone(),
        touched,
        undone: false,
        repair: false,
    };
    for turn in [turn(1, 2), turn(2, 2), turn(3, 0), turn(4, 0)] {
        fleet.carry_out(&turn, false);
    }
    // Run: 2, before that: 1, wanted: 4. Nothing needs 3.
    assert_eq!(fleet.in_use(), [1, 2, 4].map(id).into());
}
