use crate::lab::{Lab, service};
use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

#[test]
fn a_bad_service_file_is_refused_with_line_and_column() {
    let lab = Lab::new();
    lab.write("service.toml", &service("waves = [\"2\", \"ten\"]"));
    let ran = lab.run(&["service", "apply", "service.toml"]).ended_with(1);
    let wanted = "error: service.toml:7:15: `ten` does not say how large waves are";
    assert!(ran.stderr.starts_with(wanted), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("  7 | waves = [\"2\", \"ten\"]\n    |               ^\n"),
        "{}",
        ran.stderr
    );

    lab.write("service.toml", &service("colour = \"red\""));
    let problem =
        lab.run(&["service", "apply", "service.toml", "--output", "json"]).ended_with(1).problem();
    assert_eq!(problem["code"], "invalid_file");
    let context = &problem["context"];
    assert_eq!((&context["line"], &context["column"]), (&"7".into(), &"1".into()));
    assert_eq!(lab.ok(&["service", "list", "--output", "json"]).stdout, "[]\n");
}

#[test]
fn a_bad_host_file_adds_no_host() {
    let lab = Lab::new();
    for (name, text, wanted) in [
        ("hosts.toml", "[[host]]\nname = \"a\"\n[[host]]\nname = \"b c\"\n", "hosts.toml:4:8: "),
        ("hosts.csv", "name,port\na,22\nb,x\n", "hosts.csv:3:3: `x` is not a port"),
        ("hosts.ini", "[web]\na\nb ansible_port=x\n", "hosts.ini:3:3: `x` is not a port"),
        ("hosts.yaml", "web:\n  hosts:\n    a:\n    b: [1\n", "hosts.yaml:"),
        ("hosts.txt", "a\n", "hosts.txt: the name does not say what format it has"),
    ] {
        lab.write(name, text);
        let ran = lab.run(&["host", "import", name]);
        assert!(matches!(ran.code, 1 | 2) && ran.stderr.contains(wanted), "{name}: {ran:?}");
        assert_eq!(lab.ok(&["host", "list", "--output", "json"]).stdout, "[]\n", "{name}");
    }
}

#[test]
fn inventories_are_imported_again_and_again() {
    let lab = Lab::new();
    lab.write("hosts.ini", "[web]\nweb-[1:3] ansible_user=ann\n[db]\ndb-1 colour=red\n");
    let dry = lab.ok(&["host", "import", "hosts.ini", "--dry-run", "--output", "json"]).json();
    assert_eq!((dry["added"].as_array().unwrap().len(), &dry["dry_run"]), (4, &true.into()));
    let first = lab.ok(&["host", "import", "hosts.ini", "--label", "site=x"]);
    assert!(first.stdout.contains("4 hosts new"), "{}", first.stdout);
    assert!(first.stderr.contains("variable `colour` of 1 host is not used"), "{}", first.stderr);
    let again = lab.ok(&["host", "import", "hosts.ini", "--label", "site=x"]);
    assert_eq!(again.stdout, "4 hosts as before\n");
    lab.write("hosts.ini", "[web]\nweb-1 ansible_user=bob\n");
    let changed = lab.ok(&["host", "import", "hosts.ini", "--label", "site=x"]);
    assert!(changed.stdout.contains("1 host changed: web-1"), "{}", changed.stdout);
    let selected = lab.ok(&["host", "list", "group=web,site=x", "--output", "json"]).json();
    assert_eq!(selected.as_array().unwrap().len(), 3);
}

#[test]
fn a_selector_is_checked_before_anything_else() {
    let lab = Lab::new();
    let ran = lab.run(&["host", "list", "role=="]).ended_with(2);
    assert!(ran.stderr.contains("role=="), "{}", ran.stderr);
    let ran = lab.run(&["host", "check", "role=none"]).ended_with(1);
    assert!(ran.stderr.contains("there is no such host"), "{}", ran.stderr);
}

