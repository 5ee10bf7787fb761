use crate::{
    backend::{Placement, PlacementRequest, Scheduler},
    digest::Digest,
    error::BackendResult,
    host::Host,
    id::{HostName, LabelKey, LabelValue},
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

/// Keeps what runs, and spreads the rest evenly over the values of labels.
///
/// One host at a time, it takes one from where there are fewest so far: fewest for the first label, then for the second, and
/// so on. A host without a label counts as having a value of its own for it. The seed decides ties.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SpreadScheduler;

impl SpreadScheduler {
    /// The scheduler.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Scheduler for SpreadScheduler {
    async fn place(&self, request: &PlacementRequest) -> BackendResult<Placement> {
        let hosts: BTreeMap<_, _> = request.hosts.iter().map(|it| (&it.name, it)).collect();
        let (current, others) =
            hosts.into_values().partition(|it| request.current.contains(&it.name));
        let mut spread = Spread::new(request);
        spread.take_from(current, "runs it already");
        spread.take_from(others, "fewest there so far");
        let missing = spread.left();
        Ok(Placement::new(spread.chosen, missing))
    }
}

/// The values that a host has for the labels to spread over.
type Stratum = Vec<Option<LabelValue>>;

struct Spread<'a> {
    request: &'a PlacementRequest,
    chosen: Vec<(HostName, String)>,
    /// How many were chosen with each value of each label.
    counts: Vec<BTreeMap<Option<LabelValue>, u32>>,
}

impl<'a> Spread<'a> {
    fn new(request: &'a PlacementRequest) -> Self {
        let counts = vec![BTreeMap::new(); request.spread.len()];
        Self { request, chosen: Vec::new(), counts }
    }

    fn left(&self) -> u32 {
        self.request.count.saturating_sub(u32::try_from(self.chosen.len()).unwrap_or(u32::MAX))
    }

    fn take_from(&mut self, hosts: Vec<&Host>, why: &str) {
        let mut strata = self.strata(hosts);
        while self.left() > 0 {
            let emptiest = strata.iter().min_by_key(|(stratum, queue)| {
                (self.crowd(stratum), queue.front().map(|(tie, _)| *tie))
            });
            let Some(stratum) = emptiest.map(|(stratum, _)| stratum.clone()) else {
                return;
            };
            let Some(queue) = strata.get_mut(&stratum) else {
                return;
            };
            if let Some((_, host)) = queue.pop_front() {
                self.chosen.push((host.name.clone(), reason(why, &self.request.spread, &stratum)));
            }
            if queue.is_empty() {
                strata.remove(&stratum);
            }
            for (count, value) in self.counts.iter_mut().zip(stratum) {
                *count.entry(value).or_default() += 1;
            }
        }
    }

    /// The hosts by their label values, each queue in the order that the seed gives.
    fn strata<'h>(&self, hosts: Vec<&'h Host>) -> BTreeMap<Stratum, VecDeque<(Digest, &'h Host)>> {
        let mut ties: Vec<_> = hosts.into_iter().map(|it| (self.tie(it), it)).collect();
        ties.sort_by_key(|(tie, _)| *tie);
        let mut strata: BTreeMap<Stratum, VecDeque<_>> = BTreeMap::new();
        for (tie, host) in ties {
            let values = self.request.spread.iter().map(|label| host.labels.get(label).cloned());
            strata.entry(values.collect()).or_default().push_back((tie, host));
        }
        strata
    }

    /// How many were chosen already beside a host of `stratum`, a label at a time.
    fn crowd(&self, stratum: &Stratum) -> Vec<u32> {
        let counts = self.counts.iter().zip(stratum);
        counts.map(|(count, value)| count.get(value).copied().unwrap_or(0)).collect()
    }

    fn tie(&self, host: &Host) -> Digest {
        Digest::of(
            format!("{}/{}/{}", self.request.seed, self.request.service, host.name).as_bytes(),
        )
    }
}

fn reason(why: &str, labels: &[LabelKey], stratum: &Stratum) -> String {
    let mut text = why.to_owned();
    for (label, value) in labels.iter().zip(stratum) {
        let value = value.as_ref().map_or("none", |it| it.as_str());
        // Writing to a string does not fail.
        let _ = write!(text, ", {label}={value}");
    }
    text
}
