//! What statements of provenance have in common that are about the same build.
use crate::problem::OrProblem as _;
use deploy_core::backend::{ArtifactReader, BackendError, ErrorKind};
use deploy_wire::Problem;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

/// The largest statement that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// What two builds of the same commit by the same recipe say alike. When they ran, what they printed and which name the revision had are their own.
const SAME: [&str; 9] = [
    "/_type",
    "/predicateType",
    "/subject",
    "/predicate/buildDefinition/buildType",
    "/predicate/buildDefinition/externalParameters/source",
    "/predicate/buildDefinition/internalParameters/identity",
    "/predicate/buildDefinition/internalParameters/isolation",
    "/predicate/buildDefinition/resolvedDependencies/0/digest",
    "/predicate/runDetails/builder/id",
];

/// What a statement says of how something came about, as far as it does not depend on when.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim([Option<Value>; SAME.len()]);

impl Claim {
    /// The claim of a statement. One that cannot be read claims nothing, and is like no other.
    pub(super) async fn read(statement: ArtifactReader) -> Result<Self, Problem> {
        let mut bytes = Vec::new();
        let mut statement = statement.take(LARGEST);
        let read = statement.read_to_end(&mut bytes).await;
        read.map_err(|err| {
            BackendError::new(ErrorKind::Unavailable, "provenance.read").because(err)
        })
        .or_problem()?;
        Ok(Self::of(&bytes))
    }

    fn of(statement: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(statement).unwrap_or_default();
        Self(SAME.map(|it| value.pointer(it).cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_about_what_and_not_about_when() {
        let statement = |commit: &str, at: &str| {
            let value = json!({
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{ "name": "package" }],
                "predicate": {
                    "buildDefinition": { "resolvedDependencies": [{ "digest": { "gitCommit": commit } }] },
                    "runDetails": { "metadata": { "startedOn": at } },
                },
            });
            Claim::of(value.to_string().as_bytes())
        };
        assert_eq!(statement("abc", "1"), statement("abc", "2"));
        assert_ne!(statement("abc", "1"), statement("abd", "1"));
        assert_ne!(Claim::of(b"{"), statement("abc", "1"));
    }
}
