use super::*;
use proptest::prelude::*;
use std::{fs, process::Command};

const RED: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const BLUE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

fn known(text: &str, name: &str) -> KnownKeys {
    let file = Path::new("/known_hosts");
    let keys = KnownHosts::parse(text, file).lookup(name);
    KnownKeys { name: name.into(), keys, files: vec![file.into()] }
}

fn lines(text: &str, name: &str) -> Vec<usize> {
    known(text, name).keys.iter().map(|it| it.at.number).collect()
}

#[test]
fn finds_names_ports_patterns_and_negations() {
    let text = format!(
        "# comment\n\nweb,10.0.0.1 {RED}\n[web]:2222 {BLUE} me@home\n*.example.org,!db.* {RED}\nWEB\t{BLUE}\n"
    );
    assert_eq!(lines(&text, "web"), [3, 6]);
    assert_eq!(lines(&text, "10.0.0.1"), [3]);
    assert_eq!(lines(&text, &file_name("Web", 2222)), [4]);
    assert_eq!(lines(&text, "a.example.org"), [5]);
    assert_eq!(lines(&text, "db.example.org"), [] as [usize; 0]);
    assert_eq!(lines(&text, "w"), [] as [usize; 0]);
}

#[test]
fn finds_names_that_ssh_keygen_has_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    fs::write(&file, format!("web {RED}\n[10.0.0.1]:2222 {BLUE}\n")).unwrap();
    let made = Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("web"), "{text}");
    assert_eq!(lines(&text, "web"), [1]);
    assert_eq!(lines(&text, &file_name("10.0.0.1", 2222)), [2]);
    assert_eq!(lines(&text, "10.0.0.1"), [] as [usize; 0]);
}

#[test]
fn judges_a_key() {
    let text = format!("web {RED}\nold {RED}\n@revoked old {RED}\n@cert-authority *.org {BLUE}\n");
    assert!(matches!(known(&text, "web").judge(&key(RED)), Verdict::Trusted));
    let web = known(&text, "web");
    let Verdict::Changed(others) = web.judge(&key(BLUE)) else { panic!("{web:?}") };
    assert_eq!(others[0].at.to_string(), "/known_hosts:1");
    assert!(
        matches!(known(&text, "old").judge(&key(RED)), Verdict::Revoked(it) if it.at.number == 3)
    );
    assert!(matches!(known(&text, "new").judge(&key(RED)), Verdict::Unknown { authority: None }));
    assert!(matches!(
        known(&text, "a.org").judge(&key(RED)),
        Verdict::Unknown { authority: Some(_) }
    ));
    assert!(
        matches!(known(&text, "a.org").judge(&key(BLUE)), Verdict::Unknown { .. }),
        "the key of an authority is not the key of a host"
    );
}

#[test]
fn asks_first_for_the_kinds_of_key_that_are_known() {
    let all = [Algorithm::Ed25519, Algorithm::Rsa { hash: Some(HashAlg::Sha512) }];
    assert_eq!(known(&format!("web {RED}\n"), "web").preferred(&all), all);
    let swapped = [all[1].clone(), all[0].clone()];
    assert_eq!(known(&format!("web {RED}\n"), "web").preferred(&swapped), all);
    assert_eq!(known(&format!("@revoked web {RED}\n"), "web").preferred(&swapped), swapped);
}

#[test]
fn what_cannot_be_understood_is_skipped() {
    let text = format!("web\nweb ssh-ed25519 !!!\n@other web {RED}\n|1|x|y {RED}\nweb {BLUE}\n");
    assert_eq!(lines(&text, "web"), [5]);
}

#[test]
fn adds_a_new_key_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new/known_hosts");
    let known = KnownKeys { name: "[web]:2222".into(), keys: vec![], files: vec![file.clone()] };
    append(&known, &key(RED)).unwrap();
    append(&known, &key(RED)).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("[web]:2222 {RED}\n"));
    assert!(append(&known, &key(BLUE)).is_err(), "another writer was first, with another key");

    fs::write(&file, format!("a {RED}")).unwrap();
    append(&known, &key(BLUE)).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("a {RED}\n[web]:2222 {BLUE}\n"));
}

#[test]
fn a_name_that_would_mean_others_is_not_added() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    for name in ["*", "a,b", "a b", "!a", "a\n*", "@revoked", "|1|a", "#a"] {
        let known = KnownKeys { name: name.into(), keys: vec![], files: vec![file.clone()] };
        assert!(append(&known, &key(RED)).is_err(), "{name}");
    }
    assert!(!file.exists());
}

#[test]
fn adds_many_keys_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    std::thread::scope(|scope| {
        for at in 0..8 {
            let file = file.clone();
            scope.spawn(move || {
                for of in 0..20 {
                    let name = format!("host-{at}-{of}");
                    append(&KnownKeys { name, keys: vec![], files: vec![file.clone()] }, &key(RED))
                        .unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 160);
    assert!(text.lines().all(|it| it.ends_with(RED)));
}

#[test]
fn a_device_is_no_place_to_remember_keys() {
    let known = KnownKeys { name: "web".into(), keys: vec![], files: vec!["/dev/null".into()] };
    assert!(append(&known, &key(RED)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s)[ -~\n\t|@]{0,200}", name in "\\PC{0,20}") {
        let _ = known(&text, &name);
    }
}
