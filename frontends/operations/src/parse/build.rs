//! How a service is built.
use super::{field, refused};
use crate::problem::invalid;
use deploy_core::spec::{ArchiveFormat, BuildLimits, BuildSpec, Recipe, Source};
use deploy_wire::{self as wire, Problem};
use std::{collections::BTreeMap, fmt::Display, num::NonZeroU64, str::FromStr, time::Duration};

/// The build that is asked for.
pub(super) fn spec(asked: &wire::BuildSpec) -> Result<BuildSpec, Problem> {
    let mut source = Source::new(field("build.remote", &asked.remote)?);
    source.credential =
        asked.credential.as_ref().map(|it| field("build.credential", it)).transpose()?;
    let outputs = pairs("build.outputs", &asked.outputs)?;
    let mut recipe = Recipe::new(asked.commands.clone(), outputs)
        .with_environment(pairs("build.environment", &asked.environment)?)
        .with_secrets(pairs("build.secrets", &asked.secrets)?)
        .with_archive(archive(&asked.archive)?)
        .with_limits(limits(asked)?)
        .with_network(asked.network);
    recipe.descriptor =
        asked.descriptor.as_ref().map(|it| field("build.descriptor", it)).transpose()?;
    recipe
        .check()
        .map_err(|why| invalid(format_args!("`build`: {why}")).with_context("field", "build"))?;
    Ok(BuildSpec::new(source, recipe))
}

fn pairs<K: FromStr<Err: Display> + Ord, V: FromStr<Err: Display>>(
    name: &str,
    asked: &BTreeMap<String, String>,
) -> Result<BTreeMap<K, V>, Problem> {
    asked
        .iter()
        .map(|(key, value)| Ok((field(name, key)?, field(&format!("{name}.{key}"), value)?)))
        .collect()
}

fn archive(text: &str) -> Result<ArchiveFormat, Problem> {
    match text {
        "tar.gz" => Ok(ArchiveFormat::TarGz),
        "tar.zst" => Ok(ArchiveFormat::TarZst),
        _ => Err(refused("build.archive", "it must be `tar.gz` or `tar.zst`")),
    }
}

fn limits(asked: &wire::BuildSpec) -> Result<BuildLimits, Problem> {
    let positive = |name: &str, number: u64| {
        NonZeroU64::new(number)
            .ok_or_else(|| refused(&format!("build.{name}"), "it must be more than 0"))
    };
    let mut limits = BuildLimits::default();
    limits.time = Duration::from_millis(positive("time_limit_ms", asked.time_limit_ms)?.get());
    limits.memory =
        asked.memory_limit_bytes.map(|it| positive("memory_limit_bytes", it)).transpose()?;
    limits.processes = positive("process_limit", asked.process_limit)?;
    limits.log = positive("log_limit_bytes", asked.log_limit_bytes)?;
    limits.disk = positive("disk_limit_bytes", asked.disk_limit_bytes)?;
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked() -> wire::BuildSpec {
        serde_json::from_str(
            r#"{"remote": "https://git.example.com/web", "outputs": {"bin/web": "out/web"}}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_is_said_is_read_back() {
        let mut full = asked();
        full.credential = Some("git".to_owned());
        full.commands = vec!["make".to_owned()];
        full.environment = [("A".to_owned(), "b c".to_owned())].into();
        full.secrets = [("TOKEN".to_owned(), "npm".to_owned())].into();
        full.descriptor = Some("deploy".to_owned());
        full.archive = "tar.zst".to_owned();
        (full.network, full.memory_limit_bytes) = (true, Some(1 << 30));
        for asked in [asked(), full] {
            assert_eq!(wire::BuildSpec::from(&spec(&asked).unwrap()), asked);
        }
    }

    #[test]
    fn the_field_that_means_nothing_is_named() {
        type Change = fn(&mut wire::BuildSpec);
        let changes: [(&str, Change); 10] = [
            ("build.remote", |it| it.remote = "http://x/y".to_owned()),
            ("build.credential", |it| it.credential = Some("A B".to_owned())),
            ("build.environment", |it| it.environment = [("1A".to_owned(), String::new())].into()),
            ("build.secrets.A", |it| it.secrets = [("A".to_owned(), "../x".to_owned())].into()),
            ("build.outputs.web", |it| it.outputs = [("web".to_owned(), "/etc".to_owned())].into()),
            ("build.descriptor", |it| it.descriptor = Some("..".to_owned())),
            ("build.archive", |it| it.archive = "zip".to_owned()),
            ("build.time_limit_ms", |it| it.time_limit_ms = 0),
            ("build.process_limit", |it| it.process_limit = 0),
            ("build", |it| it.outputs.clear()),
        ];
        for (name, change) in changes {
            let mut asked = asked();
            change(&mut asked);
            let problem = spec(&asked).unwrap_err();
            assert_eq!(problem.context.get("field").map(String::as_str), Some(name), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn any_remote_is_taken_or_refused_without_its_password(text in "\\PC{0,40}") {
            let mut asked = asked();
            asked.remote = format!("https://ann:{text}@git.example.com/web");
            if let Err(problem) = spec(&asked) {
                prop_assert!(text.len() < 12 || !problem.message.contains(&text), "{}", problem);
            }
            asked.remote = text;
            drop(spec(&asked));
        }
    }
}
