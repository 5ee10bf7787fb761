//! The file of an authority.
use crate::scene::NOW;
use deploy_pki::{Authority, PkiError};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::Barrier,
    thread,
    time::Duration,
};

fn file(folder: &Path) -> std::path::PathBuf {
    folder.join("authority.pem")
}

#[test]
fn an_authority_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let made = Authority::open(folder.path(), NOW).unwrap();
    let text = fs::read(file(folder.path())).unwrap();
    let later = NOW.after(Duration::from_secs(1_000_000));
    let found = Authority::open(folder.path(), later).unwrap();
    assert_eq!(found.fingerprint(), made.fingerprint());
    assert_eq!(fs::read(file(folder.path())).unwrap(), text);
    let mode = fs::metadata(file(folder.path())).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!format!("{made:?}").contains("KEY"));
    let root = CertificateDer::from_pem_slice(made.root_pem().as_bytes()).unwrap();
    assert_eq!(root, *made.root());
    assert!(!made.root_pem().contains("KEY"));
}

#[test]
fn two_that_start_at_once_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let start = Barrier::new(8);
    let open = || {
        start.wait();
        Authority::open(folder.path(), NOW).unwrap().fingerprint()
    };
    let made: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(made.iter().all(|it| *it == made[0]), "{made:?}");
}

#[test]
fn what_a_crash_has_left_is_not_taken_for_an_authority() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("authority.pem.new"), "-----BEGIN CERT").unwrap();
    let made = Authority::open(folder.path(), NOW).unwrap();
    assert!(!folder.path().join("authority.pem.new").exists());
    assert_eq!(Authority::open(folder.path(), NOW).unwrap().fingerprint(), made.fingerprint());
}

#[test]
fn a_damaged_authority_is_told_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    drop(Authority::open(folder.path(), NOW).unwrap());
    let path = file(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    for end in 0..lines.len() {
        let cut = lines[..end].join("\n");
        fs::write(&path, &cut).unwrap();
        let err = Authority::open(folder.path(), NOW).unwrap_err();
        assert!(matches!(err, PkiError::Damaged { .. }), "cut after line {end}: {err:?}");
        assert!(err.to_string().contains("restore"), "{err}");
        assert_eq!(fs::read_to_string(&path).unwrap(), cut);
    }
}

#[test]
fn an_authority_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Authority::open(folder.path(), NOW).unwrap());
    let path = file(folder.path());
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let err = Authority::open(folder.path(), NOW).unwrap_err();
        assert!(err.to_string().contains("chmod 600"), "{err}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Authority::open(folder.path(), NOW).unwrap();
}

#[test]
fn a_folder_that_is_missing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    let err = Authority::open(&missing, NOW).unwrap_err();
    assert!(err.to_string().contains("authority.lock` cannot be made"), "{err}");
}

#[test]
fn the_secret_of_orders_is_made_once_and_kept_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let made = Authority::order_secret(folder.path()).unwrap();
    assert_eq!(Authority::order_secret(folder.path()).unwrap(), made);
    let path = folder.path().join("orders.key");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let another = tempfile::tempdir().unwrap();
    assert_ne!(Authority::order_secret(another.path()).unwrap(), made);
    for damaged in ["", "0", &"g".repeat(64), &"0".repeat(63)] {
        fs::write(&path, damaged).unwrap();
        let err = Authority::order_secret(folder.path()).unwrap_err();
        assert!(matches!(err, PkiError::Damaged { .. }), "{damaged}: {err:?}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let err = Authority::order_secret(folder.path()).unwrap_err();
    assert!(err.to_string().contains("chmod 600"), "{err}");
}
