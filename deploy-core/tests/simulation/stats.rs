//! How often what happened.

/// Counters, each of which has to move.
macro_rules! stats {
    ($($name:ident)+) => {
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: u64,)+
        }

        impl Stats {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            /// A simulation in which something never happens proves nothing about it.
            pub(crate) fn assert_covers_everything(&self, seeds: u64) {
                for (what, count) in [$((stringify!($name), self.$name)),+] {
                    assert!(count * 100 >= seeds, "{what}: {count} times in {seeds} seeds");
                }
            }
        }
    };
}

stats! {
    aborted
    clock_jumps
    commands
    confirmed
    crashes
    doubled
    failed
    late_answers
    lost_replies
    not_staged
    reboots
    records
    resolved
    revert_failed
    rolled_back
    self_reverted
    staged
    succeeded
    unanswered
    unknown
    with_debt
    zombies
}
