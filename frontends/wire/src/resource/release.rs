use super::millis;
use deploy_core::spec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A release: `release create` and `release show` print one, `release list` a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Release {
    /// Its name.
    pub id: String,
    /// Of which service.
    pub service: String,
    /// The version people know it by.
    pub version: String,
    /// The digest of what runs.
    pub package: Option<String>,
    /// The digest of how it is put there.
    pub descriptor: String,
    /// The steps of the descriptor, in order.
    pub steps: Vec<Step>,
    /// What scripts see as `P_<NAME>`.
    pub parameters: BTreeMap<String, String>,
    /// Where it came from.
    pub provenance: String,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// What its publishers have said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// A statement about a release, and the signatures on it. Hosts verify it; nobody else has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Signed {
    /// The statement, byte for byte as it was signed: a JSON document.
    pub statement: String,
    /// Signatures on it, each as minisign writes them.
    pub signatures: Vec<String>,
    /// Lists of keys that lead from the keys that hosts believe to those that have signed, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_lists: Vec<SignedKeys>,
}

/// A list of keys, and the signatures on it of those that went before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SignedKeys {
    /// The list, byte for byte as it was signed: a JSON document.
    pub list: String,
    /// Signatures on it, each as minisign writes them.
    pub signatures: Vec<String>,
}

impl From<&spec::Signed> for Signed {
    fn from(signed: &spec::Signed) -> Self {
        let keys = |it: &spec::SignedKeys| SignedKeys {
            list: it.list.clone(),
            signatures: it.signatures.clone(),
        };
        Self {
            statement: signed.statement.clone(),
            signatures: signed.signatures.clone(),
            key_lists: signed.key_lists.iter().map(keys).collect(),
        }
    }
}

impl From<&Signed> for spec::Signed {
    fn from(signed: &Signed) -> Self {
        let keys = |it: &SignedKeys| spec::SignedKeys::new(it.list.clone(), it.signatures.clone());
        Self::new(signed.statement.clone(), signed.signatures.clone())
            .with_key_lists(signed.key_lists.iter().map(keys).collect())
    }
}

/// One step of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Step {
    /// Which, such as `pre_stop`.
    pub name: String,
    /// How long it may take.
    pub timeout_ms: u64,
    /// What may follow an unknown outcome: `once`, `check` or `idempotent`.
    pub effect: String,
}

impl From<&spec::Release> for Release {
    fn from(release: &spec::Release) -> Self {
        let parameters = release.parameters.iter();
        Self {
            id: release.id.to_string(),
            service: release.service.to_string(),
            version: release.version.to_string(),
            package: release.package.map(|it| it.digest.to_string()),
            descriptor: release.descriptor.digest.to_string(),
            steps: release.steps.iter().map(Step::from).collect(),
            parameters: parameters.map(|(name, it)| (name.to_string(), it.clone())).collect(),
            provenance: release.provenance.clone(),
            created_at: release.created_at.to_string(),
            created_by: release.created_by.to_string(),
            signed: release.signed.as_ref().map(Signed::from),
        }
    }
}

impl From<&spec::Step> for Step {
    fn from(step: &spec::Step) -> Self {
        let effect = match step.effect {
            spec::Effect::Check => "check",
            spec::Effect::Idempotent => "idempotent",
            spec::Effect::Once => "once",
        };
        Self {
            name: step.name.to_string(),
            timeout_ms: millis(step.timeout),
            effect: effect.to_owned(),
        }
    }
}

/// What `release diff` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReleaseDiff {
    /// The one release.
    pub from: String,
    /// The other.
    pub to: String,
    /// What differs; empty if nothing does.
    pub changes: Vec<Change>,
}

/// One difference between two releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Change {
    /// What differs, such as `package` or `parameters.PORT`.
    pub field: String,
    /// What it was; null if it was not there.
    pub from: Option<String>,
    /// What it is; null if it is not there any more.
    pub to: Option<String>,
}
