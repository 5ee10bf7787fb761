//! How artifacts came about: an in-toto statement (v1) with a predicate of SLSA provenance (v1), as JSON.
use crate::pack::{GZIP_LEVEL, ZSTD_LEVEL};
use deploy_core::{
    backend::Build,
    digest::Digest,
    spec::{ArchiveFormat, ArtifactRef},
};
use serde::Serialize;
use serde_json::{Value, json};

/// What a statement is.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What it says.
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// How to read what was built: git sources by a recipe.
const BUILD_TYPE: &str = "tag:deploy,2026:build/git-recipe/v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Subject>,
    predicate_type: &'static str,
    predicate: Predicate,
}

#[derive(Serialize)]
struct Subject {
    name: &'static str,
    digest: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: &'static str,
    external_parameters: Value,
    internal_parameters: Value,
    resolved_dependencies: Vec<Value>,
}

#[derive(Serialize)]
struct RunDetails {
    builder: Value,
    metadata: Value,
    byproducts: Vec<Value>,
}

/// What is known when a build is done.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    /// The build, which has its commit and its times.
    pub(crate) build: &'a Build,
    /// Who ran it, as a URI.
    pub(crate) builder: &'a str,
    pub(crate) isolation: &'static str,
    pub(crate) package: ArtifactRef,
    pub(crate) descriptor: Option<ArtifactRef>,
    pub(crate) log: Digest,
    pub(crate) ended_at: deploy_core::time::Timestamp,
}

impl Made<'_> {
    /// The statement, as JSON.
    pub(crate) fn statement(&self) -> serde_json::Result<Vec<u8>> {
        let subject = |name, it: ArtifactRef| Subject { name, digest: sha256(&it.digest) };
        let descriptor = self.descriptor.map(|it| subject("descriptor", it));
        serde_json::to_vec_pretty(&Statement {
            kind: STATEMENT,
            subject: [subject("package", self.package)].into_iter().chain(descriptor).collect(),
            predicate_type: PREDICATE,
            predicate: Predicate {
                build_definition: self.definition(),
                run_details: self.details(),
            },
        })
    }

    fn definition(&self) -> BuildDefinition {
        let request = &self.build.request;
        let uri = format!("git+{}@{}", request.source.remote, request.revision);
        let commit = self.build.commit.as_ref();
        BuildDefinition {
            build_type: BUILD_TYPE,
            external_parameters: json!({
                "service": request.service,
                "source": request.source.remote,
                "revision": request.revision,
                "recipe": request.recipe,
            }),
            internal_parameters: json!({
                "recipeDigest": request.recipe.digest(),
                "identity": self.build.identity(),
                "isolation": self.isolation,
                "archive": request.recipe.archive.as_str(),
                "encoder": encoder(request.recipe.archive),
            }),
            resolved_dependencies: vec![json!({ "uri": uri, "digest": { "gitCommit": commit } })],
        }
    }

    fn details(&self) -> RunDetails {
        RunDetails {
            builder: json!({ "id": self.builder, "version": { "deploy": env!("CARGO_PKG_VERSION") } }),
            metadata: json!({
                "invocationId": self.build.id,
                "startedOn": self.build.started_at.map(|it| it.to_string()),
                "finishedOn": self.ended_at.to_string(),
            }),
            byproducts: vec![json!({ "name": "log", "digest": sha256(&self.log) })],
        }
    }
}

fn sha256(digest: &Digest) -> Value {
    json!({ "sha256": digest.hex() })
}

/// All that makes other bytes of the same tar.
fn encoder(archive: ArchiveFormat) -> String {
    match archive {
        ArchiveFormat::TarZst => {
            format!("zstd {} level {ZSTD_LEVEL}, one thread", zstd::zstd_safe::version_string())
        }
        _ => format!("flate2 level {GZIP_LEVEL}"),
    }
}
