//! What a host may be sent in place of a package: nothing, where it has the tar in it, or a patch upon the package before it.
use super::{ShellExecutor, attempt::AttemptParts, releases::Checked};
use crate::{archive::Encoding, transport::Transport};
use deploy_core::{
    backend::{ArtifactReader, AttemptRequest, Delivery, Transfer},
    digest::Digest,
    error::BackendResult,
    host::{Connection, Host},
    plan::TransferWay,
    spec::ArtifactRef,
    telemetry::TARGET_BACKEND,
    time::Timestamp,
};
use deploy_parts::{Patches, TarPatch};
use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::select;

/// How long an attempt waits for a patch to be made.
const BEFORE_AN_ATTEMPT: Duration = Duration::from_secs(60);
/// And a plan, which is read by somebody who waits.
const FOR_A_PLAN: Duration = Duration::from_secs(15);
/// When it is tried again to make a patch that could not be made.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// What travels with every attempt is as long as this: to save less is not worth the work on both ends.
const WORTH_IT: u64 = 64 << 10;
/// What a host has to have left beside what a patch takes, in bytes.
const SLACK: u64 = 64 << 20;
/// How much of what a host has said about a patch is passed on.
const LONGEST_REASON: usize = 200;

/// What a host may be sent in place of a package.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// The SHA-256 of the tar in the package.
    pub(super) tree: Digest,
    /// What the package wraps that in.
    pub(super) encoding: Encoding,
    pub(super) patch: Option<Upon>,
}

/// A patch, and what it builds upon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upon {
    pub(super) base: Digest,
    pub(super) patch: TarPatch,
}

/// Patches, and which of them could not be made, or not in time.
#[derive(Debug)]
pub(super) struct Known {
    patches: Patches,
    failed: Mutex<BTreeMap<(Digest, Digest), Timestamp>>,
}

impl Known {
    pub(super) fn new(patches: Patches) -> Self {
        Self { patches, failed: Mutex::default() }
    }

    /// The bytes of a patch, from byte `offset` on.
    pub(super) async fn open(&self, digest: Digest, offset: u64) -> io::Result<ArtifactReader> {
        let opened = self.patches.open(digest, offset).await?;
        opened.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the patch is gone"))
    }

    fn has_failed(&self, pair: (Digest, Digest), now: Timestamp) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, until| *until > now);
        failed.contains_key(&pair)
    }

    fn note(&self, pair: (Digest, Digest), now: Timestamp) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.insert(pair, now.after(TRY_AGAIN_AFTER));
    }
}

impl Offer {
    /// What `start` is told of it; without the patch if there is a reason against that.
    pub(super) fn words(&self, package_size: u64, refused: Option<&str>) -> Vec<String> {
        let mut words = vec![self.tree.hex()];
        match (self.patch, refused) {
            (_, Some(why)) => words.extend(["-".to_owned(), plain(why)]),
            (None, None) => {}
            (Some(Upon { base, patch }), None) => {
                let TarPatch { patch, from_bytes, tar_bytes, .. } = patch;
                let kept = kept(self.encoding, package_size, tar_bytes);
                let room = from_bytes + patch.size + kept + SLACK;
                let memory = from_bytes + tar_bytes + SLACK;
                let kib = |bytes: u64| bytes.div_ceil(1 << 10).to_string();
                words.extend([patch.digest.hex(), base.hex(), kib(room), kib(memory)]);
            }
        }
        words
    }
}

/// What is kept of a tar on a host at most, where it is compressed again: not as well as the package may have been, and not as zstd does.
fn kept(encoding: Encoding, package_size: u64, tar_bytes: u64) -> u64 {
    match encoding {
        Encoding::TarGz => tar_bytes.min(package_size + package_size / 2),
        _ => tar_bytes,
    }
}

/// A host's words, as they may stand in a command.
fn plain(why: &str) -> String {
    why.chars().filter(|it| !it.is_control()).take(LONGEST_REASON).collect()
}