#[test]
fn a_service_that_selects_nothing_has_no_plan() {
    let lab = Lab::new();
    lab.service("");
    lab.release("1", ":");
    let problem = lab.run(&["plan", "web", "web-1", "--output", "json"]).ended_with(1).problem();
    assert_eq!(problem["code"], "empty_selection");
    assert!(problem["message"].as_str().unwrap().contains("role=web"), "{problem}");
}

#[test]
fn archives_that_are_not_plain_reach_no_store() {
    let lab = Lab::new();
    lab.write("bad.tar.gz", "not an archive");
    lab.write("tree/file", "x");
    let tar = |arguments: &[&str]| {
        let done = Command::new("tar").current_dir(lab.path("")).args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    tar(&["-czf", "dots.tar.gz", "--transform", "s,^tree/file,../evil,", "-P", "tree/file"]);
    tar(&["-czf", "absolute.tar.gz", "--transform", "s,^tree/file,/etc/evil,", "-P", "tree/file"]);
    std::os::unix::fs::symlink("/etc/passwd", lab.path("tree/link")).unwrap();
    tar(&["-czf", "link.tar.gz", "tree"]);
    tar(&["-czf", "whole.tar.gz", "tree/file"]);
    let whole = fs::read(lab.path("whole.tar.gz")).unwrap();
    fs::write(lab.path("cut.tar.gz"), &whole[..whole.len() / 2]).unwrap();
    for (archive, rule) in [
        ("bad.tar.gz", "not_gzip"),
        ("dots.tar.gz", "escape"),
        ("absolute.tar.gz", "absolute_path"),
        ("link.tar.gz", "symbolic_link"),
        ("cut.tar.gz", "truncated"),
        ("tree", "symbolic_link"),
    ] {
        let push = [
            "artifact",
            "push",
            archive,
            "--repository",
            "web",
            "--version",
            "1",
            "--output",
            "json",
        ];
        let problem = lab.run(&push).ended_with(1).problem();
        assert_eq!(problem["code"], "invalid_archive", "{archive}: {problem}");
        assert_eq!(problem["context"]["rule"], rule, "{archive}: {problem}");
    }
    assert_eq!(lab.ok(&["artifact", "list", "--output", "json"]).stdout, "[]\n");
}

#[test]
fn a_version_never_changes() {
    let lab = Lab::new();
    lab.write("one/file", "1");
    lab.write("two/file", "2");
    let push = |path| lab.run(&["artifact", "push", path, "--repository", "web", "--version", "1"]);
    push("one").ended_with(0);
    push("one").ended_with(0);
    let refused = push("two").ended_with(13);
    assert!(
        refused.stderr.contains("version `1` of `web` is another package already"),
        "{}",
        refused.stderr
    );

    lab.service("");
    lab.release("2", ":");
    let create = |package| {
        lab.run(&[
            "release",
            "create",
            "web",
            "2",
            "--package",
            package,
            "--descriptor",
            "descriptor-2",
        ])
    };
    create("package-2").ended_with(0);
    let other = create("1").ended_with(13);
    assert!(other.stderr.contains("release `web-2` is there already"), "{}", other.stderr);
}

#[test]
fn rot_is_found() {
    let lab = Lab::new();
    lab.write("one/file", "1");
    lab.ok(&["artifact", "push", "one", "--repository", "web", "--version", "1"]);
    lab.ok(&["artifact", "verify"]);
    let blob = find(&lab.data_dir().join("artifacts/blobs"));
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&blob, bytes).unwrap();
    let ran = lab.run(&["artifact", "verify"]).ended_with(1);
    assert!(ran.stdout.starts_with("damaged sha256:"), "{}", ran.stdout);
}

fn find(folder: &std::path::Path) -> std::path::PathBuf {
    let entry = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    if entry.is_dir() { find(&entry) } else { entry }
}

