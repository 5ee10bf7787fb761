//! What is handed to a host that is to build.
use crate::local::SandboxUse;
use deploy_core::{
    backend::{BackendError, BackendResult, Build, BuildRequest, ErrorKind},
    digest::Digest,
    id::{HostName, Principal},
    plan::PlannedRelease,
    spec::{ArtifactRef, Release, Step, StepName},
    time::Timestamp,
};
use deploy_host::{
    archive::{Limits, PackedFile, pack_files},
    descriptor,
};
use serde::{Deserialize, Serialize};
use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

/// The format of what is handed over, and of the report that comes back.
const FORMAT: u32 = 1;
/// The longest handover, in bytes: it travels as one variable of an environment, which the kernel bounds to 128 KiB.
const LONGEST: usize = 100 << 10;
/// The name under which the report is collected.
pub(crate) const REPORT: &str = "report.json";

/// What a host needs to know to build: what for whom, and how it is to be kept from the host.
///
/// It holds no secret: a recipe names secrets, and the host that builds looks them up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Handover {
    format: u32,
    /// What is to be built.
    pub request: BuildRequest,
    /// Who asks for it.
    pub by: Principal,
    /// Whom provenance names as the builder: a URI.
    pub builder: String,
    /// What is asked of sandboxes.
    pub sandbox: SandboxUse,
    /// Whether remotes may be folders, and at private addresses.
    pub private_remotes: bool,
    /// How many builds run at a time on the host.
    pub at_a_time: NonZeroUsize,
    /// What commands find beside the host's system.
    pub tools: Vec<PathBuf>,
}

impl Handover {
    /// What `host` has to know to build `request` for `by`: in a sandbox where that works, of any remote, one build at a time.
    #[must_use]
    pub fn new(request: BuildRequest, by: Principal, host: &HostName) -> Self {
        Self {
            format: FORMAT,
            request: request.with_on(None),
            by,
            builder: format!("tag:deploy,2026:builder/host/{host}"),
            sandbox: SandboxUse::default(),
            private_remotes: true,
            at_a_time: NonZeroUsize::MIN,
            tools: Vec::new(),
        }
    }

    /// As text.
    ///
    /// # Errors
    /// `InvalidInput` if that is too long for an environment: the recipe is.
    pub fn to_json(&self) -> BackendResult<String> {
        let invalid = || BackendError::new(ErrorKind::InvalidInput, "build.hand_over");
        let text = serde_json::to_string(self).map_err(|err| invalid().because(err))?;
        if text.len() > LONGEST {
            return Err(invalid().because(format!(
                "the recipe is too long to be handed to a host: it may have {LONGEST} bytes"
            )));
        }
        Ok(text)
    }

    /// From such text.
    ///
    /// # Errors
    /// `InvalidInput` if it is none, or of a format that this program does not know.
    pub fn from_json(text: &[u8]) -> BackendResult<Self> {
        let invalid = || BackendError::new(ErrorKind::InvalidInput, "build.take_over");
        let format =
            serde_json::from_slice::<Format>(text).map_err(|err| invalid().because(err))?;
        if format.format != FORMAT {
            return Err(invalid().because(format!(
                "what is to be built is written in format {}, and this program knows {FORMAT}: install the version of whoever asks",
                format.format
            )));
        }
        serde_json::from_slice(text).map_err(|err| invalid().because(err))
    }
}

/// What every format begins with.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What a host says of a build that is over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HostReport {
    format: u32,
    pub(crate) build: Build,
}

impl HostReport {
    pub(crate) const fn new(build: Build) -> Self {
        Self { format: FORMAT, build }
    }

    /// Reads one, which may be by anybody.
    pub(crate) fn from_json(text: &[u8]) -> Result<Build, String> {
        let format: Format = serde_json::from_slice(text).map_err(|err| err.to_string())?;
        if format.format != FORMAT {
            return Err(format!("it is written in format {}", format.format));
        }
        serde_json::from_slice::<Self>(text).map(|it| it.build).map_err(|err| err.to_string())
    }
}

