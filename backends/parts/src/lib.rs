//! The parts of packages, by which they travel in the cheapest way.
//!
//! An artifact store has packages: archives, whole. A [`PartStore`] makes of them what [`deploy_package`] calls parts (manifests,
//! indexes, packs, deltas), when somebody first wants to bring a package to a host, and keeps them while there is room. All of it can
//! be made again, byte for byte: whoever removes its folder loses time and nothing else.
//!
//! ```
//! use deploy_core::memory::MemoryArtifactStore;
//! use deploy_parts::{PartStore, PartStoreOptions};
//! use std::sync::Arc;
//!
//! # fn example(folder: &std::path::Path) -> std::io::Result<()> {
//! let packages = Arc::new(MemoryArtifactStore::new());
//! let parts = PartStore::open(folder, packages, PartStoreOptions::default())?;
//! // For a host that runs 1.4.1 and is to run 1.4.2: parts.publish(of_1_4_2, Some(of_1_4_1)).await
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir().unwrap();
//! # example(folder.path()).unwrap();
//! ```
mod blobs;
mod error;
mod making;
mod memory;
mod patches;
mod store;

pub use error::PartsError;
pub use patches::{Patches, TarPatch};
pub use store::{PartStore, PartStoreOptions, Published};
