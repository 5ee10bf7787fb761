//! Stores that are spoken to as S3 is.
use crate::{fault, layout, store::ObjectArtifactStore};
use deploy_core::error::{BackendError, BackendResult, ErrorKind};
use object_store::{
    BackoffConfig, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut},
    path::Path,
    prefix::PrefixStore,
};
use std::{fmt, net::IpAddr, str::FromStr, sync::Arc, time::Duration};
use thiserror::Error;
use url::{Host, Url};

const OPERATION: &str = "artifact.open_store";

/// How long a request is tried again before it has failed.
const TRY_FOR: Duration = Duration::from_secs(30);
const TRIES: usize = 5;

/// Where such a store lies: `s3://BUCKET[/PREFIX][?region=REGION&endpoint=URL]`.
///
/// Without an endpoint it is Amazon's. One without TLS is refused unless it is on this machine.
///
/// ```
/// use deploy_artifacts::S3Location;
///
/// let there: S3Location = "s3://artifacts/deploy?endpoint=https://minio.internal:9000".parse()?;
/// assert_eq!((there.bucket(), there.prefix()), ("artifacts", "deploy"));
/// assert!("s3://artifacts?endpoint=http://minio.internal:9000".parse::<S3Location>().is_err());
/// # Ok::<(), deploy_artifacts::ParseS3LocationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    bucket: String,
    prefix: String,
    region: Option<String>,
    endpoint: Option<Url>,
}

/// Why a string says no [`S3Location`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{}` is no place of artifacts: {why}; it is `s3://BUCKET[/PREFIX][?region=REGION&endpoint=URL]`", .input.escape_debug())]
pub struct ParseS3LocationError {
    input: String,
    why: String,
}

impl S3Location {
    /// Which bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all names in it begin with; empty if the bucket is for artifacts alone.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "s3://{}{slash}{}", self.bucket, self.prefix)?;
        let endpoint = self.endpoint.as_ref().map(|it| it.as_str().trim_end_matches('/'));
        let options = [("region", self.region.as_deref()), ("endpoint", endpoint)];
        let said = options.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (separator, (name, value)) in ["?", "&"].into_iter().zip(said) {
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for S3Location {
    type Err = ParseS3LocationError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        parse(input).map_err(|why| ParseS3LocationError {
            // It may hold a password that somebody took to belong there.
            input: if input.contains('@') { "…" } else { input }.chars().take(200).collect(),
            why,
        })
    }
}

fn parse(input: &str) -> Result<S3Location, String> {
    let url = Url::parse(input).map_err(|err| err.to_string())?;
    let secret = !url.username().is_empty() || url.password().is_some();
    let bucket = match (url.scheme(), url.host_str()) {
        ("s3", _) if secret => return Err("credentials do not belong there".to_owned()),
        ("s3", Some(bucket)) if url.port().is_none() && url.fragment().is_none() => bucket,
        _ => return Err("it does not begin with `s3://` and a bucket".to_owned()),
    };
    let prefix = url.path().trim_matches('/');
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | '/');
    if !prefix.chars().all(plain) || prefix.contains("//") {
        return Err("a prefix consists of letters, digits, `-`, `_`, `.` and `/`".to_owned());
    }
    let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
    let mut location = S3Location { bucket, prefix, region: None, endpoint: None };
    for (name, value) in url.query_pairs() {
        match &*name {
            "region" => location.region = Some(value.into_owned()),
            "endpoint" => location.endpoint = Some(endpoint(&value)?),
            _ => return Err(format!("it has no option `{}`", name.escape_debug())),
        }
    }
    Ok(location)
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|err| format!("its endpoint: {err}"))?;
    let here = match url.host() {
        Some(Host::Ipv4(it)) => IpAddr::from(it).is_loopback(),
        Some(Host::Ipv6(it)) => IpAddr::from(it).is_loopback(),
        Some(Host::Domain(it)) => it == "localhost",
        None => false,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into its endpoint".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        "http" => Err("its endpoint is on another machine, and without TLS".to_owned()),
        _ => Err("its endpoint does not begin with `https://`".to_owned()),
    }
}

/// Who speaks to such a store.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Credentials {
    /// The name of the key.
    pub access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl S3Credentials {
    /// By a key.
    #[must_use]
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        let (access_key_id, secret_access_key) = (access_key_id.into(), secret_access_key.into());
        Self { access_key_id, secret_access_key, session_token: None }
    }

    /// For as long as a session lasts.
    #[must_use]
    pub fn with_session_token(mut self, token: Option<String>) -> Self {
        self.session_token = token;
        self
    }
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.access_key_id;
        f.debug_struct("S3Credentials").field("access_key_id", id).finish_non_exhaustive()
    }
}

