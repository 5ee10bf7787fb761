//! Whether what a host says can be true. It may say anything: nothing of it is taken over that was not compared with what was asked for.
use super::handover::Handover;
use crate::{local::SandboxUse, provenance::Made};
use deploy_core::{
    backend::{Build, BuildReport, BuildState, Isolation},
    spec::{ArtifactRef, CommitId, GitRevision},
};
use serde::Deserialize as _;
use serde_json::Value;

/// The largest statement, in bytes.
const LARGEST_STATEMENT: u64 = 1 << 20;

/// What a host says of a build that is over, if it fits what was handed over.
///
/// # Errors
/// What does not fit, in words.
pub(crate) fn judge(said: &Build, handover: &Handover) -> Result<(), String> {
    if said.request != handover.request {
        return Err("it has built something else than it was asked for".to_owned());
    }
    if !said.state.is_over() {
        return Err("it calls a build over that is not".to_owned());
    }
    if said.state != BuildState::Succeeded {
        return Ok(());
    }
    let report = said.report.as_ref().ok_or("it does not say what it has made")?;
    let commit = said.commit.as_ref().ok_or("it does not say which commit it has built")?;
    judge_revision(&said.request.revision, commit, said.tag.as_ref())?;
    judge_report(report, handover)
}

/// Whether a revision can be this commit, and this tag: versions are called by tags. Which commit a branch or a tag has is the host's word.
fn judge_revision(
    revision: &GitRevision,
    commit: &CommitId,
    tag: Option<&GitRevision>,
) -> Result<(), String> {
    let name = revision.as_str();
    let is_commit =
        name.len() == commit.as_str().len() && name.bytes().all(|it| it.is_ascii_hexdigit());
    if is_commit && !name.eq_ignore_ascii_case(commit.as_str()) {
        return Err(format!("it has built commit {commit}"));
    }
    let tag = tag.map(GitRevision::as_str);
    let fits = match name.strip_prefix("refs/tags/") {
        Some(short) => tag == Some(short),
        None if is_commit || name.starts_with("refs/heads/") => tag.is_none(),
        None => tag.is_none_or(|it| it == name),
    };
    match fits {
        true => Ok(()),
        false => Err(format!("it calls `{name}` the tag `{}`", tag.unwrap_or_default())),
    }
}

fn judge_report(report: &BuildReport, handover: &Handover) -> Result<(), String> {
    let recipe = &handover.request.recipe;
    if report.archive != recipe.archive {
        return Err("its package is written in another way than it was asked for".to_owned());
    }
    if report.descriptor.is_some() != recipe.descriptor.is_some() {
        return Err(
            "it has made a descriptor where there is none, or none where there is one".to_owned()
        );
    }
    if handover.sandbox == SandboxUse::Required && report.isolation != Isolation::Sandbox {
        return Err("it has built without a sandbox".to_owned());
    }
    let most = recipe.limits.disk.get();
    let too_large = |it: &ArtifactRef| it.size > most;
    if too_large(&report.package) || report.descriptor.as_ref().is_some_and(too_large) {
        return Err(format!("what it has made has more than {most} bytes"));
    }
    if report.provenance.size > LARGEST_STATEMENT {
        return Err(format!("its statement has more than {LARGEST_STATEMENT} bytes"));
    }
    Ok(())
}

/// What a statement may say in its own way: by which versions, when, and what was printed.
const OWN: [&str; 4] = [
    "/predicate/buildDefinition/internalParameters/encoder",
    "/predicate/runDetails/builder/version",
    "/predicate/runDetails/metadata",
    "/predicate/runDetails/byproducts",
];
const REVISION: &str = "/predicate/buildDefinition/externalParameters/revision";

