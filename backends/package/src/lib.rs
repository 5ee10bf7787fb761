//! Packages.
pub mod archive;
