//! What the server shows to whoever connects, and how it stays good.
use super::config::Encryption;
use crate::{
    embedded::make_private,
    files::{Source, write_whole},
    output::Output,
    problem::{chain, io_problem},
};
use deploy_core::{backend::Clock, time::Timestamp};
use deploy_pki::{Authority, PkiError, ServerIdentity, api_config};
use deploy_server::{ServerConfig, Transport};
use deploy_wire::{Problem, ProblemCode};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// How often a certificate is made, or read, anew: much more often than it has to be.
const RENEWAL: Duration = Duration::from_secs(86_400);

/// The largest file with a certificate or a key, in bytes.
const LARGEST: u64 = 1 << 20;

/// Where certificates come from.
pub(super) enum Certificates {
    /// Somebody puts them into these files.
    Given { certificate: PathBuf, key: PathBuf },
    /// The server's own authority makes them.
    Own { authority: Box<Authority>, names: Vec<String> },
}

impl Certificates {
    /// As `encryption` has it; `None` where there is none. The authority is in `folder`, and made there at the first start.
    pub(super) fn open(
        encryption: &Encryption,
        folder: &Path,
        listen: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Self>, Problem> {
        match encryption {
            Encryption::None => Ok(None),
            Encryption::Given { certificate, key } => {
                Ok(Some(Self::Given { certificate: certificate.clone(), key: key.clone() }))
            }
            Encryption::Own { names } => {
                make_private(folder).map_err(|err| io_problem(folder.display(), &err))?;
                let authority =
                    Box::new(Authority::open(folder, now).map_err(|err| unusable(&err))?);
                let (path, root) = (trusted(folder), authority.root_pem());
                if std::fs::read_to_string(&path).ok().as_deref() != Some(root) {
                    write_whole(&path, root)?;
                }
                Ok(Some(Self::Own { authority, names: all_names(names, listen) }))
            }
        }
    }

    /// Says what clients have to trust, where they cannot know it.
    pub(super) fn tell(&self, folder: &Path, output: &Output) {
        if let Self::Own { authority, .. } = self {
            let (path, fingerprint) = (trusted(folder), authority.fingerprint());
            output.note(format_args!("clients trust {} ({fingerprint})", path.display()));
        }
    }

    fn config(&self, clock: &Arc<dyn Clock>) -> Result<Arc<ServerConfig>, Problem> {
        let identity = match self {
            Self::Given { certificate, key } => {
                let certificate = Source::read(certificate, LARGEST)?;
                let key = Source::read(key, LARGEST)?;
                ServerIdentity::from_pem(certificate.text().as_bytes(), key.text().as_bytes())
            }
            Self::Own { authority, names } => authority.issue_server(names, clock.now()),
        };
        let config = identity.and_then(|it| api_config(&it, Arc::clone(clock)));
        config.map(Arc::new).map_err(|err| unusable(&err))
    }

    /// Encrypts with the newest certificate; the sender is for [`renew`](Self::renew).
    pub(super) fn transport(
        &self,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Transport, watch::Sender<Arc<ServerConfig>>), Problem> {
        let (newest, config) = watch::channel(self.config(clock)?);
        Ok((Transport::Tls(config), newest))
    }

    /// Keeps the certificate good, forever.
    pub(super) async fn renew(
        self,
        clock: Arc<dyn Clock>,
        newest: watch::Sender<Arc<ServerConfig>>,
    ) {
        loop {
            clock.sleep_until(clock.now().after(RENEWAL)).await;
            match self.config(&clock) {
                Ok(config) => drop(newest.send_replace(config)),
                Err(problem) => {
                    tracing::error!(%problem, "the certificate stays the old one");
                }
            }
        }
    }
}

/// What clients have to trust.
fn trusted(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

fn unusable(err: &PkiError) -> Problem {
    let code = match err {
        PkiError::Damaged { .. } => ProblemCode::Corrupt,
        PkiError::Crypto(_) | PkiError::Random(_) => ProblemCode::Internal,
        _ => ProblemCode::InvalidInput,
    };
    Problem::new(code, chain(err))
}

/// What clients may call this server, beside what the configuration names.
fn all_names(names: &[String], listen: IpAddr) -> Vec<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |it: &str| it.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    let host = Some(host.trim()).filter(|it| !it.is_empty() && plain(it));
    let mut all = names.to_vec();
    all.extend(["localhost", "127.0.0.1", "::1"].into_iter().chain(host).map(ToOwned::to_owned));
    if !listen.is_unspecified() {
        all.push(listen.to_string());
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::memory::ManualClock;
    use std::fs;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[tokio::test]
    async fn a_certificate_is_renewed_while_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let listen = "0.0.0.0".parse().unwrap();
        let own = Encryption::Own { names: vec!["deploy.example.com".to_owned()] };
        let certificates = Certificates::open(&own, dir.path(), listen, NOW).unwrap().unwrap();
        let trusted = fs::read_to_string(dir.path().join("ca.pem")).unwrap();
        assert!(trusted.contains("CERTIFICATE") && !trusted.contains("KEY"));
        let manual = Arc::new(ManualClock::at(NOW));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&manual);
        let (Transport::Tls(mut config), newest) = certificates.transport(&clock).unwrap() else {
            panic!("it is not encrypted");
        };
        let first = Arc::clone(&config.borrow_and_update());
        let renewing = tokio::spawn(certificates.renew(clock, newest));
        tokio::task::yield_now().await;
        manual.advance(RENEWAL);
        config.changed().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &config.borrow()));
        renewing.abort();
    }

    #[test]
    fn a_certificate_that_is_none_is_refused_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        fs::write(&certificate, "no").unwrap();
        fs::write(&key, "no").unwrap();
        let given = Certificates::Given { certificate, key };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
        let problem = given.transport(&clock).err().unwrap();
        assert_eq!(problem.code, ProblemCode::InvalidInput);
        assert!(problem.message.contains("PEM"), "{problem}");
    }
}
