//! From a promise to a shim.
use super::{Host, prepare::Prepared};
use crate::{
    attempt::AttemptKey,
    folder::{Folder, nonblocking, write},
    journal::{Decided, record::Record},
    shim,
    spec::Spec,
};
use deploy_core::telemetry::{GENERATION, TARGET_BACKEND};
use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt as _, process::Stdio, sync::Arc};
use tokio::{net::unix::pipe, process::Command, task::spawn_blocking};

impl Host {
    /// Starts what was accepted by `decided`, and looks after it to its end.
    pub(super) async fn launch(
        self: Arc<Self>,
        key: AttemptKey,
        group: String,
        prepared: Prepared,
        decided: Decided,
    ) {
        let folder = self.folder(&key);
        let cgroups = self.cgroups.group(&group);
        let launch = shim::Launch {
            host: shim::Host {
                name: self.options.name.clone(),
                cgroups: cgroups.clone(),
                log_cap: self.options.policy.log_cap(),
            },
            folder: folder.clone(),
        };
        let begin = async {
            self.journal.durable(decided).await.map_err(io::Error::other)?;
            let at = folder.clone();
            spawn_blocking(move || prepared.place(&at)).await.map_err(io::Error::other)??;
            let (boot_id, cgroup) = (self.boot_id.clone(), cgroups.to_string());
            let starting = Record::Starting { attempt: key.clone(), boot_id, cgroup };
            self.journal.write(vec![starting]).await.map_err(io::Error::other)?;
            self.spawn_shim(&launch, 0)
        };
        match begin.await {
            Ok(news) => self.supervise(key, Some(news)).await,
            Err(err) => {
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { { GENERATION } = key.generation, error = %err },
                    "an attempt could not be started"
                );
                self.supervise(key, None).await;
            }
        }
    }

    /// Starts a shim that goes on for one that was lost while the attempt waited to be confirmed.
    pub(super) fn resume_shim(&self, folder: &Folder) -> io::Result<pipe::Receiver> {
        let spec = Spec::parse(folder.order()?).map_err(io::Error::other)?;
        let launch = shim::Launch {
            host: shim::Host {
                name: self.options.name.clone(),
                cgroups: self.cgroups.group(&spec.group()),
                log_cap: self.options.policy.log_cap(),
            },
            folder: folder.clone(),
        };
        self.spawn_shim(&launch, folder.next_place())
    }

    fn spawn_shim(&self, launch: &shim::Launch, place: u32) -> io::Result<pipe::Receiver> {
        let folder = &launch.folder;
        // First this end, so that the shim's never finds nobody.
        let news = listen(folder)?;
        let mut writer = OpenOptions::new();
        let writer = writer.write(true).custom_flags(nonblocking()).open(folder.news())?;
        let said = folder.path().join("shim.log");
        write(&said, &[])?;
        let said = OpenOptions::new().append(true).open(said)?;
        Command::new(&self.options.program)
            .arg("shim")
            .args(launch.arguments())
            .arg(place.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(said)
            .spawn()?;
        // It is not ended when this end of it is dropped, and reaped when it has ended.
        Ok(news)
    }
}

/// The pipe that has an end when the shim has ended.
pub(super) fn listen(folder: &Folder) -> io::Result<pipe::Receiver> {
    pipe::OpenOptions::new().open_receiver(folder.news())
}
