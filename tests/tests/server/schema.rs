//! Schemathesis against the description that a server gives of itself.
use crate::lab::Lab;
use deploy_test_support::{served::Served, skip::skipped};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What would end the run, or never end: event streams, and taking away the token that asks.
const LEFT_OUT: [&str; 3] = [
    "/api/v1/rollouts/{rollout}/events",
    "/api/v1/rollouts/{rollout}/logs",
    "/api/v1/tokens/{token}",
];
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance";

/// Names of what is there, so that more is reached than errors.
const KNOWN: &str = r#"[parameters]
"path.host" = "web-1"
"path.other" = "web-1"
"path.release" = "web-1"
"path.service" = "web"
"#;

#[test]
fn whatever_is_sent_the_answer_is_one_that_is_described() {
    let Some(program) = schemathesis() else {
        skipped(
            "the API against its description",
            "`cargo xtask pypi` installs schemathesis, which it takes",
        );
        return;
    };
    for config in ["", KNOWN] {
        let lab = Lab::new();
        lab.furnish();
        let served = lab.serve();
        fs::write(lab.folder.path().join("schemathesis.toml"), config).unwrap();
        run(&program, &lab, &served);
        assert!(!lab.log().contains("panicked"), "{}", lab.log());
    }
}

/// Where `cargo xtask pypi` puts it.
fn schemathesis() -> Option<PathBuf> {
    let exe = env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap();
    Some(target.join("schemathesis/bin/schemathesis")).filter(|it| it.is_file())
}

fn run(program: &Path, lab: &Lab, served: &Served) {
    let address = served.address.as_ref().unwrap();
    let mut command = Command::new(program);
    command
        .args(["run", &format!("http://{address}/api/v1/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {}", served.token.as_ref().unwrap())])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--seed", "1"])
        .args(["--max-examples", "15", "--max-time", "45", "--request-timeout", "10"])
        .args(["--no-shrink", "--continue-on-failure", "--warnings", "off"]);
    for path in LEFT_OUT {
        command.args(["--exclude-path", path]);
    }
    let said = command.current_dir(lab.folder.path()).stdin(Stdio::null()).output().unwrap();
    let out = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{out}\n{}", String::from_utf8_lossy(&said.stderr));
    let cases: Option<usize> = out.lines().find_map(|line| {
        line.trim().split_once(" generated").and_then(|(count, _)| count.parse().ok())
    });
    eprintln!("schemathesis: {cases:?} requests");
    assert!(cases.is_some_and(|it| it > 300), "{cases:?} requests are too few:\n{out}");
}
