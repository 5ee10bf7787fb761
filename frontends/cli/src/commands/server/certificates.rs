//! What the server shows to whoever connects, and how it stays good.
use super::config::Encryption;
use crate::{
    embedded::{own_host_name, trusted, unusable},
    files::Source,
    output::Output,
};
use deploy_core::backend::Clock;
use deploy_pki::{Authority, ServerIdentity, api_config};
use deploy_server::{ServerConfig, Transport};
use deploy_wire::Problem;
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
    Own { authority: Arc<Authority>, names: Vec<String> },
}

impl Certificates {
    /// As `encryption` has it; `None` where there is none.
    pub(super) fn new(
        encryption: &Encryption,
        authority: &Arc<Authority>,
        listen: IpAddr,
    ) -> Option<Self> {
        match encryption {
            Encryption::None => None,
            Encryption::Given { certificate, key } => {
                Some(Self::Given { certificate: certificate.clone(), key: key.clone() })
            }
            Encryption::Own { names } => {
                let (authority, names) = (Arc::clone(authority), all_names(names, listen));
                Some(Self::Own { authority, names })
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
        renewed(&clock, &newest, || self.config(&clock)).await;
    }
}

/// Puts what `make` makes into `newest`, long before it has to be, and forever.
pub(super) async fn renewed(
    clock: &Arc<dyn Clock>,
    newest: &watch::Sender<Arc<ServerConfig>>,
    make: impl Fn() -> Result<Arc<ServerConfig>, Problem>,
) {
    loop {
        clock.sleep_until(clock.now().after(RENEWAL)).await;
        match make() {
            Ok(config) => drop(newest.send_replace(config)),
            Err(problem) => tracing::error!(%problem, "the certificate stays the old one"),
        }
    }
}

/// What clients may call this server, beside what the configuration names.
pub(super) fn all_names(names: &[String], listen: IpAddr) -> Vec<String> {
    let mut all = names.to_vec();
    all.extend(["localhost", "127.0.0.1", "::1"].map(ToOwned::to_owned));
    all.extend(own_host_name());
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
    use crate::embedded::open_authority;
    use deploy_core::{memory::ManualClock, time::Timestamp};
    use deploy_wire::ProblemCode;
    use std::fs;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[tokio::test]
    async fn a_certificate_is_renewed_while_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let listen = "0.0.0.0".parse().unwrap();
        let own = Encryption::Own { names: vec!["deploy.example.com".to_owned()] };
        let authority = Arc::new(open_authority(dir.path(), NOW).unwrap());
        let certificates = Certificates::new(&own, &authority, listen).unwrap();
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
