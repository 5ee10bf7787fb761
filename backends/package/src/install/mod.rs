//! Makes the tree of a package in a folder, and nothing anywhere else.
mod assemble;
mod pipe;
mod previous;
mod tree;
mod unpack;

pub use assemble::again;
pub(crate) use assemble::{Contents, assemble};
pub use previous::{Previous, Reuse};
pub use tree::{Durability, NewTree};
pub use unpack::{unpack, unpack_by_digest};
