//! Where a build works, and what it is known by there.
use super::work::Work;
use crate::{
    clear::clear,
    ended::{Ended, internal},
    process::{Cgroup, Tree},
    records::{make_private, write_whole},
    sandbox::Places,
};
use deploy_core::{
    backend::{Build, BuildFailure, BuildFault, BuildState},
    digest::Digest,
};
use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

/// What the processes of a build have in their environment.
const MARK: &str = "DEPLOY_BUILD";

impl Work {
    /// An empty place to work in. What a build of the service has left that was lost is ended and removed first.
    pub(super) async fn prepare(&self) -> Result<Places, Ended> {
        let lost = self
            .shared
            .records
            .all(self.shared.clock.now())
            .map_err(|err| internal(err.chain()))?;
        let of_service = |it: &&Build| {
            it.state == BuildState::Lost && it.request.service == self.build.request.service
        };
        for build in lost.iter().filter(of_service) {
            self.end_lost(build).await?;
        }
        let folder = self.place();
        clear(&folder)?;
        let service = self.build.request.service.as_str();
        let places = Places {
            source: folder.join("source"),
            cache: self.shared.records.root().join("cache").join(service),
            home: folder.join("home"),
            temporary: folder.join("tmp"),
            secrets: folder.join("secrets"),
        };
        for it in [
            &places.source,
            &places.cache,
            &places.home,
            &places.temporary,
            &places.secrets,
            &folder.join("keys"),
            &folder.join("nobody"),
        ] {
            make_private(it)?;
        }
        Ok(places)
    }

    pub(super) async fn end_lost(&self, build: &Build) -> Result<(), Ended> {
        let ((name, value), cgroup) = (self.mark(build), self.left_group(build));
        let mut tree = Tree::new(format!("{name}={value}"), None, cgroup.clone());
        let survivors = tree.end(self.halt.clock()).await?;
        cgroup.remove();
        if survivors.is_empty() {
            return Ok(());
        }
        let survivors = survivors.join(", ");
        let message = format!(
            "these processes of build {} cannot be ended: {survivors}; end them by hand",
            build.id
        );
        Err(BuildFailure::new(BuildFault::Survivors, message).into())
    }

    /// Makes the control group of this build, and writes down where it is: whoever ends what is left of it may be in other groups.
    pub(super) fn make_group(&self) -> Result<Cgroup, Ended> {
        let (name, limits) = (self.group(&self.build), &self.build.request.recipe.limits);
        let cgroup = Cgroup::make(&name, limits, |folders| {
            let text = serde_json::to_vec(folders)?;
            write_whole(&self.shared.records.groups_file(&self.build.id), &text)
        });
        Ok(cgroup?)
    }

    pub(super) fn left_group(&self, build: &Build) -> Cgroup {
        // A build that never came so far has written nothing, and has no group.
        let text = fs::read(self.shared.records.groups_file(&build.id)).unwrap_or_default();
        Cgroup::left(serde_json::from_slice(&text).unwrap_or_default())
    }

    /// The control group of a build.
    pub(super) fn group(&self, build: &Build) -> String {
        let root = Digest::of(self.shared.records.root().as_os_str().as_encoded_bytes());
        format!("{}-{}", root.short(), build.id)
    }

    /// Where the builds of this service work, one after another: always the same, because some programs write it into what they make.
    pub(super) fn place(&self) -> PathBuf {
        self.shared.records.root().join("work").join(self.build.request.service.as_str())
    }

    /// Where the copy of its repository is.
    pub(super) fn mirror_folder(&self) -> PathBuf {
        let request = &self.build.request;
        let remote = Digest::of(request.source.remote.as_str().as_bytes());
        let copy = format!("{}-{}.git", request.service, remote.short());
        self.shared.records.root().join("mirrors").join(copy)
    }

    pub(super) fn mark(&self, build: &Build) -> (String, String) {
        (MARK.to_owned(), format!("{}#{}", self.shared.records.root().display(), build.id))
    }

    /// Writes the secrets that the recipe names to where its commands find them.
    pub(super) async fn hand_out_secrets(&self, places: &Places) -> Result<(), Ended> {
        for (file, name) in &self.build.request.recipe.secrets {
            let secret = self.secret(name).await?;
            self.log.mask(&secret);
            let path = places.secrets.join(file.as_str());
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(secret.reveal())?;
        }
        Ok(())
    }

    /// Removes what was there for this build alone, secrets above all.
    pub(super) fn clear_up(&mut self) {
        // A build that never had its turn has no place of its own, and the one that is there is another's.
        if self.build.started_at.is_some()
            && let Err(err) = clear(&self.place())
        {
            // Not in the log, which a statement may be about already.
            let warning = format!("{} cannot be removed: {err}", self.place().display());
            self.build.warnings.push(warning);
        }
    }
}