impl ObjectArtifactStore {
    /// Opens the store at `location`, which is made one if it is empty. Without credentials, by the role of the machine
    /// (EC2, ECS or EKS).
    ///
    /// TLS goes by the platform's trusted certificates. The process's default cryptography is set to *ring* where none is set.
    ///
    /// # Errors
    /// `Unsupported` if the store ignores conditions of writes, or a newer version of this program made it; `PermissionDenied`,
    /// `Unauthenticated` or `NotFound` (of the bucket) as the store says; `Unavailable` if it does not answer.
    pub async fn open_s3(
        location: &S3Location,
        credentials: Option<&S3Credentials>,
    ) -> BackendResult<Self> {
        let named = |err: BackendError| err.with("store", location);
        let bucket = connect(location, credentials).map_err(named)?;
        let store: Arc<dyn ObjectStore> = match &*location.prefix {
            "" => Arc::new(bucket),
            prefix => Arc::new(PrefixStore::new(bucket, prefix)),
        };
        claim(&*store).await.map_err(named)?;
        Ok(Self::new(store))
    }
}

fn connect(location: &S3Location, credentials: Option<&S3Credentials>) -> BackendResult<AmazonS3> {
    // Somebody else may have set it: that one is as good.
    let _set = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig {
        max_retries: TRIES,
        retry_timeout: TRY_FOR,
        backoff: BackoffConfig { max_backoff: TRY_FOR / 4, ..BackoffConfig::default() },
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_region(location.region.as_deref().unwrap_or("us-east-1"))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry);
    if let Some(endpoint) = &location.endpoint {
        builder = builder
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_allow_http(endpoint.scheme() == "http");
    }
    if let Some(credentials) = credentials {
        builder = builder
            .with_access_key_id(&credentials.access_key_id)
            .with_secret_access_key(&credentials.secret_access_key);
        if let Some(token) = &credentials.session_token {
            builder = builder.with_token(token);
        }
    }
    builder.build().map_err(|err| fault::reading(OPERATION, "bucket", err))
}

/// Marks the store as one of artifacts, and sees that it keeps to conditions: versions would change otherwise.
async fn claim(store: &dyn ObjectStore) -> BackendResult<()> {
    let path = Path::from("format");
    let mark = || store.put_opts(&path, layout::FORMAT.into(), PutMode::Create.into());
    let found = match mark().await {
        Ok(_) => mark().await,
        exists => exists,
    };
    match found {
        Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(err) => return Err(fault::reading(OPERATION, path, err)),
        Ok(_) => {
            return Err(BackendError::new(ErrorKind::Unsupported, OPERATION)
                .with("hint", "use a store that honours `If-None-Match` on writes")
                .because("it overwrites what is there when told not to"));
        }
    }
    let format = async { store.get(&path).await?.bytes().await };
    let format = format.await.map_err(|err| fault::reading(OPERATION, &path, err))?;
    layout::known(OPERATION, &path, &format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_read_and_written() {
        let all = "s3://b/p/q?region=eu-central-1&endpoint=https://s3.example.org:9000";
        let location: S3Location = all.parse().unwrap();
        assert_eq!(location.to_string(), all);
        assert_eq!("s3://b/".parse::<S3Location>().unwrap().to_string(), "s3://b");
        "s3://b?endpoint=http://127.0.0.1:1".parse::<S3Location>().unwrap();
        "s3://b?endpoint=http://[::1]:1".parse::<S3Location>().unwrap();
    }

    #[test]
    fn what_is_none_is_refused_without_repeating_secrets() {
        for bad in [
            "",
            "b",
            "https://b",
            "s3://",
            "s3://b/a b",
            "s3://b?regoin=x",
            "s3://b?endpoint=ftp://x",
            "s3://b?endpoint=http://10.0.0.1",
            "s3://id:hush@b/p",
            "s3://b?endpoint=https://id:hush@s3.example.org",
        ] {
            let refused = bad.parse::<S3Location>().unwrap_err().to_string();
            assert!(!refused.contains("hush"), "{refused}");
        }
        let credentials = S3Credentials::new("id", "hush").with_session_token(Some("hush".into()));
        assert!(!format!("{credentials:?}").contains("hush"));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_read_again_from_what_is_written(
            text in "s3://[a-z0-9.-]{3,9}(/[a-zA-Z0-9_./-]{0,12})?(\\?region=[a-z0-9-]{1,9})?"
        ) {
            if let Ok(location) = text.parse::<S3Location>() {
                prop_assert_eq!(location.to_string().parse::<S3Location>().unwrap(), location);
            }
        }
    }
}
