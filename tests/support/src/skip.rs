//! Tests that cannot run where something is missing.
use std::{env, ffi::OsStr};

/// Says that `what` is not tested here, and what that `takes`.
///
/// # Panics
/// Where `CI` is set: nobody reads there what was skipped, and all that can be installed is to be.
#[track_caller]
pub fn skipped(what: &str, takes: &str) {
    let (said, fails) = told(what, takes, env::var_os("CI").as_deref());
    assert!(!fails, "{said}");
    eprintln!("{said}");
}

fn told(what: &str, takes: &str, ci: Option<&OsStr>) -> (String, bool) {
    let fails = ci.is_some_and(|it| !it.is_empty() && it != "false");
    let how = if fails { "NOT RUN, and CI is set" } else { "SKIPPED" };
    (format!("{how}: {what}: {takes}"), fails)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_elsewhere_fails_where_ci_is_set() {
        let told = |ci: Option<&str>| told("builds", "install bubblewrap", ci.map(OsStr::new));
        for not_ci in [None, Some(""), Some("false")] {
            assert_eq!(told(not_ci), ("SKIPPED: builds: install bubblewrap".to_owned(), false));
        }
        let (said, fails) = told(Some("true"));
        assert!(fails && said.ends_with("builds: install bubblewrap"), "{said}");
    }
}
