//! What a blob is cut into, and how a piece of it is known to be right.
mod bits;
mod blob;
mod disk;
mod file;
mod have;
mod outboard;

pub use bits::Bits;
pub use blob::{Blob, BlobError, BlobId, BlockRange, LARGEST_BLOB};
pub use disk::BlobFileError;
pub use file::BlobFile;
pub use outboard::{Outboard, OutboardError};
