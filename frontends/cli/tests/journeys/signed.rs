//! Releases that publishers sign, of what is in the store already.
use crate::{
    lab::{Lab, journeys},
    pulls::push,
};
use minisign::{PublicKey, SignatureBox};
use serde_json::Value;
use std::{fs, io::Cursor};

/// Makes a key without a password, and gives its public half.
pub(crate) fn key(lab: &Lab, file: &str) -> String {
    let made = lab.json(&["key", "create", file, "--no-password"]);
    made["public_key"].as_str().unwrap().to_owned()
}

/// What the publishers with these keys have signed of a release.
#[track_caller]
pub(crate) fn signed(release: &Value, keys: &[String]) -> Value {
    let (signed, text) = (&release["signed"], release["signed"]["statement"].as_str().unwrap());
    let signatures = signed["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), keys.len());
    for (signature, key) in signatures.iter().zip(keys) {
        let key = PublicKey::from_base64(key).unwrap();
        let signature = SignatureBox::from_string(signature.as_str().unwrap()).unwrap();
        minisign::verify(&key, &signature, Cursor::new(text), true, false, false).unwrap();
    }
    serde_json::from_str(text).unwrap()
}

/// What would be signed, but for when.
fn statement(lab: &Lab, package: &str, descriptor: &str) -> Value {
    let of = ["--package", package, "--descriptor", descriptor];
    let said = lab.ok(&[&["release", "statement", "web", "1.5.0"], &of[..]].concat()).stdout;
    without_time(serde_json::from_str(&said).unwrap())
}

fn without_time(mut statement: Value) -> Value {
    statement.as_object_mut().unwrap().remove("issued").unwrap();
    statement
}

fn the_tree_of_a_package_in_the_store_is_signed(lab: &Lab) {
    lab.service("");
    push(lab);
    let of_folders = statement(lab, "package", "descriptor");
    fs::remove_dir_all(lab.path("package")).unwrap();
    let of_store = statement(lab, "1.5.0", "1.5.0");
    assert_eq!(of_store, of_folders);
    assert!(of_store["manifest"].as_str().unwrap().starts_with("sha256:"), "{of_store}");

    let keys = ["first.key", "second.key"].map(|it| key(lab, it));
    let create = ["release", "create", "web", "1.5.0", "--package", "1.5.0"];
    let sign = ["--descriptor", "1.5.0", "--sign-key", "first.key", "--sign-key", "second.key"];
    let made = lab.run(&[&create[..], &sign, &["--output", "json"]].concat()).ended_with(0);
    assert_eq!(made.stderr, "");
    assert_eq!(without_time(signed(&made.json(), &keys)), of_store);
}

fn what_is_signed_elsewhere_without_its_tree_is_told(lab: &Lab) {
    lab.service("");
    push(lab);
    let keys = [key(lab, "publisher.key")];
    let of = ["--package", "1.5.0", "--descriptor", "1.5.0"];
    let sign = ["--sign-key", "publisher.key"];
    let create = ["release", "create", "web", "1.5.0"];
    let made = lab.json(&[&create[..], &of, &sign, &["--id", "web-first"]].concat());
    signed(&made, &keys);
    let text = made["signed"]["statement"].as_str().unwrap();
    lab.write("statement.json", text);
    lab.write("statement.json.minisig", made["signed"]["signatures"][0].as_str().unwrap());
    let elsewhere = ["--statement", "statement.json", "--signature", "statement.json.minisig"];
    let made = lab.ok(&[&create[..], &of, &elsewhere, &["--id", "web-second"]].concat());
    assert_eq!(made.stderr, "");

    // The server does not verify signatures, so that of another statement does here.
    let mut whole: Value = serde_json::from_str(text).unwrap();
    whole.as_object_mut().unwrap().remove("manifest").unwrap();
    lab.write("statement.json", &whole.to_string());
    let made = lab.ok(&[&create[..], &of, &elsewhere, &["--id", "web-third"]].concat());
    assert!(made.stderr.contains("says nothing of the tree in the package"), "{}", made.stderr);
}

#[test]
fn nothing_is_signed_of_bytes_that_are_not_those_of_the_digest() {
    let lab = Lab::new();
    lab.service("");
    push(&lab);
    key(&lab, "publisher.key");
    let digest = lab.json(&["artifact", "list", "--kind", "package"])[0]["digest"].clone();
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    let blob = lab.data_dir().join(format!("artifacts/blobs/sha256/{}/{hex}", &hex[..2]));
    lab.write("package/bin/web", "another");
    let place = ["--repository", "other", "--version", "1"];
    let other = lab.json(&[&["artifact", "push", "package"], &place[..]].concat());
    let hex = other["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    fs::remove_file(&blob).unwrap();
    let sound = lab.data_dir().join(format!("artifacts/blobs/sha256/{}/{hex}", &hex[..2]));
    fs::copy(sound, &blob).unwrap();
    let of = ["--package", "1.5.0", "--descriptor", "1.5.0", "--sign-key", "publisher.key"];
    let ran = lab.run(&[&["release", "create", "web", "1.5.0"], &of[..]].concat());
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(lab.json(&["release", "list", "web"]), serde_json::json!([]));
}

journeys!(
    the_tree_of_a_package_in_the_store_is_signed,
    what_is_signed_elsewhere_without_its_tree_is_told,
);
