//! Which artifacts stay in the cache before anything has used them: a file a service, which names what was staged for it last.
use crate::spec::Artifact;
use deploy_core::id::ServiceName;
use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// How long what was staged stays though nothing uses it: a rollout may wait for a weekend to pass.
const PINNED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is pinned on a host. It outlives the agent.
#[derive(Debug)]
pub(crate) struct Pins {
    folder: PathBuf,
}

impl Pins {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Pins these, and no longer what was staged for the service before.
    pub(crate) fn set(&self, service: &ServiceName, artifacts: &[Artifact]) -> io::Result<()> {
        let lines: String = artifacts.iter().map(|it| format!("{}\n", it.digest.hex())).collect();
        // No service has such a name.
        let unfinished = self.folder.join(format!(".{service}"));
        fs::write(&unfinished, lines)?;
        fs::rename(unfinished, self.folder.join(service.as_str()))
    }

    /// The digests that are pinned at `now`, and since when: by the file system's own clock, as both are times of files.
    pub(crate) fn at(&self, now: SystemTime) -> io::Result<BTreeMap<String, SystemTime>> {
        let mut pinned = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let since = entry.metadata()?.modified()?;
            if now.duration_since(since).is_ok_and(|age| age > PINNED_FOR) {
                fs::remove_file(entry.path())?;
                continue;
            }
            for digest in fs::read_to_string(entry.path())?.lines() {
                let newest = pinned.entry(digest.to_owned()).or_insert(since);
                *newest = since.max(*newest);
            }
        }
        Ok(pinned)
    }
}
