//! The attempt folder, as the tar stream in which it travels.
//!
//! What all hosts of a release share is built once and shared; a host of its own costs a few hundred bytes. The launcher comes last, so that a
//! stream that was cut can have started nothing.
use super::{
    environment::environment,
    failure::invalid,
    offer::{Offer, assignments},
};
use crate::{
    descriptor::{Bundle, Descriptor, Script},
    duration::whole_seconds,
    quote::assign,
    shell,
};
use bytes::Bytes;
use deploy_core::{
    backend::AttemptRequest,
    digest::Digest,
    error::BackendResult,
    spec::{Effect, StepName},
};
use std::{collections::BTreeSet, io, sync::LazyLock, time::Duration};
use tar::{Builder, EntryType, Header};

const BLOCK: usize = 512;
/// How long processes have between TERM and KILL when a step's time is up.
const KILL_GRACE_SECONDS: u64 = 10;
/// How much longer than its time limits an attempt may take, with what ends its steps, before its host is asked.
const SLACK: Duration = Duration::from_secs(120);
/// How much an attempt may print.
const LOG_LIMIT: u64 = 64 << 20;

/// The end of every stream: the launcher, and the end of the archive.
static TAIL: LazyLock<Bytes> = LazyLock::new(|| {
    let mut tail = Segment::new();
    tail.file("launcher.sh", shell::LAUNCHER.as_bytes(), false);
    let mut bytes = tail.finish().unwrap_or_default();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes.into()
});

/// What all attempts at a release have in common.
#[derive(Debug)]
pub struct ReleaseParts {
    descriptor: Descriptor,
    takes_trees: bool,
    /// `steps/`, `lib/` and `descriptor/`.
    shared: Bytes,
}

/// What a script says that wants the archive itself.
const WANTS_ARCHIVE: &[u8] = b"DEPLOY_PACKAGE";
/// And one that installs.
const INSTALLS: &[u8] = b"du_install";
/// The steps before whose scripts a tree is put together.
const INSTALLING: [StepName; 3] = [StepName::Install, StepName::Rollback, StepName::Run];

impl ReleaseParts {
    pub(super) fn new(bundle: Bundle) -> io::Result<Self> {
        let mut segment = Segment::new();
        segment.folder("lib");
        segment.file("lib/deployutils.sh", shell::LIBRARY.as_bytes(), false);
        segment.folder("steps");
        for described in bundle.descriptor.steps.iter().filter(|it| it.script == Script::Default) {
            let name = described.step.name;
            if let Some(text) = shell::default_step(name) {
                segment.file(&format!("steps/{name}.sh"), text.as_bytes(), false);
            }
        }
        segment.folder("descriptor");
        let mut folders = BTreeSet::new();
        for (path, file) in &bundle.files {
            for (at, _) in path.match_indices('/') {
                let folder = path.get(..at).unwrap_or_default();
                if folders.insert(folder) {
                    segment.folder(&format!("descriptor/{folder}"));
                }
            }
            segment.file(&format!("descriptor/{path}"), &file.bytes, file.executable);
        }
        let takes_trees = takes_trees(&bundle);
        Ok(Self { descriptor: bundle.descriptor, takes_trees, shared: segment.finish()?.into() })
    }

    /// Whether its steps do with the tree in a package: no file of the descriptor names the archive, which only `du_install`
    /// touches then, and that is called by the steps alone that install.
    #[must_use]
    pub const fn takes_trees(&self) -> bool {
        self.takes_trees
    }

    /// What its descriptor says.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// What runs the step, relative to the attempt folder.
    fn path_of(&self, name: StepName) -> BackendResult<String> {
        let described = self.descriptor.step(name).ok_or_else(|| {
            invalid("executor.run")
                .with("step", name)
                .because("the release has a step that its descriptor does not have")
        })?;
        Ok(match &described.script {
            Script::Custom(path) => format!("descriptor/{path}"),
            Script::Default => format!("steps/{name}.sh"),
        })
    }
}

