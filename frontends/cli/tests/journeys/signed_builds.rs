//! Builds that become releases with parameters and signatures: of this machine, and of a server.
use crate::{
    builds::{PRINTS, prepare, prepare_with},
    lab::Lab,
    signed::{key, signed},
};
use serde_json::{Value, json};
use std::fs;

const NEEDY: &str = "format = 1\n[parameters.PORT]\ntype = \"integer\"\nmin = 1\nmax = 65535\nrequired = true\n[steps.verify]\nenabled = false\n";

const SERVER: &str = "[build]\nenabled = true\nsandbox = \"preferred\"\nprivate_remotes = true\n";

const BUILD: [&str; 5] = ["build", "web", "--rev", "v1.0.0", "--release"];

/// Takes journeys twice: where this machine builds, and where a server does.
macro_rules! both {
    ($($journey:ident,)*) => {
        mod here {
            $(#[test]
            fn $journey() {
                super::$journey(&crate::lab::Lab::new());
            })*
        }

        mod at_a_server {
            $(#[test]
            fn $journey() {
                super::$journey(&crate::lab::Lab::with_server_of(super::SERVER));
            })*
        }
    };
}

fn built(lab: &Lab, more: &[&str]) -> Value {
    lab.json(&[&BUILD, more].concat())
}

fn a_build_becomes_a_release_that_its_publishers_have_signed(lab: &Lab) {
    prepare_with(lab, PRINTS, NEEDY);
    let keys = ["first.key", "second.key"].map(|it| key(lab, it));
    let sign = ["--sign-key", "first.key", "--sign-key", "second.key", "-p", "PORT=8080"];
    let published = built(lab, &sign);
    let release = lab.json(&["release", "show", "web-1.0.0"]);
    assert_eq!(release["parameters"], json!({"PORT": "8080"}));
    assert_eq!(published["release"]["signed"], release["signed"]);
    let statement = signed(&release, &keys);
    assert_eq!(statement["package"], published["build"]["package"]);
    assert_eq!(statement["descriptor"], published["build"]["descriptor"]);
    assert_eq!((&statement["service"], &statement["version"]), (&json!("web"), &json!("1.0.0")));
    // The tree is that of the very bytes.
    let pulled = lab.json(&["artifact", "pull", "web", "1.0.0"]);
    let of = ["--package", pulled["file"].as_str().unwrap(), "--descriptor", "1.0.0"];
    let said = lab.ok(&[&["release", "statement", "web", "1.0.0"], &of[..]].concat()).stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(statement["manifest"], said["manifest"]);
    assert!(said["manifest"].is_string());
    // Signed by the same keys it is the same release; by others it is not.
    assert_eq!(built(lab, &sign)["release"], published["release"]);
    let other = lab.refused(&[&BUILD[..], &["-p", "PORT=8080"]].concat(), 13);
    assert_eq!(other["code"], "already_exists");
}

fn parameters_are_judged_before_anything_is_built(lab: &Lab) {
    prepare_with(lab, PRINTS, NEEDY);
    for (given, named) in [
        (&[][..], "parameter `PORT` is required"),
        (&["-p", "PORT=high"], "PORT"),
        (&["-p", "PORT=80", "-p", "HOST=a"], "HOST"),
    ] {
        let problem = lab.refused(&[&BUILD[..], given].concat(), 1);
        assert_eq!(problem["context"]["fault"], "parameters_refused", "{problem}");
        assert!(problem["message"].as_str().unwrap().contains(named), "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("--parameter NAME=VALUE"), "{problem}");
        let build = problem["context"]["build"].as_str().unwrap();
        let log = lab.ok(&["build", "log", build]).stdout;
        assert!(!log.contains("compiling"), "{log}");
    }
    assert_eq!(lab.json(&["artifact", "list"]), json!([]));
    let published = built(lab, &["-p", "PORT=80"]);
    assert_eq!(published["release"]["parameters"], json!({"PORT": "80"}));
    // What is not built again is judged as well.
    let problem = lab.refused(&[&BUILD[..], &["--version", "2"]].concat(), 1);
    assert_eq!(problem["context"]["fault"], "parameters_refused", "{problem}");
    // A package alone needs none.
    let pushed = lab.json(&["build", "web", "--rev", "v1.0.0", "--push"]);
    assert_eq!(pushed["build"]["same_as"], published["build"]["id"]);
}

fn a_descriptor_that_commands_make_is_judged_with_the_release(lab: &Lab) {
    let commands = format!("'mkdir made; cp deploy/descriptor.toml made/', {PRINTS}");
    prepare_with(lab, &commands, NEEDY);
    let service = fs::read_to_string(lab.path("service.toml")).unwrap();
    lab.write("service.toml", &service.replace("\"deploy\"", "\"made\""));
    lab.ok(&["service", "apply", "service.toml"]);
    let problem = lab.refused(&BUILD, 1);
    assert_eq!(problem["code"], "invalid_input", "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("`PORT` is required"), "{problem}");
    let published = built(lab, &["-p", "PORT=80"]);
    assert_eq!(published["build"]["same_as"], "b1");
    assert_eq!(published["release"]["parameters"], json!({"PORT": "80"}));
}

fn what_can_be_no_release_is_not_built_for_one(lab: &Lab) {
    prepare(lab, PRINTS);
    let service = fs::read_to_string(lab.path("service.toml")).unwrap();
    lab.write("service.toml", &service.replace("descriptor = \"deploy\"\n", ""));
    lab.ok(&["service", "apply", "service.toml"]);
    let problem = lab.refused(&BUILD, 1);
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("no descriptor, which a release needs"), "{message}");
    lab.write("password", "right");
    let make = ["key", "create", "publisher.key", "--password-file", "password"];
    lab.ok(&make);
    lab.write("password", "wrong");
    let sign = ["--sign-key", "publisher.key", "--password-file", "password"];
    let problem = lab.refused(&[&BUILD[..], &sign].concat(), 1);
    assert_eq!(problem["code"], "invalid_file");
    assert_eq!(lab.json(&["build", "list"]), json!([]));
    for alone in [&["-p", "PORT=80"][..], &["--sign-key", "publisher.key"]] {
        let build = [&["build", "web", "--rev", "v1.0.0", "--push"], alone].concat();
        let problem = lab.refused(&build, 2);
        assert!(problem["message"].as_str().unwrap().contains("`--release`"), "{problem}");
    }
}

both!(
    a_build_becomes_a_release_that_its_publishers_have_signed,
    parameters_are_judged_before_anything_is_built,
    a_descriptor_that_commands_make_is_judged_with_the_release,
    what_can_be_no_release_is_not_built_for_one,
);
