//! Blocks that came are checked and written.
use crate::{
    block::{BlobFile, BlobFileError},
    schedule::Failure,
};
use deploy_core::time::Timestamp;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// What came of a block.
#[derive(Debug)]
pub(super) enum Came {
    Right(u64),
    /// It is there, from somebody else.
    Late,
    Wrong(u64),
    Not(Failure),
    Broken(BlobFileError),
}

/// Checks a block and writes it, away from what else goes on.
pub(super) async fn keep(file: Arc<BlobFile>, number: u32, bytes: Vec<u8>, now: Timestamp) -> Came {
    let length = bytes.len() as u64;
    let kept = spawn_blocking(move || file.put(number, &bytes, now)).await;
    match kept {
        Ok(Ok(true)) => Came::Right(length),
        // It was not looked at: what it is nobody knows.
        Ok(Ok(false)) => Came::Late,
        Ok(Err(BlobFileError::WrongBlock { .. })) => Came::Wrong(length),
        Ok(Err(err)) => Came::Broken(err),
        Err(_lost) => Came::Not(Failure::Stalled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Outboard;

    #[tokio::test]
    async fn what_was_there_before_counts_for_nobody() {
        const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
        let folder = tempfile::tempdir().unwrap();
        let outboard = Outboard::compute(3, &b"abc"[..]).unwrap();
        let file = Arc::new(BlobFile::open(folder.path(), outboard).unwrap());
        let keep = async |bytes: &[u8]| keep(Arc::clone(&file), 0, bytes.to_vec(), NOW).await;
        assert!(matches!(keep(b"abd").await, Came::Wrong(3)));
        assert!(matches!(keep(b"abc").await, Came::Right(3)));
        assert!(matches!(keep(b"abd").await, Came::Late));
    }
}
