//! No room left for the server's data.
use crate::lab::{Lab, ask};
use deploy_test_support::mounts::{Memory, own_mounts};
use serde_json::{Value, json};
use std::{fs, io::Write as _};

const NAME: &str = "full_disk::a_full_disk_refuses_what_is_new_and_answers_what_is_there";

#[test]
fn a_full_disk_refuses_what_is_new_and_answers_what_is_there() {
    if !own_mounts(NAME) {
        return;
    }
    let lab = Lab::new();
    let _disk = Memory::over(&lab.data(), "8m").unwrap();
    lab.furnish();
    let served = lab.serve();
    let service = |name: &str| {
        let path = format!("/api/v1/services/{name}");
        let body =
            json!({"owner": "tests", "deploy_path": format!("/srv/{name}"), "selector": "*"});
        ask(&served, "PUT", &path, &body)
    };
    let (status, made) = service("before");
    assert_eq!(status, 201, "{made}");
    let reserve = lab.data().join("reserve");
    let mut full = fs::File::create(&reserve).unwrap();
    for piece in [1 << 16, 1 << 12, 1] {
        while full.write_all(&vec![0; piece]).is_ok() {}
    }
    drop(full);
    // What SQLite has taken beforehand is used up first.
    let refused = (1..500).map(|it| service(&format!("full-{it}"))).find(|it| it.0 != 201);
    let (status, problem) = refused.expect("a full disk takes no end of services");
    assert_eq!((status, &problem["code"]), (507, &json!("no_space")), "{problem}");
    for path in ["services", "services/web", "hosts", "releases/web-1", "rollouts"] {
        let (status, read) = ask(&served, "GET", &format!("/api/v1/{path}"), &Value::Null);
        assert_eq!(status, 200, "{path}: {read}");
    }
    let plan = json!({"service": "web", "release": "web-1"});
    let (status, problem) = ask(&served, "POST", "/api/v1/rollouts", &plan);
    assert_eq!((status, &problem["code"]), (507, &json!("no_space")), "{problem}");
    fs::remove_file(reserve).unwrap();
    let (status, made) = service("after");
    assert_eq!(status, 201, "{made}");
    let (status, started) = ask(&served, "POST", "/api/v1/rollouts", &plan);
    assert_eq!(status, 202, "{started}\n{}", lab.log());
}