impl<T: Transport> ShellExecutor<T> {
    /// What the attempt's host may be sent in place of its package. A descriptor that wants the archive gets that.
    pub(super) async fn offer(
        &self,
        request: &AttemptRequest,
        &Checked { tree, encoding }: &Checked,
    ) -> BackendResult<Option<Offer>> {
        let Some(delivery) = request.delivery().filter(|_| self.is_far(&request.on.host)) else {
            return Ok(None);
        };
        let descriptor = self.artifacts.descriptor(delivery.descriptor.digest).await?;
        if !descriptor.takes_trees() {
            return Ok(None);
        }
        let patch = self.patch_of(&delivery, BEFORE_AN_ATTEMPT).await;
        Ok(Some(Offer { tree, encoding, patch }))
    }

    /// What it takes, if the host has what it was seen to run, and what applies a patch.
    pub(super) async fn estimate(
        &self,
        host: &Host,
        delivery: &Delivery,
    ) -> BackendResult<Transfer> {
        let whole = Transfer::whole(delivery.package);
        if !self.is_far(host) {
            return Ok(whole);
        }
        if !self.artifacts.descriptor(delivery.descriptor.digest).await?.takes_trees() {
            return Ok(whole);
        }
        if delivery.previous.is_some_and(|it| it.digest == delivery.package.digest) {
            return Ok(Transfer::new(TransferWay::Nothing, 0));
        }
        let patch = self.patch_of(delivery, FOR_A_PLAN).await;
        Ok(patch.map_or(whole, |it| Transfer::new(TransferWay::Delta, it.patch.patch.size)))
    }

    /// To a folder of this machine nothing is gained by sending less.
    fn is_far(&self, host: &Host) -> bool {
        self.patches.is_some() && matches!(host.connection, Connection::Ssh(_))
    }

    /// What keeps a patch from being made, or from being made in time, keeps nobody from sending the package. Who goes back waits
    /// for nothing.
    async fn patch_of(&self, delivery: &Delivery, within: Duration) -> Option<Upon> {
        let (known, package) = (self.patches.as_ref()?, delivery.package);
        let base = delivery.previous.filter(|it| it.digest != package.digest)?;
        if package.size < WORTH_IT {
            return None;
        }
        let (pair, now) = ((package.digest, base.digest), self.clock.now());
        let upon = |patch| Upon { base: base.digest, patch };
        if delivery.is_back || known.has_failed(pair, now) {
            let found = known.patches.look(package, base).await.ok().flatten().flatten();
            return found.map(upon);
        }
        let made = select! {
            biased;
            made = known.patches.patch(package, base) => made,
            () = self.clock.sleep_until(now.after(within)) => {
                tracing::info!(target: TARGET_BACKEND, package = %package.digest, "a patch is not made yet, and a package travels whole");
                // One wait is enough for all attempts; whoever comes once it is made gets it. A plan waits for less than they do.
                if within >= BEFORE_AN_ATTEMPT {
                    known.note(pair, self.clock.now());
                }
                return None;
            }
        };
        made.map(|it| it.map(upon)).unwrap_or_else(|err| {
            tracing::warn!(
                target: TARGET_BACKEND,
                { package = %package.digest, error = %err, code = err.code() },
                "a package travels whole"
            );
            known.note(pair, self.clock.now());
            None
        })
    }
}

/// What `start` is told beside the attempt itself.
pub(super) fn words(parts: &AttemptParts, refused: Option<&str>) -> Vec<String> {
    let offer = parts.offer.as_ref();
    offer.map_or_else(Vec::new, |it| it.words(parts.package_size, refused))
}

/// The words of the attempt file that are about it.
pub(super) fn assignments(offer: Option<&Offer>) -> [(&'static str, String); 4] {
    let patch = offer.and_then(|it| it.patch);
    let hex = |it: Option<ArtifactRef>| it.map_or_else(String::new, |it| it.digest.hex());
    let patched = patch.map(|it| it.patch.patch);
    [
        ("package_tree", offer.map_or_else(String::new, |it| it.tree.hex())),
        ("patch_digest", hex(patched)),
        ("patch_size", patched.map_or(0, |it| it.size).to_string()),
        ("patch_base", patch.map_or_else(String::new, |it| it.base.hex())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zstd_made_small_may_be_as_large_as_the_tar_once_gzip_has_it() {
        assert_eq!(kept(Encoding::TarZst, 100, 1_000), 1_000);
        assert_eq!(kept(Encoding::Tar, 1_000, 1_000), 1_000);
        assert_eq!(kept(Encoding::TarGz, 100, 1_000), 150);
        assert_eq!(kept(Encoding::TarGz, 900, 1_000), 1_000);
    }
}
