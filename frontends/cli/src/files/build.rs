use super::{Human, Source};
use deploy_core::{
    id::SecretName,
    spec::{
        self, ArchiveFormat, BuildLimits, BuildSpec, GitRemote, Recipe, RelativePath, VariableName,
    },
};
use deploy_wire::Problem;
use serde::Deserialize;
use std::{collections::BTreeMap, num::NonZeroU64};
use toml::Spanned;

/// The `[build]` table, as it is written. `docs/building.md` describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BuildFile {
    remote: GitRemote,
    credential: Option<SecretName>,
    #[serde(default)]
    commands: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<VariableName, String>,
    #[serde(default)]
    secrets: BTreeMap<VariableName, SecretName>,
    outputs: Spanned<BTreeMap<RelativePath, RelativePath>>,
    descriptor: Option<RelativePath>,
    #[serde(default)]
    archive: ArchiveFormat,
    #[serde(default)]
    network: bool,
    time_limit: Option<Human>,
    memory_limit_mib: Option<NonZeroU64>,
    process_limit: Option<NonZeroU64>,
    log_limit_kib: Option<NonZeroU64>,
    disk_limit_mib: Option<NonZeroU64>,
}

impl BuildFile {
    pub(super) fn check(self, source: &Source) -> Result<BuildSpec, Problem> {
        let mut limits = BuildLimits::default();
        limits.time = self.time_limit.map_or(limits.time, |it| it.0);
        limits.memory = self.memory_limit_mib.map(|it| it.saturating_mul(MIB));
        limits.processes = self.process_limit.unwrap_or(limits.processes);
        limits.log = self.log_limit_kib.map_or(limits.log, |it| it.saturating_mul(KIB));
        limits.disk = self.disk_limit_mib.map_or(limits.disk, |it| it.saturating_mul(MIB));
        let at = source.position_of(self.outputs.span().start);
        let mut from = spec::Source::new(self.remote);
        from.credential = self.credential;
        let mut recipe = Recipe::new(self.commands, self.outputs.into_inner())
            .with_environment(self.environment)
            .with_secrets(self.secrets)
            .with_archive(self.archive)
            .with_limits(limits)
            .with_network(self.network);
        recipe.descriptor = self.descriptor;
        recipe.check().map_err(|why| source.problem(Some(at), format_args!("`build`: {why}")))?;
        Ok(BuildSpec::new(from, recipe))
    }
}

const KIB: NonZeroU64 = NonZeroU64::MIN.saturating_mul(NonZeroU64::MIN.saturating_add(1_023));
const MIB: NonZeroU64 = KIB.saturating_mul(KIB);
