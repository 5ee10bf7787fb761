//! What every frontend does, in the words of `deploy-wire`.
//!
//! A frontend takes requests in, and shows what comes of them: on a terminal, over HTTP, or to another program. What
//! happens between the two is the same for all of them, and is here.
//!
//! ```
//! use deploy_operations::Operations;
//! use deploy_wire::{Problem, ServiceSpec};
//!
//! async fn add(operations: &Operations, asked: &ServiceSpec) -> Result<(), Problem> {
//!     let service = operations.put_service("web".parse().unwrap(), asked, None).await?;
//!     assert_eq!(service.revision, 1);
//!     Ok(())
//! }
//! ```
mod build_feed;
pub mod documents;
mod events;
mod limit_file;
mod logs;
pub mod narrate;
mod operations;
pub mod parse;
pub mod problem;
mod random;
pub mod reason;
mod tail;
pub mod text;
pub mod tools;
mod upkeep;

pub use build_feed::BuildFeed;
pub use events::EventFeed;
pub use limit_file::LimitFile;
pub use logs::{LineCutter, LogTail};
pub use operations::{
    AgentLinks, Agents, ArtifactSearch, ArtifactUpload, Builds, DigestPrefix, LinksElsewhere,
    Listed, NamedRequest, Operations, RepositoryPattern, Tokens, another_already, build_problem,
    demand_target, new_token, status_of, token, why,
};
pub use tail::Tail;
pub use upkeep::{Collect, Collected, Upkeep};
