//! Unknown fields and impossible values, in every kind of file that people write.
use crate::lab::{Lab, service};
use std::fs;

/// A file that is wrong, the command that reads it, and where and how it is told.
struct Wrong {
    file: &'static str,
    text: String,
    at: (u32, u32),
    says: &'static str,
}

fn wrong(file: &'static str, text: impl Into<String>, at: (u32, u32), says: &'static str) -> Wrong {
    Wrong { file, text: text.into(), at, says }
}

/// Each is refused with its place, as text and for programs, and changes nothing.
fn all_are_refused(lab: &Lab, command: &[&str], files: Vec<Wrong>) {
    let before = lab.everything();
    for Wrong { file, text, at: (line, column), says } in files {
        lab.write(file, &text);
        let arguments = [command, &[file]].concat();
        let place = format!("error: {file}:{line}:{column}: ");
        let told = lab.run(&arguments).ended_with(1).stderr;
        assert!(told.starts_with(&place) && told.contains(says), "{place}{says}\n{told}");
        // The line of the file, and a mark below the place.
        let source = text.lines().nth(line as usize - 1).unwrap_or("");
        assert!(told.contains(&format!("  {line} | {source}\n")), "{text}\n{told}");

        let problem = lab.refused(&arguments, 1);
        assert_eq!(problem["code"], "invalid_file", "{text}\n{problem}");
        let context = &problem["context"];
        assert_eq!(context["file"], file, "{problem}");
        assert_eq!(context["line"], line.to_string(), "{problem}");
        assert_eq!(context["column"], column.to_string(), "{problem}");
    }
    assert_eq!(lab.everything(), before);
}

#[test]
fn services() {
    let lab = Lab::new();
    let file = |more: &str| format!("{}{more}", service(""));
    let head = |more: &str| format!("{more}\n{}", service(""));
    let budget = |more: &str| file(&format!("[strategy.failure_budget]\n{more}\n"));
    let files = [
        (head("colour = \"red\""), (1, 1), "unknown field `colour`, expected one of `name`"),
        (head("count = 0"), (1, 9), "expected a whole number from 1 to 4294967295"),
        (head("account = \"a b\""), (1, 11), "`a b` is not a valid account name"),
        (service("").replace("role=web", "role="), (4, 12), "is not a selector: column 6"),
        (service("").replace("/srv/web", "srv"), (3, 15), "it must begin with `/`"),
        (service("").replace("\"ann\"", "7"), (2, 9), "expected a string"),
        (service("wave = [\"1\"]"), (7, 1), "unknown field `wave`"),
        (service("waves = []"), (7, 9), "there must be at least one"),
        (service("waves = [\"0\"]"), (7, 10), "0 would never end"),
        (service("max_parallel = 0"), (7, 16), "a whole number from 1"),
        (service("confirm = \"maybe\""), (7, 11), "unknown value `maybe`, expected one of"),
        (service("on_failure = \"explode\""), (7, 14), "unknown value `explode`"),
        (service("bake_time = \"5 parsecs\""), (7, 13), "`5 parsecs`"),
        (service("healthy_deadline = \"0s\""), (7, 20), "must be longer than 0"),
        (service("retries = -1"), (7, 11), "a whole number from 0"),
        (service("stagger = { fixed = \"1s\", steady = 1 }"), (7, 27), "unknown field `steady`"),
        (service("staging = 3"), (7, 11), "`true`, `false`, or a table"),
        (service("staging = { max_parallel = 0 }"), (7, 28), "a whole number from 1"),
        (service("order = { spread = [] }"), (7, 9), "names no label"),
        (service("windows = [\"mon 25:00-26:00 Europe/Berlin\"]"), (7, 12), "`mon 25:00-26:00"),
        (service("windows = [\"mon 09:00-17:00 Mars/Base\"]"), (7, 12), "Mars/Base"),
        (service("freezes = [\"whenever\"]"), (7, 12), "`whenever`"),
        (budget("max_failed = \"101%\""), (9, 14), "`101%` is not a limit"),
        (budget("max_failde = 1"), (9, 1), "unknown field `max_failde`"),
        (budget("wave = { x = 1 }"), (9, 10), "unknown field `x`"),
        ("strategy = 1".to_owned(), (1, 12), "expected a table"),
        ("name = \"web".to_owned(), (1, 12), ""),
    ];
    let files = files.into_iter().map(|(text, at, says)| wrong("service.toml", text, at, says));
    all_are_refused(&lab, &["service", "apply"], files.collect());
}

