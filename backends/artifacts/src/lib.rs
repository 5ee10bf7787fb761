//! Content-addressed artifacts, in a folder or in any [`object_store`].
//!
//! [`ObjectArtifactStore::open_local`] keeps them in a folder of this machine, [`ObjectArtifactStore::open_s3`] in a bucket of S3 or what
//! is like it; [`ObjectArtifactStore::new`] takes whatever speaks [`object_store::ObjectStore`]. Both keep the contract of
//! [`ArtifactStore`](deploy_core::backend::ArtifactStore), with one difference that the capabilities tell: only a folder
//! resumes interrupted puts.
//!
//! ```
//! use deploy_artifacts::ObjectArtifactStore;
//! use deploy_core::backend::{ArtifactStore as _, ListArtifacts};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let folder = tempfile::tempdir()?;
//! let store = ObjectArtifactStore::open_local(folder.path())?;
//! assert_eq!(store.list(&ListArtifacts::new()).await?, []);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Layout
//! ```text
//! format                                      which layout this is
//! lock                                        flock: who publishes or removes
//! blobs/sha256/<ab>/<hex>                     the bytes of an artifact
//! entries/<repository>/<kind>/<version>.json  which artifact a version is
//! holds/<hex>/channel/<channel>/<revision>    which channel leads to an artifact, since which move
//! holds/<hex>/release/<release id>            who needs an artifact
//! holds/<hex>/pin/<name>                      who wants it kept
//! partial/<hex>.<n>                           puts that are under way or were interrupted
//! ```
//! `format`, `lock` and `partial` exist in a folder only.
mod catalogue;
mod draft;
mod fault;
mod folder;
mod garbage;
mod gate;
mod holds;
mod layout;
mod parcel;
mod put;
mod read;
mod s3;
mod store;

pub use garbage::{CollectGarbage, GarbageReport};
pub use parcel::{
    Parcel, ParcelEntry, ParcelError, ParcelIndex, ParcelRelease, ParcelWriter, verify_parcel,
};
pub use s3::{ParseS3LocationError, S3Credentials, S3Location};
pub use store::ObjectArtifactStore;