/// The stream of one attempt, but for the package.
#[derive(Clone, Debug)]
pub(super) struct AttemptParts {
    /// Comes first.
    pub(super) head: [Bytes; 2],
    /// Comes after the package.
    pub(super) tail: Bytes,
    /// The package whose bytes come in between.
    pub(super) package: Option<Digest>,
    /// How large it is.
    pub(super) package_size: u64,
    /// What may be sent in place of it.
    pub(super) offer: Option<Offer>,
    /// After so long every step is over, or nobody watches it.
    pub(super) longest: Duration,
}

impl AttemptParts {
    pub(super) fn new(
        request: &AttemptRequest,
        deploy_path: &str,
        parts: &ReleaseParts,
        offer: Option<Offer>,
    ) -> BackendResult<Self> {
        let package = request.release.package.filter(|_| request.keeps_release);
        let mut own = Segment::new();
        let mut attempt = attempt_file(request, deploy_path, parts, package.map(|it| it.digest))?;
        for (name, value) in assignments(offer.as_ref()) {
            assign(&mut attempt, name, &value);
        }
        own.file("attempt", attempt.as_bytes(), false);
        own.file("env", env_file(request, &parts.descriptor)?.as_bytes(), false);
        own.pipe("alive");
        own.folder("output");
        own.folder("tmp");
        let own = own.finish().map_err(|err| invalid("executor.run").because(err))?;
        Ok(Self {
            head: [own.into(), parts.shared.clone()],
            tail: TAIL.clone(),
            package: package.map(|it| it.digest),
            package_size: package.map_or(0, |it| it.size),
            offer,
            longest: longest(request),
        })
    }

    /// What `start` is told: the package's digest, or `-`.
    pub(super) fn package_word(&self) -> String {
        self.package.map_or_else(|| "-".to_owned(), |it| it.hex())
    }

    /// The header of the entry that holds `size` bytes of a package or a patch, and what fills up its last block.
    pub(super) fn package_frame(size: u64) -> (Vec<u8>, Vec<u8>) {
        let header = header("package.chunk", EntryType::Regular, 0o600, size);
        let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        (header.as_bytes().to_vec(), vec![0; (BLOCK - used) % BLOCK])
    }
}

fn attempt_file(
    request: &AttemptRequest,
    deploy_path: &str,
    parts: &ReleaseParts,
    package: Option<Digest>,
) -> BackendResult<String> {
    let previous = request.previous.as_ref();
    let key = format!("{}/{}", request.rollout, request.on.host.name);
    let size = request.release.package.filter(|_| package.is_some()).map_or(0, |it| it.size);
    let fields: [(&str, &str); 22] = [
        ("generation", &request.generation.to_string()),
        ("token", &request.token),
        ("service", request.on.service.as_str()),
        ("release", request.release.id.as_str()),
        ("version", request.release.version.as_str()),
        ("previous_release", previous.map_or("", |it| it.id.as_str())),
        ("previous_version", previous.map_or("", |it| it.version.as_str())),
        ("direction", request.direction.as_str()),
        ("keeps_release", if request.keeps_release { "yes" } else { "no" }),
        ("host", request.on.host.name.as_str()),
        ("deploy_path", deploy_path),
        ("package_digest", &package.map(|it| it.hex()).unwrap_or_default()),
        ("package_size", &size.to_string()),
        ("step_key_prefix", &Digest::of(key.as_bytes()).short()),
        ("kill_grace", &KILL_GRACE_SECONDS.to_string()),
        ("log_limit", &LOG_LIMIT.to_string()),
        ("min_healthy", &whole_seconds(request.health.min_healthy_time).to_string()),
        ("healthy_deadline", &whole_seconds(request.health.healthy_deadline).to_string()),
        ("steps", &steps(request, parts)?),
        ("checks", &checks(request, parts)),
        ("rerunnable", &rerunnable(request)),
        ("format", "1"),
    ];
    let mut text = String::new();
    for (name, value) in fields {
        assign(&mut text, name, value);
    }
    Ok(text)
}

