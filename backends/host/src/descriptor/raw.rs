//! `descriptor.toml` as it is written, with the place of everything that can be wrong. Nothing unknown is let through.
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::{Spanned, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDescriptor {
    pub(super) format: Spanned<u32>,
    pub(super) start: Option<Spanned<RawStart>>,
    pub(super) stop: Option<Spanned<RawStop>>,
    pub(super) verify: Option<Spanned<RawVerify>>,
    pub(super) install: Option<Spanned<RawInstall>>,
    #[serde(default)]
    pub(super) steps: RawSteps,
    #[serde(default)]
    pub(super) parameters: BTreeMap<Spanned<String>, Spanned<RawParameter>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStart {
    pub(super) unit: Option<Spanned<String>>,
    pub(super) command: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStop {
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) command: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVerify {
    pub(super) http: Option<Spanned<String>>,
    pub(super) status: Option<Spanned<u16>>,
    pub(super) contains: Option<Spanned<String>>,
    pub(super) tcp: Option<Spanned<String>>,
    pub(super) command: Option<Spanned<String>>,
    pub(super) unit: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInstall {
    pub(super) keep_releases: Spanned<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSteps {
    pub(super) fetch: Option<Spanned<RawStep>>,
    pub(super) pre_stop: Option<Spanned<RawStep>>,
    pub(super) drain: Option<Spanned<RawStep>>,
    pub(super) stop: Option<Spanned<RawStep>>,
    pub(super) install: Option<Spanned<RawStep>>,
    pub(super) rollback: Option<Spanned<RawStep>>,
    pub(super) start: Option<Spanned<RawStep>>,
    pub(super) verify: Option<Spanned<RawStep>>,
    pub(super) undrain: Option<Spanned<RawStep>>,
    pub(super) post: Option<Spanned<RawStep>>,
    pub(super) run: Option<Spanned<RawStep>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    pub(super) script: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) effect: Option<Spanned<RawEffect>>,
    pub(super) check: Option<Spanned<String>>,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawEffect {
    Check,
    Idempotent,
    Once,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawParameter {
    #[serde(rename = "type", default)]
    pub(super) kind: RawType,
    pub(super) min: Option<Spanned<i64>>,
    pub(super) max: Option<Spanned<i64>>,
    pub(super) max_length: Option<Spanned<usize>>,
    pub(super) multiline: Option<Spanned<bool>>,
    pub(super) allowed: Option<Spanned<Vec<Spanned<Value>>>>,
    pub(super) default: Option<Spanned<Value>>,
    pub(super) required: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) description: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawType {
    Boolean,
    Integer,
    #[default]
    String,
}
