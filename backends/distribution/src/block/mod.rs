//! What a blob is cut into, and how a piece of it is known to be right.
mod bits;
mod blob;
mod file;
mod have;
mod outboard;

pub use bits::Bits;
pub use blob::{Blob, BlobError, BlobId, BlockRange, LARGEST_BLOB};
pub use file::{BlobFile, BlobFileError};
pub use outboard::{Outboard, OutboardError};