/// What is run on hosts: always the same, so that it is in the store once. What changes comes as parameters.
const SCRIPT: &str = r#"# Builds on this host what is asked for, and leaves what comes of it to be collected.
program=$P_PROGRAM
command -v "$program" >/dev/null || {
	echo "== this host has no program \`$program\`: install deploy on it, or take another host"
	exit 127
}
printf '%s' "$P_REQUEST" >"$TMPDIR/request.json" || exit
unset P_REQUEST
exec "$program" build-here --request "$TMPDIR/request.json" --folder "${DEPLOY_PATH%/runs/*}/builds" --outputs "$DEPLOY_OUTPUT"
"#;

/// The descriptor with that script.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    pub(crate) archive: Vec<u8>,
    pub(crate) artifact: ArtifactRef,
}

impl Runner {
    pub(crate) fn new() -> BackendResult<Self> {
        let text = "format = 1\n\n[steps.run]\nscript = \"run.sh\"\n";
        let files = [
            PackedFile { path: descriptor::FILE_NAME, executable: false, bytes: text.as_bytes() },
            PackedFile { path: "run.sh", executable: false, bytes: SCRIPT.as_bytes() },
        ];
        let archive = pack_files(files, Limits::DESCRIPTOR, Vec::new())
            .map_err(|err| BackendError::new(ErrorKind::Internal, "build.runner").because(err))?;
        let size = u64::try_from(archive.len()).unwrap_or(u64::MAX);
        let artifact = ArtifactRef::new(Digest::of(&archive), size);
        Ok(Self { archive, artifact })
    }

    /// A release for one build: `handover`, by `program`, within `longest`.
    pub(crate) fn release(
        &self,
        build: &Build,
        program: &str,
        handover: String,
        longest: Duration,
        at: Timestamp,
    ) -> BackendResult<PlannedRelease> {
        let service = super::place::service_of(&build.request.service).map_err(internal)?;
        let id = format!("build-{}", build.id).parse().map_err(internal)?;
        let version = build.id.as_str().parse().map_err(internal)?;
        let mut step = Step::new(StepName::Run);
        step.timeout = longest;
        let (steps, by) = (vec![step], build.by.clone());
        let mut release = Release::new(id, service, version, self.artifact, steps, at, by);
        release.parameters = [
            ("PROGRAM".parse().map_err(internal)?, program.to_owned()),
            ("REQUEST".parse().map_err(internal)?, handover),
        ]
        .into();
        Ok(PlannedRelease::from(&release))
    }
}

/// What should not happen: all of it is made of names that were parsed before.
fn internal(err: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BackendError {
    BackendError::new(ErrorKind::Internal, "build.runner").because(err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::{
        conformance::sample::{at, name, principal},
        spec::{Recipe, Source},
    };
    use proptest::prelude::*;

    fn handover(commands: Vec<String>) -> Handover {
        let recipe = Recipe::new(commands, [(name("a"), name("a"))].into());
        let request = BuildRequest::new(
            name("web"),
            Source::new(name("file:///srv/git")),
            name("main"),
            recipe,
        );
        Handover::new(request, principal("ann"), &name("h1"))
    }

    proptest! {
        #[test]
        fn what_is_handed_over_arrives(commands in prop::collection::vec(".{0,40}", 0..5)) {
            let handover = handover(commands);
            let text = handover.to_json().unwrap();
            prop_assert_eq!(Handover::from_json(text.as_bytes()).unwrap(), handover.clone());
            let build = Build::queued(name("b1"), handover.request, principal("ann"), at(1));
            let report = serde_json::to_vec(&HostReport::new(build.clone())).unwrap();
            prop_assert_eq!(HostReport::from_json(&report), Ok(build));
        }

        #[test]
        fn anything_is_read_or_refused(place in any::<prop::sample::Index>(), byte in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            drop((Handover::from_json(&bytes), HostReport::from_json(&bytes)));
            let mut text = handover(vec!["true".to_owned()]).to_json().unwrap().into_bytes();
            *place.get_mut(&mut text) = byte;
            if let Ok(read) = Handover::from_json(&text) {
                prop_assert_eq!(Handover::from_json(read.to_json().unwrap().as_bytes()).unwrap(), read);
            }
        }
    }

    #[test]
    fn what_is_too_long_or_of_another_format_is_refused() {
        let long = handover(vec!["x".repeat(LONGEST)]).to_json().unwrap_err();
        assert_eq!(long.kind(), ErrorKind::InvalidInput);
        let text = handover(Vec::new()).to_json().unwrap();
        let other = text.replace("\"format\":1", "\"format\":2");
        assert!(Handover::from_json(other.as_bytes()).is_err());
    }
}
