//! In which order targets start.
use super::Target;
use crate::{
    id::{LabelKey, LabelValue},
    spec::Order,
};
use std::collections::BTreeMap;

/// Targets in the order in which they start.
pub(super) struct Arranged {
    pub(super) targets: Vec<Target>,
    /// How many different values the labels have that the order goes by.
    pub(super) strata: usize,
}

/// Arranges `targets`, which come in the order of their names. Within a stratum they stay in it.
pub(super) fn arrange(targets: Vec<Target>, order: &Order) -> Arranged {
    match order {
        Order::Group(labels) => {
            let strata = stratify(targets, labels);
            Arranged { strata: strata.len(), targets: strata.into_iter().flatten().collect() }
        }
        Order::Name => Arranged { targets, strata: 1 },
        Order::Spread(labels) => {
            let strata = stratify(targets, labels);
            Arranged { strata: strata.len(), targets: deal(strata) }
        }
    }
}

/// One stratum for each combination of values, in the order of the values; hosts that lack a label come first.
fn stratify(targets: Vec<Target>, labels: &[LabelKey]) -> Vec<Vec<Target>> {
    let mut strata: BTreeMap<Vec<Option<LabelValue>>, Vec<Target>> = BTreeMap::new();
    for target in targets {
        let values = labels.iter().map(|key| target.host.labels.get(key).cloned()).collect();
        strata.entry(values).or_default().push(target);
    }
    strata.into_values().collect()
}

/// The first of each stratum, then the second of each, and so on.
fn deal(strata: Vec<Vec<Target>>) -> Vec<Target> {
    let mut dealt = Vec::with_capacity(strata.iter().map(Vec::len).sum());
    let mut strata: Vec<_> = strata.into_iter().map(Vec::into_iter).collect();
    while !strata.is_empty() {
        strata.retain_mut(|stratum| match stratum.next() {
            Some(target) => {
                dealt.push(target);
                true
            }
            None => false,
        });
    }
    dealt
}
