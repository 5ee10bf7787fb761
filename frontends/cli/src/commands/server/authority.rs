//! The server's own certificate authority: made at the first start, and kept in the data folder.
use crate::{
    embedded::make_private,
    problem::{invalid, io_problem},
};
use deploy_core::{digest::Digest, time::Timestamp};
use deploy_wire::{Problem, ProblemCode};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long the authority is good for.
const AUTHORITY: Duration = Duration::from_secs(10 * 366 * 86_400);
/// How long a certificate is that it makes: there is a new one at every start.
const CERTIFICATE: Duration = Duration::from_secs(397 * 86_400);
/// What clocks may differ by.
const SKEW: u64 = 5 * 60 * 1_000;

/// A certificate authority that only this server uses.
pub(super) struct Authority {
    key: KeyPair,
    certificate: String,
    /// Where clients find what they have to trust.
    pub(super) path: PathBuf,
    /// The SHA-256 digest of its certificate, for comparing by eye.
    pub(super) fingerprint: Digest,
}

/// A certificate and its key, both in PEM.
pub(super) struct Identity {
    pub(super) chain: String,
    pub(super) key: String,
}

impl Authority {
    /// Reads the authority in `folder`, or makes one.
    pub(super) fn open(folder: &Path, now: Timestamp) -> Result<Self, Problem> {
        let unusable = |err: io::Error| io_problem(folder.display(), &err);
        make_private(folder).map_err(unusable)?;
        let secret = folder.join("authority.pem");
        if !secret.exists() {
            keep(&secret, &make(now)?).map_err(unusable)?;
        }
        let text = fs::read_to_string(&secret).map_err(unusable)?;
        let unreadable = |err: &dyn std::fmt::Display| {
            let message = format!("{}: this is no certificate authority: {err}", secret.display());
            Problem::new(ProblemCode::Corrupt, message).with_hint(
                "restore it from a backup; if it is removed, the next start makes another one that clients do not know yet",
            )
        };
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|it| unreadable(&it))?;
        let key = KeyPair::try_from(&key).map_err(|it| unreadable(&it))?;
        let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|it| unreadable(&it))?;
        let begin = text.find("-----BEGIN CERTIFICATE-----").unwrap_or(0);
        let certificate = text.get(begin..).unwrap_or_default().to_owned();
        let path = folder.join("ca.pem");
        if fs::read_to_string(&path).ok().as_ref() != Some(&certificate) {
            publish(&path, &certificate).map_err(unusable)?;
        }
        Ok(Self { key, certificate, path, fingerprint: Digest::of(&der) })
    }

    /// A certificate for a server of these names, with a key that nobody else ever has.
    pub(super) fn issue(&self, names: Vec<String>, now: Timestamp) -> Result<Identity, Problem> {
        let key = KeyPair::generate().map_err(unmade)?;
        let mut params = CertificateParams::new(names).map_err(invalid)?;
        params.distinguished_name.push(DnType::CommonName, "deploy server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, now, CERTIFICATE);
        let issuer = authority_params(now)?;
        let certificate =
            params.signed_by(&key, &Issuer::from_params(&issuer, &self.key)).map_err(unmade)?;
        let chain = format!("{}{}", certificate.pem(), self.certificate);
        Ok(Identity { chain, key: key.serialize_pem() })
    }
}

/// A new authority: its key and its certificate in one text, so that there is never one without the other.
fn make(now: Timestamp) -> Result<String, Problem> {
    let key = KeyPair::generate().map_err(unmade)?;
    let certificate = authority_params(now)?.self_signed(&key).map_err(unmade)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

fn authority_params(now: Timestamp) -> Result<CertificateParams, Problem> {
    let mut params = CertificateParams::new(Vec::new()).map_err(unmade)?;
    params.distinguished_name.push(DnType::CommonName, "deploy certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, AUTHORITY);
    Ok(params)
}

fn validity(params: &mut CertificateParams, now: Timestamp, lifetime: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    let from = Duration::from_millis(now.as_millis().saturating_sub(SKEW));
    params.not_before = epoch + from;
    params.not_after = epoch + from + lifetime;
}

fn unmade(err: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::Internal, format!("a certificate could not be made: {err}"))
}

/// Writes a secret whole, or not at all. One that is there already stays: of two first starts at once, one makes the authority.
fn keep(path: &Path, text: &str) -> io::Result<()> {
    let partial = write_beside(path, text, 0o600)?;
    let linked = fs::hard_link(&partial, path);
    fs::remove_file(&partial)?;
    match linked {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
        _ => sync_folder(path),
    }
}

/// Writes what everybody may read, in the place of what is there.
fn publish(path: &Path, text: &str) -> io::Result<()> {
    fs::rename(write_beside(path, text, 0o644)?, path)?;
    sync_folder(path)
}

/// Writes a file beside `path` that nobody else writes at the same time.
fn write_beside(path: &Path, text: &str, mode: u32) -> io::Result<PathBuf> {
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let partial = path.with_extension(format!("part-{process}-{thread:?}"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(partial)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_server::Transport;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn an_authority_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tls");
        let made = Authority::open(&folder, NOW).unwrap();
        let mode =
            |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("authority.pem"), 0o600);
        assert!(!fs::read_to_string(folder.join("ca.pem")).unwrap().contains("PRIVATE"));
        let later = Authority::open(&folder, NOW.after(AUTHORITY)).unwrap();
        assert_eq!(made.fingerprint, later.fingerprint);
        let identity =
            later.issue(vec!["localhost".to_owned(), "127.0.0.1".to_owned()], NOW).unwrap();
        Transport::tls(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn of_many_first_starts_one_makes_the_authority() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Authority::open(dir.path(), NOW).unwrap().fingerprint;
        let made: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            starts.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(made.iter().all(|it| *it == made[0]), "{made:?}");
    }

    #[test]
    fn what_is_no_authority_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.pem");
        fs::write(&path, "no").unwrap();
        let problem = Authority::open(dir.path(), NOW).err().unwrap();
        assert_eq!(problem.code, ProblemCode::Corrupt);
        assert_eq!(fs::read_to_string(&path).unwrap(), "no");
    }
}
