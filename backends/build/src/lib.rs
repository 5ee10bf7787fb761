//! Builds: from a git revision to a package that is the same bit for bit, whoever builds it.
//!
//! [`LocalBuilder`] is a [`Builder`](deploy_core::backend::Builder) of this machine. It keeps a copy of each repository, writes out exactly one commit, runs the
//! commands of a recipe in a sandbox, and packs what they leave, with a statement of how it came about. `docs/building.md` says what people need to know.
//!
//! ```
//! use deploy_build::LocalBuilder;
//! use deploy_core::{
//!     access::{Action, Resource},
//!     backend::{BuildRequest, Builder, authorize},
//!     memory::{MemoryAuthorizer, Rule, SystemClock},
//!     spec::{Recipe, Source},
//! };
//! use std::sync::Arc;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let rules = MemoryAuthorizer::new(vec![Rule::allow("ci".parse()?, [Action::BuildRun])]);
//! let permit = authorize(&rules, "ci".parse()?, Action::BuildRun, Resource::System).await?;
//!
//! let source = Source::new("https://git.example.com/team/web.git".parse()?);
//! let outputs = [("bin/web".parse()?, "target/release/web".parse()?)].into();
//! let recipe = Recipe::new(vec!["cargo build --release --locked".to_owned()], outputs);
//! let request = BuildRequest::new("web".parse()?, source, "v1.4.2".parse()?, recipe);
//!
//! let builder = LocalBuilder::open("/var/lib/deploy/builds", Arc::new(SystemClock::new()))?;
//! let build = builder.submit(&permit, &request).await?;
//! println!("{} is {}", build.id, build.state.as_str());
//! # Ok(()) }
//! ```
mod clear;
mod ended;
mod git;
mod kept;
mod local;
mod log;
mod pack;
mod parameters;
mod process;
mod provenance;
mod queue;
mod quota;
mod records;
mod remote;
mod sandbox;
mod secrets;
mod webhook;

pub use git::RemotePolicy;
pub use local::{LocalBuilder, SandboxUse};
pub use remote::{BuildHosts, Handover, HostSide, RemoteBuilder};
pub use secrets::{FileSecrets, Secret, Secrets};
pub use webhook::{Forge, Push, WebhookError};
