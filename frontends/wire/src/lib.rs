//! The stable surface of the frontends: exit codes, problem codes, what `--output json` prints, and what HTTP carries.
//!
//! What people read may change with any release; what is in this crate may not. A field keeps its name and its meaning;
//! new fields may appear, so a reader ignores what it does not know. An enumeration is written as lower-case text, and
//! may get new values. Times are RFC 3339 in UTC with milliseconds, and names of durations end in their unit (`_ms`).
//!
//! ```
//! use deploy_wire::{Exit, Problem, ProblemCode};
//!
//! let problem = Problem::new(ProblemCode::NotFound, "there is no service `web`")
//!     .with_hint("`deploy service list` shows all of them")
//!     .with_context("service", "web");
//! assert_eq!(problem.code.as_str(), "not_found");
//! assert_eq!(problem.code.exit(), Exit::Other);
//! assert_eq!(Exit::Conflict.code(), 13);
//! ```
mod exit;
mod http;
mod problem;
mod request;
mod resource;

pub use exit::Exit;
pub use http::{PROBLEM_JSON, Page, ProblemDetails};
pub use problem::{Problem, ProblemCode, ProblemDocument};
pub use request::{
    AgentDecision, GarbageToCollect, HostSpec, HostsToCheck, HostsToImport, HostsToRemove,
    LabelChanges, LimitSpec, NewBuild, NewHost, NewJoinToken, NewPin, NewPlan, NewRelease,
    NewRollbackPlan, NewRollout, NewRun, NewToken, Publication, RolloutCommand, SeenPlan,
    ServiceSpec,
};
pub use resource::{
    Agent, AgentFacts, Artifact, Backup, Budget, BudgetColumn, BudgetUse, Build, BuildLogLine,
    BuildSpec, Change, Channel, ChannelMove, ChannelSpec, Connection, Context, Counts, DoctorCheck,
    DoctorReport, Explanation, Exported, FailureBudget, Garbage, Holders, HookAnswer, Host,
    HostCheck, HostOwed, HostStatus, Import, Imported, IssuedJoinToken, IssuedToken, JoinToken,
    Limit, LogLine, Order, Plan, PlanHost, PlanRoom, PlanShortfall, PlanTransfer, PlanUnchecked,
    PlanWave, PublishedBuild, Pulled, Relay, RelayWork, Release, ReleaseDiff, Removed, Repair,
    Restored, Retries, Rollout, RolloutEvent, RolloutSummary, ServerInfo, Service, Signed,
    SignedKeys, Stagger, Staging, Status, Step, Strategy, Task, Token, Upload, Verification, Wave,
};