#[test]
fn hosts_in_toml() {
    let lab = Lab::new();
    let host = |more: &str| format!("[[host]]\nname = \"a\"\n{more}\n");
    let files = [
        (host("colour = \"red\""), (3, 1), "unknown field `colour`, expected one of `name`"),
        ("zone = \"a\"\n".to_owned(), (1, 1), "unknown field `zone`, expected `host`"),
        (host("port = 99999"), (3, 8), "expected a whole number from 1 to 65535"),
        (host("address = \"a b\""), (3, 11), "`a b` is not an address"),
        (host("user = \"a b\""), (3, 8), "`a b` is not a valid account name"),
        (host("root = \"x\""), (3, 8), "it must begin with `/`"),
        (host("labels = { \"a b\" = \"c\" }"), (3, 12), "`a b` is not a valid label key"),
        (host("local = \"/x\"\nport = 1"), (1, 1), "`local` does not go with"),
        (host("[[host]]\nname = \"a\""), (4, 8), "host `a` stands on line 2 already"),
    ];
    let files = files.into_iter().map(|(text, at, says)| wrong("hosts.toml", text, at, says));
    all_are_refused(&lab, &["host", "import"], files.collect());
}

#[test]
fn hosts_in_csv() {
    let lab = Lab::new();
    let files = [
        ("name,colour\na,red\n", (1, 6), "unknown column `colour`"),
        ("name,port\na,22\nb,99999\n", (3, 3), "`99999` is not a port"),
        ("name,address\n\"a\", b c\n", (2, 6), "`b c` is not an address"),
        ("name,labels\na,zone\n", (2, 3), "`zone` is not KEY=VALUE"),
        ("name,label.zone\na,b c\n", (2, 3), "`b c` is not a valid label value"),
        ("name,port\na\n", (2, 1), "1 fields, where the first line has 2"),
        ("name,user\na,\"b\nc,d\n", (2, 3), "a quote is never closed"),
    ];
    let files = files.into_iter().map(|(text, at, says)| wrong("hosts.csv", text, at, says));
    all_are_refused(&lab, &["host", "import"], files.collect());
}

#[test]
fn inventories_of_ansible_in_ini() {
    let lab = Lab::new();
    let files = [
        ("[web:colour]\na\n", (1, 1), "`:colour` is not known, only `:children` and `:vars`"),
        ("[web]\na red\n", (2, 3), "`red` is not KEY=VALUE"),
        ("[web]\na ansible_port=99999\n", (2, 3), "`99999` is not a port"),
        ("[web]\na ansible_host='b c'\n", (2, 3), "`b c` is not an address"),
        ("[web]\na ansible_user='{{ who }}'\n", (2, 3), "templates are not evaluated"),
        ("[web]\na ansible_connection=winrm\n", (2, 3), "connection `winrm` is not known"),
        ("[web:children]\ndb\n", (2, 1), "there is no group `db`"),
        ("[web]\nweb[3:1]\n", (2, 1), "`web[3:1]`"),
    ];
    let files = files.into_iter().map(|(text, at, says)| wrong("hosts.ini", text, at, says));
    all_are_refused(&lab, &["host", "import"], files.collect());
}

#[test]
fn inventories_of_ansible_in_yaml() {
    let lab = Lab::new();
    let hosts = |more: &str| format!("web:\n  hosts:\n    a:\n      {more}\n");
    let files = [
        ("web:\n  colour: red\n".to_owned(), (2, 3), "unknown key `colour` of group `web`"),
        (hosts("ansible_port: 99999"), (4, 21), "`99999` is not a port"),
        (hosts("ansible_host: [b]"), (4, 21), "`ansible_host` must be plain text"),
        (hosts("ansible_user: b c"), (4, 21), "`b c` is not a valid account name"),
        ("web:\n  hosts:\n    - a\n".to_owned(), (3, 5), "hosts must be a map"),
        ("web:\n  hosts: {a: 1\n".to_owned(), (3, 1), "not YAML"),
        ("web:\n  hosts:\n    a:\n    a:\n".to_owned(), (4, 5), "stands on line 3 already"),
    ];
    let files = files.into_iter().map(|(text, at, says)| wrong("hosts.yaml", text, at, says));
    all_are_refused(&lab, &["host", "import"], files.collect());
}

