//! Packages: judged, described, cut into what travels, and put together again on hosts.
//!
//! A *package* is an archive, named by the SHA-256 of its bytes. Its [`Manifest`] describes the tree in it, independent of how it
//! travels, and is what a publisher signs. *Parts* are made of archives for their transport and can be made again: the archive
//! itself, an [index](chunks) of chunks with the packs that hold them, and [deltas](delta) against earlier versions. [`publish()`]
//! makes them, and the [`Publication`] lists them; [`ways`] says which a host needs for each way to the new tree, and what each
//! way costs.
//!
//! Whatever way was taken, and whoever it came from, what is [put together](install) is compared with the manifest, file by file.
//!
//! ```
//! use deploy_package::{
//!     Manifest,
//!     archive::{Limits, PackedFile, pack_files},
//!     install::{NewTree, unpack},
//! };
//!
//! # fn example(releases: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! let file = PackedFile { path: "bin/run", executable: true, bytes: b"#!/bin/sh\n" };
//! let archive = pack_files([file], Limits::PACKAGE, Vec::new())?;
//! let manifest = Manifest::read(&*archive, Limits::PACKAGE)?.manifest;
//!
//! // On a host, which has the manifest that its order names:
//! let tree = NewTree::begin(releases, "1.4.2.new")?;
//! unpack(&*archive, Limits::PACKAGE, &manifest, tree)?;
//! assert!(releases.join("1.4.2.new/bin/run").exists());
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir().unwrap();
//! # example(folder.path()).unwrap();
//! ```
pub mod archive;
pub mod chunks;
mod codec;
pub mod delta;
mod error;
pub mod framing;
pub mod install;
pub mod manifest;
mod part;
pub mod patch;
pub mod publish;
pub mod publisher;
mod wire;

pub use error::{Fault, PackageError};
pub use manifest::Manifest;
pub use part::{Blocks, Part, PartUse, block_size};
pub use publish::{Publication, publish, ways};
