//! Brings blobs to many hosts at nearly the speed of one download.
//!
//! A [`Blob`] is known by the root of its BLAKE3 tree. It is cut into blocks, and the [`Outboard`] (one chaining value a block) lets
//! each block be checked by itself.
mod block;
pub mod schedule;
pub mod token;
pub mod transfer;

pub use block::{
    Bits, Blob, BlobError, BlobFile, BlobFileError, BlobId, BlockRange, LARGEST_BLOB, Outboard,
    OutboardError,
};
