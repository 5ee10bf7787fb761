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
//!
//! A host that has been told a root, a size, who has it, and a token, gets it so, and gives what it has meanwhile:
//!
//! ```no_run
//! use deploy_core::backend::Clock;
//! use deploy_distribution::{Blob, transfer::*};
//! use std::{num::NonZeroU64, path::{Path, PathBuf}, sync::Arc};
//! use tokio::sync::watch;
//!
//! # async fn example(
//! #     blob: Blob, relay: Endpoint, store: Endpoint, address: String, token: watch::Receiver<String>,
//! #     client: Arc<Client>, shelf: Arc<Shelf>, clock: Arc<dyn Clock>, folder: &Path,
//! # ) -> Result<PathBuf, FetchError> {
//! // `shelf` is what the `BlockServer` at `address` gives to others.
//! let limits = Arc::new(Limits::new(NonZeroU64::new(2_500_000)));
//! let fetcher = Fetcher::new(client, Arc::clone(&limits), clock);
//! let (schedulers, seeds) = (vec![relay.clone()], vec![relay.clone(), store.clone()]);
//! let order = FetchOrder::new(blob, address, token).with_schedulers(schedulers).with_seeds(seeds);
//! let progress = order.progress.subscribe();
//!
//! let file = fetcher.prepare(&order, folder).await?;
//! shelf.add(Arc::clone(&file));
//! fetcher.fetch(&order, &file).await?;
//!
//! // From elsewhere, while bytes go:
//! limits.set_total(None);
//! let came = progress.borrow();
//! let (by_relay, by_store) = (came.bytes_from(&[relay.clone()]), came.bytes_from(&[store.clone()]));
//! let by_peers = came.bytes_from_others(&[relay, store]);
//! assert_eq!(by_relay + by_store + by_peers + came.kept, blob.size());
//! # Ok(file.finish()?)
//! # }
//! ```
//!
//! It is then the file `ROOT.SIZE` in the folder. [`Fetcher::linger`](transfer::Fetcher::linger) stays in the swarm.
mod block;
pub mod schedule;
pub mod token;
pub mod transfer;

pub use block::{
    Bits, Blob, BlobError, BlobFile, BlobFileError, BlobId, BlockRange, LARGEST_BLOB, Outboard,
    OutboardError,
};