/// Whether a statement says what this builder would say of `said`, which fits `handover`. Where the host had built the same before, that may have been of another revision with
/// the same commit.
///
/// # Errors
/// What it does not say, in words.
pub(crate) fn judge_statement(
    statement: &[u8],
    said: &Build,
    handover: &Handover,
) -> Result<(), String> {
    let words = |err: serde_json::Error| err.to_string();
    let mut statement: Value = serde_json::from_slice(statement).map_err(words)?;
    let report = said.report.as_ref().ok_or("it does not say what it has made")?;
    let mut build = said.clone();
    if let Some(revision) = statement.pointer(REVISION).filter(|_| said.same_as.is_some()) {
        build.request.revision = GitRevision::deserialize(revision).map_err(words)?;
    }
    let made = Made {
        build: &build,
        builder: &handover.builder,
        isolation: report.isolation.as_str(),
        package: report.package,
        descriptor: report.descriptor,
        log: report.provenance.digest,
        ended_at: said.queued_at,
    };
    let expected = made.statement().and_then(|it| serde_json::from_slice(&it));
    let mut expected: Value = expected.map_err(words)?;
    for own in OWN {
        for it in [&mut statement, &mut expected] {
            it.pointer_mut(own).map(Value::take);
        }
    }
    for (part, what) in [
        ("/subject", "other artifacts"),
        ("/predicate/buildDefinition", "another build"),
        ("/predicate/runDetails/builder", "another builder"),
        ("", "something else"),
    ] {
        if statement.pointer(part) != expected.pointer(part) {
            return Err(format!("its statement is about {what}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::{
        backend::BuildRequest,
        conformance::sample::{at, name, principal},
        digest::Digest,
        spec::{Recipe, Source},
    };
    use serde_json::json;

    fn handover() -> Handover {
        let source = Source::new(name("file:///srv/git"));
        let recipe = Recipe::new(vec!["true".to_owned()], [(name("a"), name("a"))].into());
        let request = BuildRequest::new(name("web"), source, name("main"), recipe);
        Handover::new(request, principal("ann"), &name("h1"))
    }

    fn artifact(text: &str) -> ArtifactRef {
        ArtifactRef::new(Digest::of(text.as_bytes()), 4)
    }

    fn made(handover: &Handover) -> Build {
        let mut build =
            Build::queued(name("b1"), handover.request.clone(), principal("ann"), at(1));
        build.state = BuildState::Succeeded;
        build.commit = Some(name(&"a".repeat(40)));
        let archive = handover.request.recipe.archive;
        let (package, provenance) = (artifact("package"), artifact("provenance"));
        build.report = Some(BuildReport::new(package, archive, provenance, Isolation::Process));
        build
    }

    #[test]
    fn only_what_was_asked_for_is_believed() {
        type Lie = (fn(&mut Build), &'static str);
        let handover = handover();
        assert_eq!(judge(&made(&handover), &handover), Ok(()));
        let lies: [Lie; 8] = [
            (|it| it.request.service = name("api"), "something else"),
            (|it| it.state = BuildState::Building, "that is not"),
            (|it| it.commit = None, "which commit"),
            (|it| it.tag = Some(name("v9")), "the tag `v9`"),
            (|it| it.report = None, "what it has made"),
            (|it| report(it).descriptor = Some(artifact("d")), "a descriptor"),
            (|it| report(it).package.size = u64::MAX, "more than"),
            (|it| report(it).provenance.size = 2 << 20, "its statement has more"),
        ];
        for (lie, said) in lies {
            let mut build = made(&handover);
            lie(&mut build);
            let why = judge(&build, &handover).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }

    fn report(build: &mut Build) -> &mut BuildReport {
        build.report.as_mut().unwrap()
    }

    #[test]
    fn a_commit_and_a_sandbox_that_were_asked_for_are_insisted_on() {
        let mut handover = handover();
        handover.request.revision = name(&"b".repeat(40));
        assert!(judge(&made(&handover), &handover).unwrap_err().contains("commit aaaa"));
        handover.request.revision = name(&"a".repeat(40));
        assert_eq!(judge(&made(&handover), &handover), Ok(()));
        handover.sandbox = SandboxUse::Required;
        assert!(judge(&made(&handover), &handover).unwrap_err().contains("without a sandbox"));
    }

    #[test]
    fn a_tag_is_the_one_that_was_asked_for() {
        let commit = "a".repeat(40);
        for (revision, tag, fits) in [
            ("v1", None, true),
            ("v1", Some("v1"), true),
            ("v1", Some("v2"), false),
            ("refs/tags/v1", Some("v1"), true),
            ("refs/tags/v1", Some("refs/tags/v1"), false),
            ("refs/tags/v1", None, false),
            ("refs/heads/main", None, true),
            ("refs/heads/main", Some("main"), false),
            ("refs/heads/main", Some("refs/heads/main"), false),
            (&*commit, None, true),
            (&*commit, Some(&*commit), false),
            (&*commit.to_uppercase(), None, true),
        ] {
            let tag = tag.map(name);
            let judged = judge_revision(&name(revision), &name(&commit), tag.as_ref());
            assert_eq!(judged.is_ok(), fits, "{revision} as {tag:?}: {judged:?}");
        }
    }

    fn statement(build: &Build, handover: &Handover) -> Value {
        let report = build.report.as_ref().unwrap();
        let made = Made {
            build,
            builder: &handover.builder,
            isolation: report.isolation.as_str(),
            package: report.package,
            descriptor: report.descriptor,
            log: Digest::of(b"log"),
            ended_at: at(7),
        };
        serde_json::from_slice(&made.statement().unwrap()).unwrap()
    }

    #[test]
    fn a_statement_says_what_this_builder_would_say() {
        let handover = handover();
        let build = made(&handover);
        let judge = |it: &Value| judge_statement(it.to_string().as_bytes(), &build, &handover);
        let honest = statement(&build, &handover);
        assert_eq!(judge(&honest), Ok(()));
        let definition = "/predicate/buildDefinition";
        let other = json!("other");
        for (part, lie) in [
            ("/_type", other.clone()),
            ("/predicateType", other.clone()),
            ("/subject", json!([])),
            ("/subject/0/name", other.clone()),
            ("/subject/0/digest", json!({ "sha512": "0" })),
            (&*format!("{definition}/buildType"), other.clone()),
            (&*format!("{definition}/externalParameters/source"), other.clone()),
            (&*format!("{definition}/externalParameters/revision"), other.clone()),
            (&*format!("{definition}/externalParameters/recipe"), other.clone()),
            (&*format!("{definition}/internalParameters/identity"), other.clone()),
            (&*format!("{definition}/internalParameters/isolation"), json!("sandbox")),
            (&*format!("{definition}/resolvedDependencies"), json!([])),
            ("/predicate/runDetails/builder/id", other.clone()),
        ] {
            let mut told = honest.clone();
            *told.pointer_mut(part).unwrap() = lie;
            assert!(judge(&told).is_err(), "{part}");
        }
        let mut more = honest.clone();
        let subjects = more.pointer_mut("/subject").unwrap().as_array_mut().unwrap();
        subjects.push(json!({ "name": "other", "digest": { "sha512": "0" } }));
        assert!(judge(&more).unwrap_err().contains("other artifacts"));
        assert!(judge(&json!({})).is_err());
        assert!(judge_statement(b"not json", &build, &handover).is_err());
    }

    #[test]
    fn what_was_built_before_may_have_been_of_another_revision() {
        let handover = handover();
        let mut build = made(&handover);
        let mut before = build.clone();
        before.request.revision = name("v1");
        let statement = statement(&before, &handover).to_string();
        assert!(judge_statement(statement.as_bytes(), &build, &handover).is_err());
        build.same_as = Some(name("b1"));
        assert_eq!(judge_statement(statement.as_bytes(), &build, &handover), Ok(()));
    }
}
