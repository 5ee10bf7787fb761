//! The files of an authority: root, issuer of servers and issuer of agents, each as a certificate and its key; and the secret of orders.
use super::{Authority, Intermediate, issuer_params};
use crate::{error::PkiError, peer::hex};
use deploy_core::time::Timestamp;
use rcgen::{CertifiedIssuer, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer,
    pem::{PemObject as _, SectionKind},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

const NAME: &str = "authority.pem";
const ORDERS: &str = "orders.key";
const LOCK: &str = "authority.lock";

/// The file has less than 5 KiB.
const LONGEST: u64 = 65_536;

pub(super) fn open(folder: &Path, now: Timestamp) -> Result<Authority, PkiError> {
    let path = folder.join(NAME);
    let text = read_or_make(folder, NAME, || make(now))?;
    parse(&path, &text)
}

/// The secret that orders are signed with: beside the authority, as it is of one control plane, too.
pub(super) fn order_secret(folder: &Path) -> Result<[u8; 32], PkiError> {
    let text = read_or_make(folder, ORDERS, || {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(PkiError::Random)?;
        Ok(hex(&secret) + "\n")
    })?;
    let digits = str::from_utf8(&text).unwrap_or_default().trim();
    let damaged = || PkiError::Damaged {
        path: folder.join(ORDERS),
        why: "it is not the 64 hexadecimal digits that it was",
    };
    from_hex(digits).ok_or_else(damaged)
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in secret.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(secret)
}

/// What the file `name` says. Where there is none, what `make` gives is what it says from now on.
fn read_or_make(
    folder: &Path,
    name: &str,
    make: impl FnOnce() -> Result<String, PkiError>,
) -> Result<Vec<u8>, PkiError> {
    let path = folder.join(name);
    if let Some(text) = read(&path)? {
        return Ok(text);
    }
    // Two that start at once must not make two.
    let lock = folder.join(LOCK);
    let held = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let held = held.map_err(file("made", &lock))?;
    held.lock().map_err(file("locked", &lock))?;
    if let Some(text) = read(&path)? {
        return Ok(text);
    }
    let text = make()?;
    write(folder, name, &text)?;
    Ok(text.into_bytes())
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File { doing, path, source }
}

/// What the file says; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, PkiError> {
    let opened = match File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(file("read", path))?,
    };
    let mode = opened.metadata().map_err(file("read", path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PkiError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    opened.take(LONGEST).read_to_end(&mut text).map_err(file("read", path))?;
    Ok(Some(text))
}

/// It is whole and on the disk before it gets its name.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), PkiError> {
    let (new, path): (PathBuf, _) = (folder.join(format!("{name}.new")), folder.join(name));
    match fs::remove_file(&new) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            return Err(file("removed", &new)(err));
        }
        _ => {}
    }
    let opened = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new);
    let mut opened = opened.map_err(file("made", &new))?;
    opened.write_all(text.as_bytes()).map_err(file("written", &new))?;
    opened.sync_all().map_err(file("written", &new))?;
    fs::rename(&new, &path).map_err(file("made", &path))?;
    let folder_itself = File::open(folder).map_err(file("read", folder))?;
    folder_itself.sync_all().map_err(file("written", folder))
}

/// Makes keys and certificates, as the text of the file.
fn make(now: Timestamp) -> Result<String, PkiError> {
    let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
    let root = CertifiedIssuer::self_signed(issuer_params("deploy root", None, now)?, key()?)?;
    let mut text = root.pem() + &root.key().serialize_pem();
    for (name, usage) in [
        ("deploy servers", ExtendedKeyUsagePurpose::ServerAuth),
        ("deploy agents", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let params = issuer_params(name, Some(usage), now)?;
        let issuer = CertifiedIssuer::signed_by(params, key()?, &root)?;
        text += &(issuer.pem() + &issuer.key().serialize_pem());
    }
    Ok(text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Authority, PkiError> {
    let damaged = |why| PkiError::Damaged { path: path.to_owned(), why };
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text);
    let mut section = |wanted: SectionKind| match sections.next() {
        Some(Ok((kind, der))) if kind == wanted => Ok(der),
        Some(Ok(_)) => Err(damaged("its parts are in another order")),
        Some(Err(_)) => Err(damaged("a part of it is no PEM")),
        None => Err(damaged("a part of it is missing")),
    };
    let mut pair = || {
        let certificate = CertificateDer::from(section(SectionKind::Certificate)?);
        let key = PrivatePkcs8KeyDer::from(section(SectionKind::PrivateKey)?);
        Ok::<_, PkiError>((certificate, key))
    };
    let intermediate = |(certificate, key): (CertificateDer<'static>, PrivatePkcs8KeyDer<'_>)| {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256);
        let key = key.map_err(|_| damaged("a key in it is none"))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key);
        let issuer = issuer.map_err(|_| damaged("a certificate in it is none"))?;
        Ok::<_, PkiError>(Intermediate { certificate, issuer })
    };
    // The root's key is kept for the day on which its issuers have to be made anew.
    let (root, _key) = pair()?;
    let (servers, agents) = (intermediate(pair()?)?, intermediate(pair()?)?);
    let root_pem = first(text).ok_or_else(|| damaged("it is no text"))?;
    Ok(Authority { root, root_pem, servers, agents })
}

/// The first part of the file, as it is.
fn first(text: &[u8]) -> Option<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let (before, _) = str::from_utf8(text).ok()?.split_once(END)?;
    Some(format!("{before}{END}\n"))
}
