//! Which relay is for what.
use crate::{block::BlobId, transfer::Endpoint};
use deploy_core::id::HostName;

/// The relays of a site for a blob, the first one first: each has its share of the blobs, and where one is gone its share alone moves.
#[must_use]
pub fn ranked(blob: BlobId, mut relays: Vec<Endpoint>) -> Vec<Endpoint> {
    let weight = |name: &HostName| {
        let text = [blob.as_bytes(), name.as_str().as_bytes()].concat();
        BlobId::of(&text)
    };
    relays.sort_by_cached_key(|it| weight(&it.name));
    relays
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn each_relay_has_its_share_and_keeps_it() {
        let relays: Vec<_> = (0..3)
            .map(|it| Endpoint::new(format!("r{it}").parse().unwrap(), String::new()))
            .collect();
        let mut shares = BTreeMap::<_, u32>::new();
        for blob in (0..600_u32).map(|it| BlobId::of(&it.to_le_bytes())) {
            let all = ranked(blob, relays.clone());
            let without: Vec<_> = all.iter().filter(|it| *it != &relays[1]).cloned().collect();
            assert_eq!(ranked(blob, without.clone()), without);
            *shares.entry(all[0].name.clone()).or_default() += 1;
        }
        assert!(shares.len() == 3 && shares.values().all(|it| *it > 150), "{shares:?}");
    }
}
