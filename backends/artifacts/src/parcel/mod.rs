//! Artifacts and releases in one file, for networks that no other way leads into.
//!
//! A parcel is a tar that any `tar` can read: an index in JSON first, which says what is in it, then the bytes of each artifact in the
//! order of the index, all of them under their digests. A [`ParcelWriter`] makes one; [`verify_parcel`] reads one, and believes nothing: as the
//! index says what has to follow, every header can be told byte for byte, and a tar that says anything else (a link, another path,
//! another size, one more file) is refused where it says so. So reading takes as much memory as the index, which is bounded, and no disk.
//!
//! ```
//! use deploy_artifacts::{ParcelEntry, ParcelIndex, ParcelWriter, verify_parcel};
//! use deploy_core::{backend::ArtifactKind, digest::Digest};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let bytes = b"what runs";
//! let (web, version, digest) = ("web".parse()?, "1.4.2".parse()?, Digest::of(bytes));
//! let entry = ParcelEntry { repository: web, kind: ArtifactKind::Package, version, digest, size: 9 };
//! let mut writer = ParcelWriter::begin(Vec::new(), ParcelIndex::new(vec![entry], vec![])).await?;
//! writer.add(&digest, &mut &bytes[..]).await?;
//! let file = writer.finish().await?;
//!
//! let parcel = verify_parcel(&mut &file[..]).await?;
//! let begin = usize::try_from(parcel.offset_of(&digest).unwrap())?;
//! assert_eq!(file[begin..begin + 9], bytes[..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
mod error;
mod index;
mod read;
mod tar;
mod write;

pub use error::ParcelError;
pub use index::{ParcelEntry, ParcelIndex, ParcelRelease};
pub use read::{Parcel, verify_parcel};
pub use write::ParcelWriter;

/// How much is read, hashed and written at a time.
const CHUNK: usize = 128 << 10;