#[test]
fn a_bad_descriptor_is_refused_with_line_and_column() {
    let lab = Lab::new();
    lab.write("d/descriptor.toml", "format = 1\n[steps.dance]\nscript = \"x\"\n");
    let ran = lab.run(&["descriptor", "check", "d"]).ended_with(1);
    assert!(ran.stderr.contains("d/descriptor.toml:2:"), "{}", ran.stderr);
    lab.write("d/descriptor.toml", "format = 1\n[steps.post]\nscript = \"none.sh\"\n");
    let ran = lab.run(&["descriptor", "check", "d"]).ended_with(1);
    assert!(ran.stderr.contains("none.sh"), "{}", ran.stderr);
    let default = lab.ok(&["descriptor", "show-default"]).stdout;
    lab.write("default.toml", &default);
    assert!(lab.ok(&["descriptor", "check", "default.toml"]).stdout.contains("install"));
}

#[test]
fn a_release_is_told_what_its_descriptor_asks_for() {
    let lab = Lab::new();
    lab.service("");
    lab.write("p/file", "x");
    let descriptor =
        "format = 1\n[parameters.PORT]\ntype = \"integer\"\nmin = 1\nmax = 9\nrequired = true\n";
    lab.write("descriptor.toml", descriptor);
    let create = |more: &[&str]| {
        let begin =
            ["release", "create", "web", "1", "--package", "p", "--descriptor", "descriptor.toml"];
        lab.run(&[&begin[..], more].concat())
    };
    assert!(create(&[]).ended_with(1).stderr.contains("PORT"));
    assert!(create(&["-p", "PORT=77"]).ended_with(1).stderr.contains("PORT"));
    assert!(create(&["-p", "COLOUR=red"]).ended_with(1).stderr.contains("COLOUR"));
    create(&["-p", "PORT=7"]).ended_with(0);
    let release = lab.ok(&["release", "show", "web-1", "--output", "json"]).json();
    assert_eq!(release["parameters"]["PORT"], "7");
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let lab = Lab::new();
    lab.write("data", "a file");
    let ran = lab.run(&["service", "list"]).ended_with(1);
    assert!(
        ran.stderr.contains("the data folder") && ran.stderr.contains("data"),
        "{}",
        ran.stderr
    );
    let problem = lab.run(&["service", "list", "--output", "json"]).problem();
    assert_eq!(problem["code"], "data_dir");
    let doctor = lab.run(&["doctor"]).ended_with(1);
    assert!(doctor.stdout.contains("failed  data folder"), "{}", doctor.stdout);
}

#[test]
fn a_database_that_cannot_be_used_is_left_alone() {
    let lab = Lab::new();
    lab.ok(&["service", "list"]);
    let database = lab.data_dir().join("deploy.db");
    for beside in ["deploy.db-wal", "deploy.db-shm"] {
        // It is there or not, by how the process before ended; SQLite would repair the database from it.
        drop(fs::remove_file(lab.data_dir().join(beside)));
    }
    fs::write(&database, "this is no database, but something that somebody may want to keep")
        .unwrap();
    let problem = lab.run(&["service", "list", "--output", "json"]).ended_with(1).problem();
    assert_eq!(problem["code"], "corrupt", "{problem}");
    assert!(fs::read_to_string(&database).unwrap().starts_with("this is no database"));
}

#[test]
fn somebody_elses_data_is_theirs() {
    if fs::metadata("/proc/self").unwrap().permissions().mode() == 0 {
        return;
    }
    let lab = Lab::new();
    lab.ok(&["service", "list"]);
    let given_away = Command::new("chown").arg("65534").arg(lab.data_dir()).status().unwrap();
    if !given_away.success() {
        // Only root can give a folder away, and only root could then still write to it.
        return;
    }
    lab.write("service.toml", &service(""));
    let ran = lab.run(&["service", "apply", "service.toml"]).ended_with(12);
    assert!(ran.stderr.contains("no rule allows it"), "{}", ran.stderr);
    lab.ok(&["service", "list"]);
}
