//! Secrets: kept by whoever runs the builder, named by services.
use async_trait::async_trait;
use deploy_core::{
    backend::{BackendError, BackendResult, ErrorKind},
    id::{SecretName, ServiceName},
};
use std::{
    fmt,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

/// The largest secret, in bytes.
const LARGEST: u64 = 64 << 10;

/// A secret. Neither `Debug` nor an error shows it.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The secret `bytes`, without line ends behind them; `None` if nothing is left.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>) -> Option<Self> {
        while bytes.last().is_some_and(|it| matches!(it, b'\n' | b'\r')) {
            bytes.pop();
        }
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// The bytes, to be given to what needs them and to nobody else.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where secrets are kept. A service gets at its own alone: else whoever may write one service could send another's to a server of their own.
#[async_trait]
pub trait Secrets: fmt::Debug + Send + Sync + 'static {
    /// The secret `name` of `service`; `NotFound` if there is none.
    async fn secret(&self, service: &ServiceName, name: &SecretName) -> BackendResult<Secret>;
}

/// Secrets in files `FOLDER/SERVICE/NAME` that nobody but their owner may read.
///
/// ```
/// use deploy_build::{FileSecrets, Secrets};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let secrets = FileSecrets::new("/etc/deploy/secrets");
/// assert!(secrets.secret(&"web".parse()?, &"git-token".parse()?).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FileSecrets {
    folder: PathBuf,
}

impl FileSecrets {
    /// Secrets below `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

#[async_trait]
impl Secrets for FileSecrets {
    async fn secret(&self, service: &ServiceName, name: &SecretName) -> BackendResult<Secret> {
        let path = self.folder.join(service.as_str()).join(name.as_str());
        let failed = |kind| {
            BackendError::new(kind, "secret.read")
                .with("secret", name)
                .with("service", service)
                .with("path", path.display())
        };
        read(&path).map_err(|err| {
            let kind = match err.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::InvalidData => ErrorKind::InvalidInput,
                _ => ErrorKind::Unavailable,
            };
            failed(kind).because(err)
        })
    }
}

fn read(path: &std::path::Path) -> io::Result<Secret> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let file = std::fs::File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(refused("it is no file"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(refused(
            "others than its owner may read or write it: `chmod 600` keeps them out",
        ));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(refused("it is larger than 64 KiB"));
    }
    Secret::new(bytes).ok_or_else(|| refused("it is empty"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[tokio::test]
    async fn only_what_is_kept_from_others_is_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("web")).unwrap();
        let path = folder.path().join("web/token");
        let secrets = FileSecrets::new(folder.path());
        let (web, api, token) =
            ("web".parse().unwrap(), "api".parse().unwrap(), "token".parse().unwrap());
        let kind = async |service| {
            secrets
                .secret(service, &token)
                .await
                .map_err(|it| it.kind())
                .map(|it| it.reveal().to_vec())
        };
        assert_eq!(kind(&web).await, Err(ErrorKind::NotFound));
        for (text, mode, wanted) in [
            ("swordfish\n", 0o600, Ok(b"swordfish".to_vec())),
            ("swordfish\n", 0o640, Err(ErrorKind::InvalidInput)),
            ("\n", 0o600, Err(ErrorKind::InvalidInput)),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(kind(&web).await, wanted);
        }
        assert_eq!(
            kind(&api).await,
            Err(ErrorKind::NotFound),
            "another service's secret was given"
        );
        let shown = format!("{:?}", Secret::new(b"swordfish".to_vec()));
        assert_eq!(shown, "Some(Secret(…))");
    }
}
