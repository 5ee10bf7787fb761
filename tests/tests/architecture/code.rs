//! What must never appear where.
use crate::source::{Mention, Source, crates, sources};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;

/// Fails with every place in `sources` that `is_wrong`.
fn forbid(sources: &[Source], why: &str, is_wrong: impl Fn(&Source, &Mention) -> bool) {
    let found: Vec<_> = sources
        .iter()
        .flat_map(|source| source.shipped().map(move |mention| (source, mention)))
        .filter(|(source, mention)| is_wrong(source, mention))
        .map(|(source, mention)| format!("{}: {mention}", source.path.display()))
        .collect();
    assert!(found.is_empty(), "{why}: {found:#?}");
}

/// The modules of deploy-core that are there without any feature.
fn pure_modules() -> BTreeSet<String> {
    let library = &sources("deploy-core/src/lib.rs")[0].text;
    let tokens: Vec<_> = library.parse::<TokenStream>().unwrap().into_iter().collect();
    let mut pure = BTreeSet::new();
    let (mut needs_feature, mut is_module) = (false, false);
    for token in tokens {
        match token {
            TokenTree::Group(it) => needs_feature |= it.stream().to_string().contains("feature"),
            TokenTree::Ident(it) if it == "mod" => is_module = true,
            TokenTree::Ident(it) if is_module => {
                if !needs_feature {
                    pure.insert(it.to_string());
                }
                (needs_feature, is_module) = (false, false);
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) | TokenTree::Punct(_) => {}
        }
    }
    pure
}

fn pure_half() -> Vec<Source> {
    let modules = pure_modules();
    let sources = sources("deploy-core/src");
    let of_pure_module = |it: &Source| {
        let inside = it.path.strip_prefix("deploy-core/src").unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
        modules.contains(first.trim_end_matches(".rs"))
    };
    sources.into_iter().filter(of_pure_module).collect()
}

/// All that is a library: what an embedder builds.
fn libraries() -> Vec<Source> {
    let frontends =
        ["client", "operations", "server", "wire"].map(|it| format!("frontends/{it}/src"));
    let folders = [vec!["deploy-core/src".into()], crates("backends"), frontends.into()];
    let sources = folders.concat().into_iter().flat_map(|it| sources(&it));
    sources.filter(|it| !it.path.ends_with("src/main.rs")).collect()
}

fn shipped() -> Vec<Source> {
    let folders = [vec!["deploy-core/src".into()], crates("backends"), crates("frontends")];
    folders.concat().iter().flat_map(|it| sources(it)).collect()
}

#[test]
fn the_pure_half_is_what_we_think_it_is() {
    let modules = pure_modules();
    let needed = ["access", "digest", "error", "host", "id", "plan", "rollout", "spec", "time"];
    assert!(needed.iter().all(|it| modules.contains(*it)), "{modules:?}");
    for effects in ["backend", "conformance", "engine", "layer", "memory"] {
        assert!(!modules.contains(effects), "`{effects}` is built without a feature");
    }
}

#[test]
fn the_pure_half_touches_nothing() {
    let outside = [
        "async_trait",
        "std::env",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "tokio",
        "tracing",
    ];
    let waiting = ["async", "await"];
    let clocks = ["Instant", "SystemTime"];
    forbid(&pure_half(), "the pure half touches the world", |_, it| {
        outside.iter().any(|path| it.begins_with(path))
            || waiting.iter().chain(&clocks).any(|name| it.has(name))
            || it.ends_with("Timestamp::now")
            || it.ends_with("Zoned::now")
            || it.ends_with("TimeZone::system")
    });
}

/// The order of a hash map is another one in every process.
#[test]
fn the_pure_half_leaves_nothing_to_chance() {
    let chance = ["HashMap", "HashSet", "RandomState", "fastrand", "getrandom", "rand"];
    forbid(&pure_half(), "the pure half depends on chance", |_, it| {
        chance.iter().any(|name| it.has(name))
    });
}

