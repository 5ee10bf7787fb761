//! How many of one kind may be here at a time.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts who is here, and lets no more in of each than `most`: so that nobody takes the places of all others.
#[derive(Debug)]
pub struct Crowd<K: Ord> {
    most: usize,
    here: Arc<Mutex<BTreeMap<K, usize>>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place<K: Ord> {
    here: Arc<Mutex<BTreeMap<K, usize>>>,
    who: K,
}

impl<K: Ord + Clone> Crowd<K> {
    /// Nobody is here yet.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, here: Arc::default() }
    }

    /// A place for somebody; `None` if enough of these are here.
    #[must_use]
    pub fn enter(&self, who: K) -> Option<Place<K>> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let count = here.entry(who.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { here: Arc::clone(&self.here), who })
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = here.get_mut(&self.who) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                here.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_places_and_leaves_nothing_behind() {
        let crowd = Crowd::new(2);
        let places = [crowd.enter("a"), crowd.enter("a"), crowd.enter("b")];
        assert!(places.iter().all(Option::is_some));
        assert!(crowd.enter("a").is_none() && crowd.enter("b").is_some());
        drop(places);
        assert!(crowd.enter("a").is_some());
        assert!(crowd.here.lock().unwrap().is_empty());
    }
}
