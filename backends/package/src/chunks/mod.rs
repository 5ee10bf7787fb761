//! The way by chunks: what of a tree is not there yet, wherever in it that is.
//!
//! Files are cut where their content says, so that what was inserted or taken out changes the chunks around it and no other. Chunks
//! that no earlier version has are compressed into *packs*; the *index* of a version says of which chunks its files are, and where
//! in which packs these lie.
mod assemble;
mod cut;
mod index;
mod pack;

pub use assemble::Packs;
pub use cut::{ALGORITHM, Chunk, cut};
pub(crate) use index::Builder;
pub use index::Index;
pub(crate) use pack::Packer;
