//! `staging`, which is on, off, or on with so many hosts at a time.
use super::strategy::LimitFile;
use deploy_core::spec::Staging;
use serde::{Deserialize, Deserializer, de};
use std::{fmt, num::NonZeroU32};

/// A [`Staging`], which a file may also write as `true` or `false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StagingFile(pub(super) Option<Staging>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    max_parallel: Option<NonZeroU32>,
    min_staged: Option<LimitFile>,
}

impl<'de> Deserialize<'de> for StagingFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = StagingFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false`, or a table such as { max_parallel = 100 }")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<StagingFile, E> {
                Ok(StagingFile(on.then(Staging::default)))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<StagingFile, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let staging = table.max_parallel.map_or_else(Staging::default, Staging::new);
                let min_staged = table.min_staged.map(|it| it.0);
                Ok(StagingFile(Some(min_staged.map_or(staging, |it| staging.with_min_staged(it)))))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::spec::Limit;
    use proptest::prelude::*;

    #[derive(Deserialize)]
    struct File {
        staging: StagingFile,
    }

    fn parse(text: &str) -> Result<Option<Staging>, String> {
        let file = toml::from_str::<File>(&format!("staging = {text}"));
        file.map(|it| it.staging.0).map_err(|err| err.to_string())
    }

    #[test]
    fn it_is_on_or_off() {
        assert_eq!(parse("true"), Ok(Some(Staging::default())));
        assert_eq!(parse("false"), Ok(None));
    }

    #[test]
    fn waves_may_wait_for_it() {
        let nearly_all = Staging::default().with_min_staged(Limit::Percent(90));
        assert_eq!(parse("{ min_staged = '90%' }"), Ok(Some(nearly_all)));
        let five = Staging::new(NonZeroU32::MIN).with_min_staged(Limit::Count(5));
        assert_eq!(parse("{ max_parallel = 1, min_staged = 5 }"), Ok(Some(five)));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, says) in [
            ("'yes'", "expected `true`, `false`, or a table"),
            ("3", "expected `true`, `false`, or a table"),
            ("{ min_staged = '101%' }", "is not a limit"),
            ("{ min_staged = -1 }", "a number such as 3"),
            ("{ max_parallel = 0 }", "nonzero"),
            ("{ max_parallel = 1, parallel = 2 }", "unknown field `parallel`"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn every_number_of_hosts_but_none_is_one(count: u32) {
            let parsed = parse(&format!("{{ max_parallel = {count} }}")).ok().flatten();
            prop_assert_eq!(parsed, NonZeroU32::new(count).map(Staging::new));
        }

        #[test]
        fn no_text_is_more_than_refused(text: String) {
            let _refused = parse(&text);
        }
    }
}
