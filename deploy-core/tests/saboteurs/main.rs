//! Backends that are wrong on purpose. The kit is worth what it catches.
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

/// Whether any case of a suite fails.
macro_rules! any_case_fails {
    ($suite:ident, $harness:expr; $($case:ident)*) => {
        false $(|| crate::fails(|| {
            deploy_core::conformance::run(deploy_core::conformance::$suite::$case(&$harness));
        }))*
    };
}

mod artifact_store;
mod authorizer;
mod clock;
mod executor;
mod host_inventory;
mod journal;
mod lease_store;
mod log_store;
mod notifier;
mod scheduler;
mod service_registry;

use std::panic::{AssertUnwindSafe, catch_unwind};

fn fails(case: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(case)).is_err()
}

/// A saboteur, and whether it was caught.
struct Verdict {
    name: String,
    guilty: bool,
    caught: bool,
}

/// Tries every saboteur of `$suite`, each in a thread of its own.
macro_rules! trials {
    ($scope:ident, $threads:ident: $($suite:ident)+) => { $(
        for sabotage in $suite::ALL {
            $threads.push($scope.spawn(move || Verdict {
                name: format!("{} {sabotage:?}", stringify!($suite)),
                guilty: *sabotage != $suite::Sabotage::Nothing,
                caught: $suite::is_caught(*sabotage),
            }));
        }
    )+ };
}

fn try_all() -> Vec<Verdict> {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        trials! { scope, threads:
            artifact_store authorizer clock executor host_inventory journal lease_store log_store notifier
            scheduler service_registry
        }
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

#[test]
fn every_saboteur_is_caught() {
    // Cases that fail are what is wanted here: their messages would only be noise.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let verdicts = try_all();
    std::panic::set_hook(hook);
    let saboteurs = verdicts.iter().filter(|it| it.guilty).count();
    let caught = verdicts.iter().filter(|it| it.guilty && it.caught).count();
    println!("{saboteurs} saboteurs, {caught} caught");
    let wrong: Vec<_> =
        verdicts.iter().filter(|it| it.guilty != it.caught).map(|it| &it.name).collect();
    assert!(wrong.is_empty(), "not caught, or caught without guilt: {wrong:?}");
    assert!(saboteurs >= 40);
}
