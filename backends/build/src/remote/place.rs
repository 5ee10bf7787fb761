//! Which host a build is handed to.
use super::handover::Handover;
use crate::{
    local::SandboxUse,
    records::{Records, failed, write_whole},
};
use deploy_core::{
    backend::{BackendError, BackendResult, Build, BuildState, ErrorKind},
    digest::Digest,
    host::Host,
    id::{AccountName, BuildId, HostName, ParseNameError, Seq, ServiceName},
    spec::{AbsolutePath, Selector},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// Where terms are written, in the folder of a build.
const TERMS: &str = "terms.json";

/// The attempt that works on a build, and all that it needs. It is written down before anything is started: whoever takes the build over
/// comes to the very same attempt, however it is configured itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    pub(crate) host: HostName,
    pub(crate) generation: Seq,
    /// 32 hexadecimal digits.
    pub(crate) token: String,
    /// Where its service lies on the host.
    pub(crate) path: AbsolutePath,
    pub(crate) account: Option<AccountName>,
    pub(crate) program: String,
    pub(crate) handover: Handover,
}

/// How hosts are used for a build, as whoever asked for it wants: written down beside it, because whoever takes it over may be configured otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Which hosts, unless the request says so.
    pub(crate) on: Selector,
    /// How many builds run on a host at a time.
    pub(crate) at_a_time: NonZeroUsize,
    pub(crate) sandbox_use: SandboxUse,
    pub(crate) private_remotes: bool,
    pub(crate) tools: Vec<PathBuf>,
    pub(crate) root: AbsolutePath,
    pub(crate) account: Option<AccountName>,
    pub(crate) program: String,
}

impl Terms {
    /// Writes them into the folder of a build.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        write_whole(&folder.join(TERMS), &serde_json::to_vec(self)?)
    }
}

impl Records {
    /// How hosts are used for a build.
    pub(crate) fn terms(&self, id: &BuildId) -> BackendResult<Terms> {
        let path = self.folder(id).join(TERMS);
        let text = fs::read(&path).map_err(|err| failed("build.terms", err))?;
        serde_json::from_slice(&text).map_err(|err| {
            let err = BackendError::new(ErrorKind::Corrupt, "build.terms").because(err);
            err.with("path", path.display())
        })
    }

    pub(crate) fn write_placement(&self, id: &BuildId, placement: &Placement) -> BackendResult<()> {
        let write = || {
            let text = serde_json::to_vec(placement)?;
            write_whole(&self.placement_file(id), &text)
        };
        write().map_err(|err| failed("build.place", err))
    }

    /// The attempt that works on a build; `None` if it was handed to nobody.
    pub(crate) fn placement(&self, id: &BuildId) -> BackendResult<Option<Placement>> {
        let path = self.placement_file(id);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|err| {
                let err = BackendError::new(ErrorKind::Corrupt, "build.place").because(err);
                err.with("path", path.display())
            }),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(failed("build.place", err)),
        }
    }

    /// Of a build that is handed to nobody any more.
    pub(crate) fn forget_placement(&self, id: &BuildId) -> BackendResult<()> {
        match fs::remove_file(self.placement_file(id)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(failed("build.place", err)),
            _ => Ok(()),
        }
    }

    fn placement_file(&self, id: &BuildId) -> PathBuf {
        self.folder(id).join("placement.json")
    }
}

/// The service under which builds of `service` are run on hosts: another one, because a host that builds a service may run it as well, and
/// generations of the two have nothing to do with each other.
pub(crate) fn service_of(service: &ServiceName) -> Result<ServiceName, ParseNameError> {
    let name = service.as_str();
    // A name may have 63 characters.
    match format!("builds-of-{name}") {
        long if long.len() > 63 => {
            format!("builds-of-{}", Digest::of(name.as_bytes()).short()).parse()
        }
        short => short.parse(),
    }
}

/// The host that `build` goes to, of `candidates`: one that works on fewer than `at_a_time` builds. The one that has built the service
/// last is preferred, because it has the source, and knows what it has built; otherwise the one with the least to do. `builds` are all, newest first.
pub(crate) fn choose<'a>(
    builds: &[Build],
    build: &Build,
    candidates: &'a [Host],
    at_a_time: usize,
) -> Option<&'a Host> {
    let load = |host: &Host| {
        let on_it = |it: &&Build| is_running(it) && it.host.as_ref() == Some(&host.name);
        builds.iter().filter(on_it).count()
    };
    let last = builds
        .iter()
        .filter(|it| it.state == BuildState::Succeeded)
        .filter(|it| it.request.service == build.request.service)
        .find_map(|it| it.host.as_ref());
    let free = candidates.iter().map(|it| (load(it), it)).filter(|(load, _)| *load < at_a_time);
    free.min_by_key(|(load, it)| (Some(&it.name) != last, *load)).map(|(_, host)| host)
}

pub(crate) fn is_running(build: &Build) -> bool {
    !build.state.is_over() && build.state != BuildState::Queued
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::{
        backend::BuildRequest,
        conformance::sample::{at, host, name, principal},
        spec::{Recipe, Source},
    };

    fn build(service: &str, state: BuildState, on: &str) -> Build {
        let source = Source::new(name("file:///srv/git"));
        let recipe = Recipe::new(Vec::new(), [].into());
        let request = BuildRequest::new(name(service), source, name("main"), recipe);
        let mut build = Build::queued(name("r1"), request, principal("ann"), at(1));
        build.state = state;
        build.host = Some(name(on));
        build
    }

    #[test]
    fn a_build_goes_where_its_service_was_built_or_there_is_least_to_do() {
        use BuildState::{Building, Queued, Succeeded};
        let hosts = [host("h1"), host("h2"), host("h3")];
        let mut builds = vec![build("api", Building, "h1"), build("db", Building, "h2")];
        let new = build("web", Queued, "nowhere");
        let chosen = |builds: &[Build], at_a_time| {
            choose(builds, &new, &hosts, at_a_time).map(|it| it.name.to_string())
        };
        assert_eq!(chosen(&builds, 1).as_deref(), Some("h3"));
        builds.push(build("web", Succeeded, "h2"));
        assert_eq!(chosen(&builds, 1).as_deref(), Some("h3"), "h2 has no room");
        assert_eq!(chosen(&builds, 2).as_deref(), Some("h2"));
        builds.push(build("cron", Building, "h3"));
        assert_eq!(chosen(&builds, 1), None);
    }

    #[test]
    fn every_service_has_a_name_for_its_builds() {
        assert_eq!(service_of(&name("web")).unwrap().as_str(), "builds-of-web");
        let (one, two) = ("a".repeat(63), "b".repeat(63));
        assert_ne!(service_of(&name(&one)).unwrap(), service_of(&name(&two)).unwrap());
    }
}
