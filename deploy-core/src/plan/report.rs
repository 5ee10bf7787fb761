//! What the planner found, for people to read before they let a plan go.
use super::{RoomReport, Warning};
use crate::id::{HostName, ReleaseId};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// Why each host is in a plan or out of it, and what else is worth knowing before the plan is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use = "an unread report is of no use"]
#[non_exhaustive]
pub struct PlanReport {
    /// Every host of the inventory, by name.
    pub hosts: Vec<HostReport>,
    /// How many targets each wave has.
    pub waves: Vec<u32>,
    /// What may not be as intended.
    pub warnings: Vec<Warning>,
    /// How many bytes of packages and descriptors have to get to hosts; less where a host has some of them already.
    pub bytes: u64,
    /// How packages get to the targets that they have to get to. Empty until somebody who can reach hosts has filled it in.
    pub transfers: Vec<TransferReport>,
    /// Whether the targets have room for it; `None` if nobody has asked them.
    pub room: Option<RoomReport>,
}

/// How a package gets to some of the targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TransferReport {
    /// To how many.
    pub hosts: u32,
    /// The release that it is of.
    pub release: ReleaseId,
    /// What they run; `None` if that is nothing that is known.
    pub from: Option<ReleaseId>,
    /// How they are reached: `agent`, `local` or `ssh`.
    pub via: &'static str,
    /// By what.
    pub way: TransferWay,
    /// How many bytes to each of them.
    pub bytes: u64,
    /// How many bytes the package has.
    pub whole: u64,
}

/// By what a package gets to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TransferWay {
    /// Chunks of its files.
    Chunks,
    /// Patches against what the host runs.
    Delta,
    /// Nothing has to be sent: the host has the very same.
    Nothing,
    /// The package, as it is.
    Whole,
}

impl TransferWay {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chunks => "chunks",
            Self::Delta => "delta",
            Self::Nothing => "nothing",
            Self::Whole => "whole",
        }
    }
}

impl fmt::Display for TransferWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TransferReport {
    /// All bytes to all of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.bytes.saturating_mul(self.hosts as u64)
    }
}

/// What a plan does with a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostReport {
    /// Which.
    pub host: HostName,
    /// What, and why.
    pub verdict: Verdict,
}

/// What a plan does with a host, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a host is a target, selected for nothing, or not selected"
)]
pub enum Verdict {
    /// It is a target.
    Change {
        /// Of which wave, counted from 0.
        wave: u32,
        /// What kind of change it is.
        kind: ChangeKind,
        /// What it runs.
        from: Option<ReleaseId>,
        /// What it is to run.
        to: Option<ReleaseId>,
    },
    /// It is selected, and runs already what it is to run.
    NoOp,
    /// It is not part of the plan.
    Out {
        /// Why.
        reason: OutReason,
        /// What it runs, and goes on running.
        runs: Option<ReleaseId>,
    },
}

/// What kind of change a target goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeKind {
    /// To a release that was made before the one it runs.
    Downgrade,
    /// It was not seen to run the service.
    Install,
    /// The service is taken off.
    Remove,
    /// It runs the release with another package than the release has.
    Repair,
    /// It runs a release that nobody can describe.
    Replace,
    /// A script is run.
    Run,
    /// To a release that was made after the one it runs.
    Upgrade,
}

/// Why a host is not part of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutReason {
    /// It should lose the service, and nobody can describe what it runs: nothing says how to take that off.
    NoDescriptor,
    /// The rollback does not name it.
    NotGoingBack,
    /// The rollout that is made good owes it nothing.
    NotOwed,
    /// It is selected, and the scheduler chose others.
    NotPlaced,
    /// The selector does not match it.
    NotSelected,
}

impl PlanReport {
    /// The targets, by name.
    pub fn changes(&self) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(|it| matches!(it.verdict, Verdict::Change { .. }))
    }

    /// The selected hosts that run already what they are to run, by name.
    pub fn no_ops(&self) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(|it| matches!(it.verdict, Verdict::NoOp))
    }

    /// The hosts that are not part of the plan, by name.
    pub fn out(&self) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(|it| matches!(it.verdict, Verdict::Out { .. }))
    }

    /// What the plan does with `host`; `None` if the inventory had no such host.
    #[must_use]
    pub fn verdict(&self, host: &HostName) -> Option<&Verdict> {
        let at = self.hosts.binary_search_by(|it| it.host.cmp(host)).ok()?;
        self.hosts.get(at).map(|it| &it.verdict)
    }

    /// How many targets go through each kind of change.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<ChangeKind, u32> {
        let mut counts = BTreeMap::new();
        for report in &self.hosts {
            if let Verdict::Change { kind, .. } = report.verdict {
                *counts.entry(kind).or_default() += 1;
            }
        }
        counts
    }

    /// Whether there is nothing to do: the plan has no target.
    #[must_use]
    pub const fn is_no_op(&self) -> bool {
        self.waves.is_empty()
    }
}

impl fmt::Display for PlanReport {
    /// In one line, such as `12 to upgrade, 3 to install in 4 waves; 2 as they should be, 5 not part of it`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, count)) in self.counts().into_iter().enumerate() {
            write!(f, "{}{count} to {kind}", if at == 0 { "" } else { ", " })?;
        }
        match self.waves.len() {
            0 => f.write_str("nothing to do")?,
            1 => f.write_str(" in 1 wave")?,
            waves => write!(f, " in {waves} waves")?,
        }
        let (no_ops, out) = (self.no_ops().count(), self.out().count());
        write!(f, "; {no_ops} as they should be, {out} not part of it")
    }
}

impl HostReport {
    pub(super) const fn new(host: HostName, verdict: Verdict) -> Self {
        Self { host, verdict }
    }
}

impl fmt::Display for HostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.verdict)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { wave, kind, from, to } => {
                let wave = u64::from(*wave) + 1;
                write!(f, "wave {wave}, {kind}")?;
                match (from, to) {
                    (Some(from), Some(to)) => write!(f, ": {from} -> {to}"),
                    (None, Some(only)) | (Some(only), None) => write!(f, ": {only}"),
                    (None, None) => Ok(()),
                }
            }
            Self::NoOp => f.write_str("as it should be"),
            Self::Out { reason, runs: None } => write!(f, "out, {reason}"),
            Self::Out { reason, runs: Some(release) } => {
                write!(f, "out, {reason}; goes on running {release}")
            }
        }
    }
}

impl ChangeKind {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Downgrade => "downgrade",
            Self::Install => "install",
            Self::Remove => "remove",
            Self::Repair => "repair",
            Self::Replace => "replace",
            Self::Run => "run",
            Self::Upgrade => "upgrade",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for OutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDescriptor => "nothing says how to take off what it runs",
            Self::NotGoingBack => "the rollback does not name it",
            Self::NotOwed => "it is owed nothing",
            Self::NotPlaced => "the scheduler chose others",
            Self::NotSelected => "the selector does not match it",
        })
    }
}
