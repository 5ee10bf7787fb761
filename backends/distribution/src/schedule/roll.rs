//! Who can be asked, near and far.

/// The groups that a host is in: its rack, its zone, all.
pub(super) type Groups = [u32; 3];

const ABSENT: u32 = u32::MAX;

/// Hosts in one condition (free to give, or waiting), by group. Entering, leaving and drawing one at random take the same time
/// however many there are.
#[derive(Debug, Default)]
pub(super) struct Roll {
    groups: Vec<Vec<u32>>,
    /// For each host where it stands in each of its groups.
    places: Vec<Groups>,
}

impl Roll {
    pub(super) fn grow(&mut self, hosts: usize, groups: usize) {
        self.places.resize(hosts, [ABSENT; 3]);
        self.groups.resize_with(groups, Vec::new);
    }

    pub(super) fn contains(&self, host: u32) -> bool {
        self.places.get(host as usize).is_some_and(|[_, _, all]| *all != ABSENT)
    }

    pub(super) fn enter(&mut self, host: u32, groups: Groups) {
        if self.contains(host) {
            return;
        }
        let Some(places) = self.places.get_mut(host as usize) else { return };
        for (place, group) in places.iter_mut().zip(groups) {
            if let Some(members) = self.groups.get_mut(group as usize) {
                *place = u32::try_from(members.len()).unwrap_or(ABSENT);
                members.push(host);
            }
        }
    }

    pub(super) fn leave(&mut self, host: u32, groups: Groups) {
        if !self.contains(host) {
            return;
        }
        for (level, group) in groups.into_iter().enumerate() {
            let place = self.place(host, level).map_or(ABSENT, |it| std::mem::replace(it, ABSENT));
            let Some(members) = self.groups.get_mut(group as usize) else { continue };
            if (place as usize) < members.len() {
                members.swap_remove(place as usize);
            }
            let moved = members.get(place as usize).copied();
            if let Some(place_of_moved) = moved.and_then(|it| self.place(it, level)) {
                *place_of_moved = place;
            }
        }
    }

    /// Those in a group, in no order.
    pub(super) fn of(&self, group: u32) -> &[u32] {
        self.groups.get(group as usize).map_or(&[], Vec::as_slice)
    }

    /// The groups, each within the next one, without those that hold nobody or the same as the next one.
    pub(super) fn distinct(&self, groups: Groups) -> Vec<u32> {
        let size = |group: u32| self.of(group).len();
        let mut distinct: Vec<u32> = groups.into_iter().filter(|it| size(*it) > 0).collect();
        distinct.dedup_by(|next, before| {
            let same = size(*next) == size(*before);
            if same {
                *before = *next;
            }
            same
        });
        distinct
    }

    fn place(&mut self, host: u32, level: usize) -> Option<&mut u32> {
        self.places.get_mut(host as usize)?.get_mut(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_roll_is_a_set_for_each_group(steps in vec((0_u32..20, any::<bool>()), 0..200)) {
            let groups = |host: u32| [3 + host % 4, 1 + host % 2, 0];
            let (mut roll, mut model) = (Roll::default(), BTreeSet::new());
            roll.grow(20, 7);
            for (host, enter) in steps {
                if enter {
                    roll.enter(host, groups(host));
                    model.insert(host);
                } else {
                    roll.leave(host, groups(host));
                    model.remove(&host);
                }
                for group in 0..7 {
                    let there: BTreeSet<_> = roll.of(group).iter().copied().collect();
                    let expected = model.iter().copied().filter(|it| groups(*it).contains(&group));
                    prop_assert_eq!(there.len(), roll.of(group).len());
                    prop_assert_eq!(there, expected.collect::<BTreeSet<_>>());
                }
            }
        }
    }
}
