//! What the server builds, and who may ask for that by a webhook.
use crate::problem::{invalid, usage};
use deploy_build::{Forge, SandboxUse};
use deploy_core::{
    id::{AccountName, SecretName, ServiceName},
    spec::{AbsolutePath, ParameterName, Selector},
};
use deploy_wire::Problem;
use serde::Deserialize;
use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BuildFile {
    enabled: Option<bool>,
    sandbox: Option<SandboxFile>,
    private_remotes: Option<bool>,
    at_a_time: Option<NonZeroUsize>,
    tools: Option<Vec<PathBuf>>,
    on: Option<Selector>,
    on_program: Option<String>,
    on_path: Option<AbsolutePath>,
    on_account: Option<AccountName>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SandboxFile {
    Never,
    Preferred,
    Required,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HookFile {
    forge: ForgeFile,
    service: ServiceName,
    secret: SecretName,
    #[serde(default)]
    release: bool,
    #[serde(default)]
    parameters: BTreeMap<ParameterName, String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ForgeFile {
    Gitea,
    #[serde(rename = "github")]
    GitHub,
    #[serde(rename = "gitlab")]
    GitLab,
}

/// How the server builds.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands::server) struct BuildConfig {
    pub(in crate::commands::server) sandbox: SandboxUse,
    /// Whether sources may lie on this machine, or at addresses that are not public.
    pub(in crate::commands::server) private_remotes: bool,
    pub(in crate::commands::server) at_a_time: NonZeroUsize,
    pub(in crate::commands::server) tools: Vec<PathBuf>,
    /// Where it builds; `None`: on its own machine.
    pub(in crate::commands::server) on: Option<HostsConfig>,
    pub(in crate::commands::server) hooks: BTreeMap<String, HookConfig>,
}

/// The hosts that build for the server.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands::server) struct HostsConfig {
    pub(in crate::commands::server) selector: Selector,
    pub(in crate::commands::server) program: Option<String>,
    /// Where everything lies there.
    pub(in crate::commands::server) path: Option<AbsolutePath>,
    /// Who builds there; `None`: who logs in.
    pub(in crate::commands::server) account: Option<AccountName>,
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands::server) struct HookConfig {
    pub(in crate::commands::server) forge: Forge,
    /// Whose builds it may start.
    pub(in crate::commands::server) service: ServiceName,
    /// Which secret of the service it is signed with.
    pub(in crate::commands::server) secret: SecretName,
    /// Whether a tag becomes a release.
    pub(in crate::commands::server) release: bool,
    /// What the scripts of that are given.
    pub(in crate::commands::server) parameters: BTreeMap<String, String>,
}

impl BuildFile {
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            enabled: self.enabled.or(below.enabled),
            sandbox: self.sandbox.or(below.sandbox),
            private_remotes: self.private_remotes.or(below.private_remotes),
            at_a_time: self.at_a_time.or(below.at_a_time),
            tools: self.tools.or(below.tools),
            on: self.on.or(below.on),
            on_program: self.on_program.or(below.on_program),
            on_path: self.on_path.or(below.on_path),
            on_account: self.on_account.or(below.on_account),
        }
    }

    /// How the server builds; `None` if it does not.
    pub(super) fn check(
        self,
        hooks: BTreeMap<String, HookFile>,
    ) -> Result<Option<BuildConfig>, Problem> {
        if !self.enabled.unwrap_or(false) {
            return match hooks.first_key_value() {
                None => Ok(None),
                Some((name, _)) => Err(usage(format_args!(
                    "`hooks.{name}` starts builds, and `build.enabled` is not said"
                ))),
            };
        }
        let hooks = hooks.into_iter().map(|(name, it)| Ok((name.clone(), it.check(&name)?)));
        let (program, path, account) = (self.on_program, self.on_path, self.on_account);
        let about_hosts = program.is_some() || path.is_some() || account.is_some();
        let on = match self.on {
            Some(selector) => Some(HostsConfig { selector, program, path, account }),
            None if about_hosts => {
                return Err(usage(
                    "`build.on_program`, `build.on_path` and `build.on_account` are about hosts, and `build.on` names none",
                ));
            }
            None => None,
        };
        Ok(Some(BuildConfig {
            sandbox: match self.sandbox {
                Some(SandboxFile::Never) => SandboxUse::Never,
                Some(SandboxFile::Preferred) => SandboxUse::Preferred,
                Some(SandboxFile::Required) | None => SandboxUse::Required,
            },
            private_remotes: self.private_remotes.unwrap_or(false),
            at_a_time: self.at_a_time.unwrap_or(NonZeroUsize::MIN),
            tools: self.tools.unwrap_or_default(),
            on,
            hooks: hooks.collect::<Result<_, Problem>>()?,
        }))
    }
}

impl HookFile {
    fn check(self, name: &str) -> Result<HookConfig, Problem> {
        let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
        let begins = name.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
        let ends = name.bytes().last().is_some_and(|it| it.is_ascii_alphanumeric());
        if !(begins && ends && name.len() <= 63 && name.bytes().all(plain)) {
            return Err(invalid(format_args!(
                "`hooks.{}`: a name has a-z, 0-9 and `-` in between, at most 63 of them",
                name.escape_debug()
            )));
        }
        if !self.release && !self.parameters.is_empty() {
            return Err(usage(format_args!(
                "`hooks.{name}.parameters` are those of a release, and `hooks.{name}.release` makes none"
            )));
        }
        let parameters = self.parameters.into_iter().map(|(name, it)| (name.to_string(), it));
        Ok(HookConfig {
            forge: match self.forge {
                ForgeFile::Gitea => Forge::Gitea,
                ForgeFile::GitHub => Forge::GitHub,
                ForgeFile::GitLab => Forge::GitLab,
            },
            service: self.service,
            secret: self.secret,
            release: self.release,
            parameters: parameters.collect(),
        })
    }
}
