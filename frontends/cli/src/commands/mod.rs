//! One file a group of commands: its arguments, and what it does.
pub(crate) mod agent;
pub(crate) mod artifact;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod descriptor;
pub(crate) mod doctor;
pub(crate) mod host;
pub(crate) mod join_token;
pub(crate) mod plan;
pub(crate) mod release;
pub(crate) mod rollout;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod status;
