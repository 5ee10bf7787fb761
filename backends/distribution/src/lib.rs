//! Brings blobs to many hosts at nearly the speed of one download.
//!
//! A [`Blob`] is known by the root of its BLAKE3 tree. It is cut into blocks, and the [`Outboard`] (one chaining value a block) lets
//! each block be checked by itself: so it may come from anybody. [`schedule`] decides which host fetches which block from whom,
//! [`token`] says who may have what, and [`transfer`] brings the blocks over HTTP and mutual TLS.
//!
//! ```
//! use deploy_distribution::{BlobFile, Outboard};
//! # use deploy_core::time::Timestamp;
//!
//! # fn example(folder: &std::path::Path, now: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
//! // Where the bytes are:
//! let bytes = vec![7; 300_000];
//! let outboard = Outboard::compute(bytes.len() as u64, bytes.as_slice())?;
//!
//! // Where they are to be:
//! let file = BlobFile::open(folder, Outboard::parse(outboard.blob(), outboard.bytes().clone())?)?;
//! assert!(file.put(0, &bytes[1..=262_144], now)? && file.put(1, &[0; 37_856], now).is_err());
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir().unwrap();
//! # example(folder.path(), Timestamp::from_millis(1_800_000_000_000)).unwrap();
//! ```
mod block;
pub mod schedule;
pub mod token;
pub mod transfer;

pub use block::{
    Bits, Blob, BlobError, BlobFile, BlobFileError, BlobId, BlockRange, LARGEST_BLOB, Outboard,
    OutboardError,
};
