use async_trait::async_trait;
use deploy_core::{
    backend::{BackendResult, Placement, PlacementRequest, Scheduler},
    host::Host,
};
use std::collections::BTreeMap;

/// Keeps what runs, then takes from where there are fewest so far, in the order of names.
#[derive(Debug)]
pub(crate) struct FewestFirst;

#[async_trait]
impl Scheduler for FewestFirst {
    async fn place(&self, request: &PlacementRequest) -> BackendResult<Placement> {
        let mut left: BTreeMap<_, _> = request.hosts.iter().map(|it| (&it.name, it)).collect();
        let mut chosen: Vec<&Host> = Vec::new();
        while chosen.len() < usize::try_from(request.count).unwrap_or(usize::MAX) {
            let rank = |it: &&Host| {
                (!request.current.contains(&it.name), crowd(request, it, &chosen), it.name.clone())
            };
            let Some(next) = left.values().copied().min_by_key(rank) else {
                break;
            };
            left.remove(&next.name);
            chosen.push(next);
        }
        let missing = request.count - u32::try_from(chosen.len()).unwrap_or(request.count);
        let tell = |it: &Host| {
            let kept = request.current.contains(&it.name);
            (it.name.clone(), if kept { "runs it already" } else { "fewest there" }.to_owned())
        };
        Ok(Placement::new(chosen.into_iter().map(tell).collect(), missing))
    }
}

/// How many of `chosen` have the same value as `host`, for one label after the other.
fn crowd(request: &PlacementRequest, host: &Host, chosen: &[&Host]) -> Vec<usize> {
    let same =
        |label| chosen.iter().filter(|it| it.labels.get(label) == host.labels.get(label)).count();
    request.spread.iter().map(same).collect()
}
