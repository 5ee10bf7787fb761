//! What a build made, as a release that is signed here.
use crate::{
    app::App,
    commands::release::Parts,
    output::{Output, size},
    plane::{BuildPlane, id_of},
    signing::Signers,
};
use deploy_core::id::{ServiceName, Version};
use deploy_operations::parse::field;
use deploy_wire::{Artifact, Build, Problem, ProblemCode, Publication, PublishedBuild};

/// Puts what a build made into the store, and makes the release of it that `signers` have signed. What they sign is computed of the bytes that come back from there:
/// whoever has built, and whoever keeps them, is not asked what they are.
pub(super) async fn publish_signed(
    app: &App,
    builds: &dyn BuildPlane,
    service: &ServiceName,
    build: &Build,
    publication: Publication,
    signers: &Signers,
) -> Result<PublishedBuild, Problem> {
    let id = id_of(build)?;
    let pushed = Publication { version: publication.version.clone(), ..Publication::default() };
    let pushed = builds.publish(&id, &pushed).await?;
    let package = made(build, &pushed, "package", build.package.as_deref())?;
    let descriptor = made(build, &pushed, "descriptor", build.descriptor.as_deref())?;
    let version: Version = field("version", &package.version)?;
    // Whoever has built does not choose what is signed.
    if build.service != service.as_str() {
        return Err(not_asked(build, "service", &build.service));
    }
    if publication.version.as_ref().is_some_and(|it| *it != package.version) {
        return Err(not_asked(build, "version", &package.version));
    }
    app.output.note(format_args!("signing {service} {version}"));
    let plane = app.plane().await?;
    let parts = Parts { plane: &*plane, output: &app.output, service, version: &version };
    let (descriptor, _) = parts.descriptor(&descriptor.digest).await?;
    let mut package = parts.package(&package.digest).await?;
    let statement = parts.statement(&descriptor, &mut package).await?;
    let publication = Publication {
        version: Some(version.to_string()),
        signed: Some(signers.sign(&statement)?),
        ..publication
    };
    builds.publish(&id, &publication).await
}

/// What was put into the store as the `kind` that `build` says it has made.
fn made<'a>(
    build: &Build,
    pushed: &'a PublishedBuild,
    kind: &str,
    digest: Option<&str>,
) -> Result<&'a Artifact, Problem> {
    let found = pushed.artifacts.iter().find(|it| it.kind == kind);
    found.filter(|it| Some(it.digest.as_str()) == digest).ok_or_else(|| {
        let message =
            format!("what was put into the store is not the {kind} of build {}", build.id);
        Problem::new(ProblemCode::Corrupt, message)
            .with_hint("nothing was signed: build again")
            .with_context("build", &build.id)
    })
}

fn not_asked(build: &Build, what: &str, said: &str) -> Problem {
    let message = format!("build {} is of {what} `{said}`, which was not asked for", build.id);
    Problem::new(ProblemCode::Corrupt, message)
        .with_hint("nothing was signed: whoever builds says other than was asked")
        .with_context("build", &build.id)
}

/// Tells what became of a build.
pub(super) fn show_published(output: &Output, published: &PublishedBuild) {
    for it in &published.artifacts {
        output.line(format_args!(
            "{} {} {} is {} ({})",
            it.kind,
            it.repository,
            it.version,
            it.digest,
            size(it.size)
        ));
    }
    if let Some(release) = &published.release {
        output.line(format_args!("release {} is made", release.id));
    }
}
