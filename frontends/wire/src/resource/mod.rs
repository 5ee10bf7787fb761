//! What `--output json` prints: one struct a resource.
mod agent;
mod artifact;
mod backup;
mod build;
mod channel;
mod context;
mod doctor;
mod host;
mod limit;
mod parcel;
mod plan;
mod relay;
mod release;
mod rollout;
mod service;
mod token;

pub use agent::{Agent, AgentFacts, IssuedJoinToken, JoinToken};
pub use artifact::{Artifact, Garbage, Holders, Pulled, Upload, Verification};
pub use backup::{Backup, Restored};
pub use build::{Build, BuildLogLine, BuildSpec, HookAnswer, PublishedBuild};
pub use channel::{Channel, ChannelMove, ChannelSpec};
pub use context::Context;
pub use doctor::{DoctorCheck, DoctorReport, ServerInfo};
pub use host::{Connection, Host, HostCheck, HostOwed, HostStatus, Import, Removed, Status};
pub use limit::Limit;
pub use parcel::{Exported, Imported};
pub use plan::{Plan, PlanHost, PlanRoom, PlanShortfall, PlanTransfer, PlanUnchecked, PlanWave};
pub use relay::{Relay, RelayWork};
pub use release::{Change, Release, ReleaseDiff, Signed, SignedKeys, Step};
pub use rollout::{
    BudgetColumn, BudgetUse, Counts, Explanation, LogLine, Rollout, RolloutEvent, RolloutSummary,
    Task, Wave,
};
pub use service::{
    Budget, FailureBudget, Order, Repair, Retries, Service, Stagger, Staging, Strategy,
};
pub use token::{IssuedToken, Token};

use std::time::Duration;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