#[test]
fn descriptors() {
    let lab = Lab::new();
    let of = |more: &str| format!("format = 1\n{more}\n");
    let files = [
        (of("colour = \"red\""), (2, 1), "unknown field `colour`, expected one of `format`"),
        ("format = 9\n".to_owned(), (1, 10), "`format = 1`"),
        (of("[steps.dance]\nscript = \"x\""), (2, 8), "dance"),
        (of("[start]\ncommand = \"\""), (3, 11), "a command is not empty"),
        (of("[verify]\nhttp = \"ftp://x\""), (3, 8), "`http://` or `https://`"),
        (of("[steps.post]\nscript = \"../x\""), (3, 10), "in the descriptor's folder"),
        (of("[steps.post]\nscript = \"x\"\ntimeout = \"0s\""), (4, 11), "at least `1s`"),
        (of("[parameters.PORT]\ntype = \"colour\""), (3, 8), "`colour`"),
        (of("[parameters.PORT]\ntype = \"integer\"\ndefault = \"x\""), (4, 11), "`type`"),
        (of("[parameters.port]\ntype = \"integer\""), (2, 13), "is not a valid parameter name"),
    ];
    let files = files.into_iter().map(|(text, at, says)| wrong("descriptor.toml", text, at, says));
    let files: Vec<_> = files.collect();
    let texts: Vec<_> = files.iter().map(|it| (it.text.clone(), it.at)).collect();
    all_are_refused(&lab, &["descriptor", "check"], files);

    // The same through a release, with the folder in the place, and with the archive.
    lab.service("");
    lab.write("package/file", "x");
    let before = lab.everything();
    for (text, (line, column)) in texts {
        lab.write("folder/descriptor.toml", &text);
        let packed = std::process::Command::new("tar")
            .args(["-C", lab.path("folder").to_str().unwrap(), "-czf"])
            .arg(lab.path("descriptor.tar.gz"))
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        for (path, named) in [
            ("folder", "folder/descriptor.toml"),
            ("descriptor.tar.gz", "descriptor.tar.gz: descriptor.toml"),
        ] {
            let create = ["release", "create", "web", "1", "--package", "package"];
            let problem = lab.refused(&[&create[..], &["--descriptor", path]].concat(), 1);
            assert_eq!(problem["code"], "invalid_file", "{problem}");
            let message = problem["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("{named}:{line}:{column}: ")), "{message}");
        }
    }
    assert_eq!(lab.everything(), before);
}

#[test]
fn plans() {
    let lab = Lab::new();
    lab.hosts(1);
    lab.service("");
    lab.release("1", ":");
    lab.ok(&["plan", "web", "web-1", "-o", "saved.json"]);
    let saved = fs::read_to_string(lab.path("saved.json")).unwrap();
    let at = |what: &str| {
        let line = saved.lines().position(|it| it.contains(what)).unwrap();
        (u32::try_from(line).unwrap() + 1, saved.lines().nth(line).unwrap().to_owned())
    };
    let (line, source) = at("\"seed\"");
    let indent = u32::try_from(source.find('"').unwrap()).unwrap() + 1;
    let with = |from: &str, to: &str| saved.replacen(from, to, 1);
    let files = vec![
        wrong("plan.json", with("\"digest\"", "\"digets\""), (3, 10), "unknown field `digets`"),
        wrong(
            "plan.json",
            with("\"seed\"", "\"colour\": 1, \"seed\""),
            (line, indent + 1),
            "would not have written",
        ),
        wrong("plan.json", "{", (1, 1), "the file was cut off"),
    ];
    all_are_refused(&lab, &["rollout", "start"], files);
    lab.write("plan.json", &with("\"web-1\"", "\"web-2\""));
    let problem = lab.refused(&["rollout", "start", "plan.json"], 1);
    assert!(problem["message"].as_str().unwrap().contains("its digest is another"), "{problem}");

    // What was saved is good; so is the same with other white space.
    let squeezed: String = saved.lines().map(|it| it.trim_start()).collect();
    lab.write("squeezed.json", &squeezed);
    lab.ok(&["rollout", "start", "squeezed.json"]);
}

#[test]
fn a_plan_of_a_newer_program_is_refused() {
    let lab = Lab::new();
    lab.hosts(1);
    lab.service("");
    lab.release("1", ":");
    lab.ok(&["plan", "web", "web-1", "-o", "plan.json"]);
    let saved = fs::read_to_string(lab.path("plan.json")).unwrap();
    lab.write("plan.json", &saved.replacen("\"format\": 1,", "\"format\": 99,", 1));
    let problem = lab.refused(&["rollout", "start", "plan.json"], 1);
    assert_eq!(problem["code"], "invalid_file");
    assert!(problem["message"].as_str().unwrap().contains("format 99"), "{problem}");
    assert_eq!(lab.version(1), None);
}

#[test]
fn what_is_no_text_or_no_file_is_told_as_that() {
    let lab = Lab::new();
    fs::create_dir(lab.path("folder.toml")).unwrap();
    fs::write(lab.path("binary.toml"), b"name = \"web\"\nowner = \"\xff\"").unwrap();
    fs::write(lab.path("large.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    for (file, code, says) in [
        ("folder.toml", "invalid_file", "folder.toml: it is a folder, and a file is wanted"),
        ("binary.toml", "invalid_file", "binary.toml:2:10: not text in UTF-8"),
        ("large.toml", "invalid_file", "large.toml: larger than 1048576 bytes"),
        ("missing.toml", "not_found", "missing.toml: No such file or directory"),
    ] {
        let problem = lab.refused(&["service", "apply", file], 1);
        assert_eq!(problem["code"], code, "{problem}");
        assert!(problem["message"].as_str().unwrap().starts_with(says), "{problem}");
    }
}