#[test]
fn the_engine_names_no_backend() {
    let effects = [
        "std::env",
        "std::fs",
        "std::net",
        "std::process",
        "tokio::fs",
        "tokio::net",
        "tokio::process",
    ];
    forbid(&sources("deploy-core/src/engine"), "the engine goes past its traits", |_, it| {
        it.has("memory")
            || it.begins_with("tokio::time")
            || effects.iter().any(|path| it.begins_with(path))
    });
}

#[test]
fn a_backend_does_not_know_the_engine() {
    for backend in crates("backends") {
        forbid(&sources(&backend), "a backend knows the engine", |_, it| {
            it.begins_with("deploy_core::engine")
        });
    }
}

#[test]
fn a_library_is_silent() {
    let macros = ["dbg", "eprint", "eprintln", "print", "println"];
    forbid(&libraries(), "a library prints", |_, it| {
        it.is_macro && macros.iter().any(|name| it.ends_with(name))
            || ["io::stderr", "io::stdout"].iter().any(|path| it.ends_with(path))
    });
}

#[test]
fn a_library_leaves_the_process_alone() {
    forbid(&libraries(), "a library ends the process, or reads its surroundings", |_, it| {
        let surroundings =
            ["args", "current_dir", "home_dir", "set_var", "temp_dir", "var", "var_os", "vars"];
        it.ends_with("process::exit")
            || it.ends_with("process::abort")
            || surroundings.iter().any(|name| it.ends_with(&format!("env::{name}")))
    });
}

#[test]
fn time_enters_through_the_clock() {
    let clocks = ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"];
    let sleeps = ["thread::sleep", "time::sleep"];
    forbid(&shipped(), "time is read, or waited for, past the `Clock`", |_, it| {
        let time = clocks.iter().chain(&sleeps).any(|path| it.ends_with(path));
        time && !it.place.in_clock && !it.place.is_excused
    });
}

/// Time that a test can stop: what the core waits for it waits for through the `Clock`.
#[test]
fn the_core_waits_through_the_clock() {
    let mut core = sources("deploy-core/src");
    core.retain(|it| {
        !it.is_in("deploy-core/src/conformance") && !it.is_in("deploy-core/src/memory/clock.rs")
    });
    forbid(&core, "the core waits past the `Clock`", |_, it| it.begins_with("tokio::time"));
}

/// Filters and dashboards rely on the names that traces go by: they are constants, and each is one that is used.
#[test]
fn traces_go_by_constant_names() {
    let (names, others): (Vec<_>, Vec<_>) =
        libraries().into_iter().partition(|it| it.is_in("deploy-core/src/telemetry.rs"));
    for source in &others {
        let code = source.text.split("#[cfg(test)]\nmod ").next().unwrap();
        let traces = ["target: \"", "target = \"", " deploy.", "(deploy.", " error.kind"];
        let literal = code.lines().find(|line| {
            let code = line.split("//").next().unwrap();
            traces.iter().any(|it| code.contains(it))
        });
        assert_eq!(literal, None, "{}: not a constant of `telemetry`", source.path.display());
    }
    let constants = names[0].mentions.iter().filter(|it| it.path[0].chars().all(is_of_constant));
    let constants: Vec<&str> = constants.map(|it| it.path[0].as_str()).collect();
    assert!(constants.len() > 10, "{constants:?}");
    for name in constants {
        let name = format!("telemetry::{name}");
        let used = others.iter().flat_map(Source::shipped).any(|it| it.ends_with(&name));
        assert!(used, "nothing goes by `{name}`");
    }
}

fn is_of_constant(letter: char) -> bool {
    letter.is_ascii_uppercase() || letter == '_'
}

/// Nobody reads a file of a thousand lines.
#[test]
fn no_file_is_too_long() {
    const LONGEST: usize = 800;
    for source in shipped() {
        let tests = source.text.find("\n#[cfg(test)]\nmod ").unwrap_or(source.text.len());
        let lines = source.text[..tests].lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", source.path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    for source in shipped() {
        for mark in ["TODO", "FIXME", "XXX"] {
            assert!(!source.text.contains(mark), "{}: {mark}", source.path.display());
        }
    }
}