fn longest(request: &AttemptRequest) -> Duration {
    let steps = request.steps().map(|it| {
        let deadline = match it.name {
            StepName::Verify => request.health.healthy_deadline,
            _ => Duration::ZERO,
        };
        it.timeout.saturating_add(deadline).saturating_add(SLACK)
    });
    steps.fold(Duration::ZERO, Duration::saturating_add)
}

fn steps(request: &AttemptRequest, parts: &ReleaseParts) -> BackendResult<String> {
    let steps = request.steps().enumerate().map(|(index, step)| {
        let seconds = whole_seconds(step.timeout).max(1);
        Ok(format!("{index}:{}:{seconds}:{}", step.name, parts.path_of(step.name)?))
    });
    let steps = steps.collect::<BackendResult<Vec<_>>>()?;
    if steps.is_empty() {
        return Err(invalid("executor.run").because("the attempt has no steps"));
    }
    Ok(steps.join(" "))
}

fn checks(request: &AttemptRequest, parts: &ReleaseParts) -> String {
    let checks = request.steps().filter_map(|step| {
        let check = parts.descriptor.step(step.name)?.check.as_ref()?;
        Some(format!("{}:descriptor/{check}", step.name))
    });
    checks.collect::<Vec<_>>().join(" ")
}

/// The steps that may simply be run again.
fn rerunnable(request: &AttemptRequest) -> String {
    let steps = request.steps().filter(|it| it.effect == Effect::Idempotent);
    steps.map(|it| it.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn env_file(request: &AttemptRequest, descriptor: &Descriptor) -> BackendResult<String> {
    let mut text = String::new();
    for (name, value) in environment(request, descriptor)? {
        assign(&mut text, &name, &value);
    }
    Ok(text)
}

/// A piece of a tar stream, without an end.
struct Segment {
    tar: Builder<Vec<u8>>,
    failure: Option<io::Error>,
}

impl Segment {
    fn new() -> Self {
        Self { tar: Builder::new(Vec::new()), failure: None }
    }

    fn folder(&mut self, path: &str) {
        self.append(path, EntryType::Directory, 0o700, &[]);
    }

    fn file(&mut self, path: &str, bytes: &[u8], executable: bool) {
        self.append(path, EntryType::Regular, if executable { 0o700 } else { 0o600 }, bytes);
    }

    fn pipe(&mut self, path: &str) {
        self.append(path, EntryType::Fifo, 0o600, &[]);
    }

    fn append(&mut self, path: &str, kind: EntryType, mode: u32, bytes: &[u8]) {
        let mut header = header("", kind, mode, bytes.len() as u64);
        if let Err(err) = self.tar.append_data(&mut header, path, bytes) {
            self.failure.get_or_insert(err);
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        if let Some(err) = self.failure {
            return Err(err);
        }
        let mut bytes = self.tar.into_inner()?;
        bytes.truncate(bytes.len().saturating_sub(2 * BLOCK));
        Ok(bytes)
    }
}

/// `path` must be short and plain.
fn header(path: &str, kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    if let Some(name) = header.as_gnu_mut().and_then(|it| it.name.get_mut(..path.len())) {
        name.copy_from_slice(path.as_bytes());
    }
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

fn takes_trees(bundle: &Bundle) -> bool {
    let installing = bundle.descriptor.steps.iter().filter(|it| INSTALLING.contains(&it.step.name));
    let installing: BTreeSet<_> = installing
        .filter_map(|it| match &it.script {
            Script::Custom(path) => Some(path),
            Script::Default => None,
        })
        .collect();
    bundle.files.iter().all(|(path, file)| {
        let elsewhere = !installing.contains(path) && mentions(&file.bytes, INSTALLS);
        !elsewhere && !mentions(&file.bytes, WANTS_ARCHIVE)
    })
}

fn mentions(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|it| it == words)
}
