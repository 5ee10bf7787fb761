//! Backends that are wrong on purpose. The kit is worth what it catches, and a tier what it catches that those before do not.
#![cfg(feature = "conformance")]
#![expect(
    clippy::clone_on_ref_ptr,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a clone of an `Arc` is used as a trait object at once, a failed test panics, and the count is told"
)]

/// The ways in which a backend of one trait can be wrong; the first of them is not to be.
macro_rules! sabotages {
    ($($(#[$doc:meta])* $Name:ident,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Sabotage {
            /// The wrapper itself: it has to pass.
            Nothing,
            $($(#[$doc])* $Name,)+
        }

        pub(crate) const ALL: &[Sabotage] = &[Sabotage::Nothing, $(Sabotage::$Name),+];
    };
}

/// The harness of the saboteurs of a trait. `state` makes what a crash leaves and what two processes share, `open` a saboteur
/// over it.
macro_rules! saboteurs {
    ($Trait:ident, $State:ty) => {
        pub(crate) struct Bad(pub(crate) Sabotage);

        impl Harness<dyn $Trait> for Bad {
            type Guard = $State;

            async fn fresh(&self) -> (Arc<dyn $Trait>, $State) {
                let state = state(self.0);
                (open(self.0, &state), state)
            }
        }

        impl deploy_core::conformance::DurableHarness<dyn $Trait> for Bad {
            async fn reopen(&self, backend: Arc<dyn $Trait>, left: &$State) -> Arc<dyn $Trait> {
                drop(backend);
                match self.0 {
                    Sabotage::ForgetsAtACrash => open(self.0, &state(self.0)),
                    _ => open(self.0, left),
                }
            }
        }

        impl deploy_core::conformance::ConcurrentHarness<dyn $Trait> for Bad {
            async fn another(&self, shared: &$State) -> Arc<dyn $Trait> {
                match self.0 {
                    Sabotage::IsAlone => open(self.0, &state(self.0)),
                    _ => open(self.0, shared),
                }
            }
        }
    };
}

mod agent_registry;
mod answer_store;
mod artifact_store;
mod authorizer;
mod builder;
mod clock;
mod credential_store;
mod executor;
mod host_inventory;
mod journal;
mod lease_store;
mod log_store;
mod notifier;
mod scheduler;
mod service_registry;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

/// How many cases are tried at once. Most of those that fail do so by waiting.
const AT_ONCE: usize = 32;

/// A case that is to be put to a saboteur.
struct Trial {
    saboteur: String,
    guilty: bool,
    case: Case,
    run: Box<dyn FnOnce() + Send>,
}

/// A case of a kit; those of its later tiers are greater.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    tier: Tier,
    name: String,
}

#[expect(non_camel_case_types, reason = "they are named as the kits name them")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    core,
    durable,
    concurrent,
}

/// The name of each case of a suite, and how to put it to `$bad`.
macro_rules! cases {
    ($suite:ident, $bad:expr; $($case:ident)*) => {
        [$((stringify!($case), Box::new(move || {
            deploy_core::conformance::run(deploy_core::conformance::$suite::$case(&$bad));
        }) as Box<dyn FnOnce() + Send>)),*]
    };
}

/// Every case of the kits, put to every saboteur of their traits.
macro_rules! trials {
    ($($suite:ident, $kit:ident: $($tier:ident)+;)+) => {{
        let mut trials = Vec::new();
        $( for sabotage in $suite::ALL.iter().copied() { $(
            for (case, run) in deploy_core::$kit!(@$tier [cases] $suite::Bad(sabotage)) {
                trials.push(Trial {
                    saboteur: format!("{} {sabotage:?}", stringify!($suite)),
                    guilty: sabotage != $suite::Sabotage::Nothing,
                    case: Case { tier: Tier::$tier, name: format!("{} {case}", stringify!($suite)) },
                    run,
                });
            }
        )+ } )+
        trials
    }};
}

fn trials() -> Vec<Trial> {
    trials! {
        agent_registry, agent_registry_conformance: core durable concurrent;
        answer_store, answer_store_conformance: core durable concurrent;
        artifact_store, artifact_store_conformance: core durable concurrent;
        authorizer, authorizer_conformance: core;
        builder, builder_conformance: core;
        clock, clock_conformance: core;
        credential_store, credential_store_conformance: core durable concurrent;
        executor, executor_conformance: core durable concurrent;
        host_inventory, host_inventory_conformance: core durable concurrent;
        journal, journal_conformance: core durable concurrent;
        lease_store, lease_store_conformance: core durable concurrent;
        log_store, log_store_conformance: core durable concurrent;
        notifier, notifier_conformance: core;
        scheduler, scheduler_conformance: core;
        service_registry, service_registry_conformance: core durable concurrent;
    }
}

/// What a saboteur did.
#[derive(Default)]
struct Verdict {
    guilty: bool,
    failed: BTreeSet<Case>,
}

impl Verdict {
    /// The cases that it fails in the first tier in which it fails any: without these, it would have come so far.
    fn caught_by(&self) -> impl Iterator<Item = &Case> {
        let first = self.failed.first().map(|it| it.tier);
        self.failed.iter().filter(move |it| Some(it.tier) == first)
    }
}

fn try_all(trials: Vec<Trial>) -> BTreeMap<String, Verdict> {
    let trials = Mutex::new(trials.into_iter());
    let verdicts = Mutex::new(BTreeMap::<String, Verdict>::new());
    let try_next = || {
        let Trial { saboteur, guilty, case, run } = trials.lock().unwrap().next()?;
        let failed = catch_unwind(AssertUnwindSafe(run)).is_err();
        let mut verdicts = verdicts.lock().unwrap();
        let verdict = verdicts.entry(saboteur).or_default();
        verdict.guilty = guilty;
        verdict.failed.extend(failed.then_some(case));
        Some(())
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| while try_next().is_some() {});
        }
    });
    verdicts.into_inner().unwrap()
}

#[test]
fn every_saboteur_is_caught_and_every_case_catches_one() {
    let trials = trials();
    let cases: BTreeSet<Case> = trials.iter().map(|it| it.case.clone()).collect();
    // Cases that fail are what is wanted here: their messages would only be noise.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let verdicts = try_all(trials);
    std::panic::set_hook(hook);

    let saboteurs = verdicts.values().filter(|it| it.guilty).count();
    println!("{saboteurs} saboteurs, {} cases", cases.len());
    assert!(saboteurs >= 100);
    let wrong = verdicts.iter().filter(|(_, it)| it.guilty == it.failed.is_empty());
    let wrong: Vec<_> = wrong.map(|(name, _)| name).collect();
    assert!(wrong.is_empty(), "not caught, or caught without guilt: {wrong:?}");
    let needed: BTreeSet<_> = verdicts.values().flat_map(Verdict::caught_by).collect();
    let idle: Vec<_> = cases.iter().filter(|it| !needed.contains(it)).map(|it| &it.name).collect();
    assert!(idle.is_empty(), "no saboteur that passes the tiers before fails these: {idle:?}");
}
