//! What every frontend does, in the words of `deploy-wire`.
//!
//! A frontend takes requests in, and shows what comes of them: on a terminal, over HTTP, or to another program. What
//! happens between the two is the same for all of them, and is here.
pub mod documents;
mod logs;
pub mod narrate;
pub mod problem;
pub mod reason;
mod tail;
pub mod text;

pub use logs::LogTail;
pub use tail::Tail;
