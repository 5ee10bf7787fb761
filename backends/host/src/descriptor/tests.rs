use super::*;
use deploy_core::spec::Effect;
use proptest::prelude::*;

fn problems(text: &str) -> Vec<String> {
    match Descriptor::parse(text) {
        Ok(_) => Vec::new(),
        Err(err) => err.problems().iter().map(ToString::to_string).collect(),
    }
}

fn given(pairs: &[(&str, &str)]) -> BTreeMap<ParameterName, String> {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect()
}

fn names(descriptor: &Descriptor) -> Vec<&'static str> {
    descriptor.steps.iter().map(|it| it.step.name.as_str()).collect()
}

#[test]
fn what_is_shown_as_the_default_is_the_default() {
    let shown = Descriptor::parse(default_descriptor()).unwrap();
    assert_eq!(shown, Descriptor::parse("format = 1").unwrap());
    assert_eq!(names(&shown), ["fetch", "install", "rollback"]);
}

#[test]
fn every_key_the_default_comments_on_is_one() {
    // Commented keys, each alone under its section: none of them may be unknown.
    let mut section = String::new();
    let mut checked = 0;
    for line in default_descriptor().lines().filter_map(|it| it.strip_prefix("# ")) {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            let found = problems(&format!("format = 1\n{section}\n{line}\n"));
            assert!(
                !found.iter().any(|it| it.contains("unknown field")),
                "{section} {line}: {found:?}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 15, "{checked}");
}

#[test]
fn steps_come_in_order_whatever_the_order_of_their_tables() {
    let descriptor = Descriptor::parse(
        "format = 1\n[steps.post]\nscript = 'p.sh'\n[steps.drain]\nscript = 'd.sh'\ntimeout = '30s'\n[start]\nunit = 'web'\n",
    )
    .unwrap();
    assert_eq!(
        names(&descriptor),
        ["fetch", "drain", "stop", "install", "rollback", "start", "verify", "post"]
    );
    assert_eq!(descriptor.step(StepName::Drain).unwrap().step.timeout, Duration::from_secs(30));
}

#[test]
fn defaults_may_run_again_and_scripts_may_not() {
    let text = "format = 1\n[start]\nunit = 'web'\n[steps.stop]\nscript = 's.sh'\n";
    let descriptor = Descriptor::parse(text).unwrap();
    let effect = |name| descriptor.step(name).unwrap().step.effect;
    assert_eq!(effect(StepName::Install), Effect::Idempotent);
    assert_eq!(effect(StepName::Start), Effect::Idempotent);
    assert_eq!(effect(StepName::Stop), Effect::Once);
    assert_eq!(effect(StepName::Verify), Effect::Idempotent);
    let text = "format = 1\n[start]\nunit = 'web'\n[steps.start]\neffect = 'once'\n";
    assert_eq!(
        Descriptor::parse(text).unwrap().step(StepName::Start).unwrap().step.effect,
        Effect::Once
    );
}

#[test]
fn a_check_is_kept_with_its_step() {
    let text =
        "format = 1\n[steps.drain]\nscript = 'd.sh'\neffect = 'check'\ncheck = 'sub/drained.sh'\n";
    let descriptor = Descriptor::parse(text).unwrap();
    let drain = descriptor.step(StepName::Drain).unwrap();
    assert_eq!(
        (drain.step.effect, drain.check.as_deref()),
        (Effect::Check, Some("sub/drained.sh"))
    );
}

#[test]
fn a_step_that_is_off_is_not_there() {
    let text = "format = 1\n[start]\ncommand = './x'\n[steps.verify]\nenabled = false\n[steps.fetch]\nenabled = false\n";
    assert_eq!(names(&Descriptor::parse(text).unwrap()), ["stop", "install", "rollback", "start"]);
}

#[test]
fn a_run_stands_alone() {
    let text = "format = 1\n[steps.run]\nscript = 'x.sh'\n";
    let descriptor = Descriptor::parse(text).unwrap();
    assert_eq!(names(&descriptor), ["run"]);
    assert!(descriptor.is_run());
    let both = "format = 1\n[start]\nunit = 'x'\n[steps.run]\nscript = 'x.sh'\n[steps.drain]\nscript = 'd.sh'\n";
    assert_eq!(problems(both).len(), 2, "{:?}", problems(both));
}

/// Every wrong text, and where and how it has to be told.
#[test]
fn what_is_wrong_is_told_with_its_place() {
    let wrong = [
        ("", "descriptor.toml:1:1: missing field `format`"),
        ("format = 2", "descriptor.toml:1:10: this program reads descriptors of `format = 1`"),
        ("format = 1\nstrat = 1", "descriptor.toml:2:1: unknown field `strat`, expected one of"),
        ("format = 1\n[steps.brew]\nscript = 'x'", "descriptor.toml:2:8: unknown field `brew`"),
        (
            "format = 1\n[steps.drain]\nscript = 'd'\nretries = 1",
            "descriptor.toml:4:1: unknown field `retries`",
        ),
        ("format = 1\n[steps.drain]\ntimeout = '5m'", "there is no default `drain` here"),
        (
            "format = 1\n[steps.fetch]\ntimeout = '5'",
            "descriptor.toml:3:11: `5` is not a length of time",
        ),
        ("format = 1\n[steps.fetch]\ntimeout = '0s'", "a timeout must be at least `1s`"),
        (
            "format = 1\n[steps.drain]\nscript = '../x'",
            "descriptor.toml:3:10: a script is named by its path",
        ),
        ("format = 1\n[steps.drain]\nscript = '/x'", "a script is named by its path"),
        ("format = 1\n[steps.drain]\nscript = 'a b'", "a script is named by its path"),
        (
            "format = 1\n[steps.drain]\nscript = 'd'\neffect = 'maybe'",
            "descriptor.toml:4:10: unknown variant `maybe`",
        ),
        ("format = 1\n[steps.drain]\nscript = 'd'\neffect = 'check'", "needs `check"),
        ("format = 1\n[steps.drain]\nscript = 'd'\ncheck = 'c'", "`check` goes with `effect"),
        ("format = 1\n[steps.verify]\nscript = 'd'\neffect = 'once'", "`verify` is read-only"),
        ("format = 1\n[steps.fetch]\nenabled = false\ntimeout = '1s'", "[steps.fetch] is off"),
        ("format = 1\n[start]", "descriptor.toml:2:1: [start] has either `unit` or `command`"),
        ("format = 1\n[start]\nunit = 'a'\ncommand = 'b'", "[start] has either"),
        ("format = 1\n[start]\nunit = 'a b'", "must not hold spaces"),
        ("format = 1\n[start]\ncommand = ' '", "a command is not empty"),
        ("format = 1\n[verify]", "[verify] needs at least one of"),
        (
            "format = 1\n[verify]\nstatus = 200\ntcp = 'a:1'",
            "descriptor.toml:3:10: this goes with `http`",
        ),
        ("format = 1\n[verify]\nhttp = 'localhost'", "a URL must begin with"),
        (
            "format = 1\n[verify]\nhttp = 'http://x'\nstatus = 99",
            "an HTTP status is from 100 to 599",
        ),
        ("format = 1\n[verify]\ntcp = '8080'", "write `ADDRESS:PORT`"),
        (
            "format = 1\n[verify]\ntcp = 'localhost:$P_PORT'",
            "descriptor.toml:3:7: `$P_PORT` is not declared",
        ),
        ("format = 1\n[verify]\ntcp = 'localhost:$PORT'", "`$PORT` is not known here"),
        ("format = 1\n[verify]\ntcp = 'localhost:$'", "a `$` must be followed by a name"),
        ("format = 1\n[install]\nkeep_releases = 0", "`keep_releases` is from 1 to 1000"),
        (
            "format = 1\n[parameters.port]\n",
            "descriptor.toml:2:13: `port` is not a valid parameter name",
        ),
        ("format = 1\n[parameters.P]\ntype = 'float'", "unknown variant `float`"),
        ("format = 1\n[parameters.P]\nmin = 1", "this goes with `type = \"integer\"`"),
        (
            "format = 1\n[parameters.P]\ntype = 'integer'\nmultiline = true",
            "this goes with `type = \"string\"`",
        ),
        (
            "format = 1\n[parameters.P]\ntype = 'integer'\nmin = 2\nmax = 1",
            "`min` is larger than `max`",
        ),
        (
            "format = 1\n[parameters.P]\ntype = 'integer'\ndefault = '1'",
            "not a value of the parameter's `type`",
        ),
        ("format = 1\n[parameters.P]\ntype = 'integer'\nmax = 5\ndefault = 9", "must be from"),
        ("format = 1\n[parameters.P]\nallowed = ['a']\ndefault = 'b'", "must be one of: a"),
        ("format = 1\n[parameters.P]\nallowed = []", "`allowed` must name at least one value"),
        (
            "format = 1\n[parameters.P]\nrequired = true\ndefault = 'b'",
            "a required parameter has no `default`",
        ),
        ("format = 1\n[parameters.P]\ndefault = \"a\\nb\"", "control character"),
    ];
    for (text, want) in wrong {
        let found = problems(text);
        assert!(found.iter().any(|it| it.contains(want)), "{text:?}: {found:?}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_in_order() {
    let found =
        problems("format = 1\n[verify]\ntcp = 'x'\n[install]\nkeep_releases = 0\n[steps.post]\n");
    let lines: Vec<_> = found.iter().map(|it| it.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["3", "5", "6"]);
}

#[test]
fn parameters_are_checked_and_filled_in() {
    let descriptor = Descriptor::parse(
        "format = 1\n[parameters.PORT]\ntype = 'integer'\nmin = 1\nmax = 10\ndefault = 7\n[parameters.MODE]\nallowed = ['a', 'b']\n\
         [parameters.DEBUG]\ntype = 'boolean'\nrequired = false\n[parameters.TEXT]\nmultiline = true\nmax_length = 5\nrequired = false\n",
    )
    .unwrap();
    let resolved = descriptor.resolve(&given(&[("MODE", "a")])).unwrap();
    assert_eq!(resolved, given(&[("MODE", "a"), ("PORT", "7")]));
    let resolved =
        descriptor.resolve(&given(&[("MODE", "b"), ("PORT", "+3"), ("TEXT", "a\nb")])).unwrap();
    assert_eq!(resolved, given(&[("MODE", "b"), ("PORT", "3"), ("TEXT", "a\nb")]));
    let wrong = [
        (vec![], "parameter `MODE` is required"),
        (vec![("MODE", "c")], "must be one of: a, b"),
        (vec![("MODE", "a"), ("PORT", "11")], "must be from 1 to 10"),
        (vec![("MODE", "a"), ("PORT", "x")], "must be a whole number"),
        (vec![("MODE", "a"), ("DEBUG", "yes")], "must be `true` or `false`"),
        (vec![("MODE", "a"), ("TEXT", "123456")], "longer than 5 bytes"),
        (vec![("MODE", "a"), ("TEXT", "a\0")], "NUL"),
        (
            vec![("MODE", "a"), ("NEW", "1")],
            "is not declared by the descriptor, which has: DEBUG, MODE, PORT, TEXT",
        ),
    ];
    for (pairs, want) in wrong {
        let err = descriptor.resolve(&given(&pairs)).unwrap_err().to_string();
        assert!(err.contains(want), "{pairs:?}: {err}");
    }
}

#[test]
fn templates_put_values_in_once() {
    let parameters = given(&[("A", "$P_B"), ("B", "two")]);
    let values =
        Values { parameters: &parameters, host: "h1", release: "r", service: "s", version: "v" };
    let fill = |text| Template::parse(text).unwrap().fill(&values);
    assert_eq!(fill("http://$DEPLOY_HOST:${P_B}x/$$$P_A"), "http://h1:twox/$$P_B");
    assert_eq!(fill("$P_NOT_GIVEN."), ".");
}

#[test]
fn a_folder_packs_to_the_same_bytes_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| std::fs::write(dir.path().join(path), text).unwrap();
    write(FILE_NAME, "format = 1\n[steps.post]\nscript = 'post.sh'\n");
    assert!(
        pack(dir.path())
            .unwrap_err()
            .to_string()
            .contains("post.sh: descriptor.toml names this script")
    );
    write("post.sh", "echo hi");
    let packed = pack(dir.path()).unwrap();
    std::fs::File::open(dir.path().join("post.sh"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(pack(dir.path()).unwrap(), packed);
    let bundle = read(&packed).unwrap();
    assert_eq!(bundle.files["post.sh"].bytes, b"echo hi");
    std::os::unix::fs::symlink("post.sh", dir.path().join("link")).unwrap();
    assert!(pack(dir.path()).unwrap_err().to_string().contains("link"));
}

#[test]
fn one_file_is_a_descriptor_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my.toml");
    std::fs::write(&path, "format = 1\n").unwrap();
    assert_eq!(read_dir(&path).unwrap().files.len(), 1);
}

/// The schema for editors and the parser know the same keys.
#[test]
fn the_schema_knows_the_keys_that_the_parser_knows() {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/descriptor.schema.json");
    let schema: serde_json::Value =
        serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let keys = |pointer: &str| {
        let object = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        let mut keys: Vec<_> = object.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let tables = [
        ("", "/properties"),
        ("[start]", "/properties/start/properties"),
        ("[stop]", "/properties/stop/properties"),
        ("[verify]", "/properties/verify/properties"),
        ("[install]", "/properties/install/properties"),
        ("[steps]", "/properties/steps/properties"),
        ("[steps.fetch]", "/$defs/step/properties"),
        ("[parameters.P]", "/$defs/parameter/properties"),
    ];
    for (table, pointer) in tables {
        let found = problems(&format!("format = 1\n{table}\nnot_a_key = 1\n")).remove(0);
        let mut known: Vec<_> = found.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        known.sort();
        assert_eq!(known, keys(pointer), "{table}: {found}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,200}") {
        drop(Descriptor::parse(&text));
        drop(Template::parse(&text));
    }

    #[test]
    fn no_mangled_descriptor_breaks_the_parser(at in 0usize..2_000, with in "\\PC{0,3}") {
        let mut text = default_descriptor().replace("# ", "");
        let at = (0..=at.min(text.len())).rev().find(|it| text.is_char_boundary(*it)).unwrap();
        text.insert_str(at, &with);
        drop(Descriptor::parse(&text));
    }

    #[test]
    fn what_resolves_resolves_to_itself(value in "\\PC{0,50}") {
        let descriptor = Descriptor::parse("format = 1\n[parameters.A]\nmultiline = true").unwrap();
        let values = descriptor.resolve(&given(&[("A", &value)])).unwrap();
        prop_assert_eq!(descriptor.resolve(&values).unwrap(), values);
    }
}
