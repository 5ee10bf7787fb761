//! The conformance kit over a server of S3, and what such a server may do wrong.
use crate::support::{noise, permit, put, request};
use deploy_artifacts::{ObjectArtifactStore, S3Credentials, S3Location};
use deploy_core::{
    backend::{ArtifactStore, ArtifactStoreExt as _},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness, artifact_store::ArtifactStoreHarness, run,
    },
    digest::Digest,
    error::ErrorKind,
};
use deploy_test_support::{programs::until, skip::skipped};
use object_store::{ObjectStore, ObjectStoreExt as _, aws::AmazonS3Builder, path::Path};
use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How long a server may take to start, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with an empty bucket, which is gone with it.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    stores: AtomicU32,
}

impl Server {
    /// `None`, and loudly, where there is no such server.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = moto() else {
            skipped("artifacts in S3", "`cargo xtask pypi` installs moto, which it takes");
            return None;
        };
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { process, address, stores: AtomicU32::new(0) };
        until("the server makes a bucket", PATIENCE, || {
            assert!(server.process.try_wait().unwrap().is_none(), "it has ended");
            server.makes_a_bucket()
        });
        Some(server)
    }

    fn makes_a_bucket(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        let ask = "PUT /bucket HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n";
        let mut answer = String::new();
        let asked =
            stream.write_all(ask.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        asked.is_ok() && answer.contains(" 200 ")
    }

    /// Where nobody has a store yet.
    fn place(&self) -> S3Location {
        self.address_of_a_place().parse().unwrap()
    }

    /// The same, as text.
    pub(crate) fn address_of_a_place(&self) -> String {
        let number = self.stores.fetch_add(1, Ordering::SeqCst);
        format!("s3://bucket/store-{number}?endpoint=http://{}", self.address)
    }

    /// The objects as they are.
    fn objects(&self) -> impl ObjectStore {
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_bucket_name("bucket")
            .with_region("us-east-1")
            .with_access_key_id("somebody")
            .with_secret_access_key("secret")
            .build()
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// Where `cargo xtask pypi` puts it.
fn moto() -> Option<PathBuf> {
    let exe = env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap();
    Some(target.join("moto/bin/moto_server")).filter(|it| it.is_file())
}

pub(crate) async fn open(place: &S3Location) -> ObjectArtifactStore {
    let credentials = S3Credentials::new("somebody", "secret");
    ObjectArtifactStore::open_s3(place, Some(&credentials)).await.unwrap()
}

struct Bucket<'a>(&'a Server);

impl Harness<dyn ArtifactStore> for Bucket<'_> {
    type Guard = S3Location;

    async fn fresh(&self) -> (Arc<dyn ArtifactStore>, S3Location) {
        let place = self.0.place();
        (Arc::new(open(&place).await), place)
    }
}

impl DurableHarness<dyn ArtifactStore> for Bucket<'_> {
    async fn reopen(
        &self,
        backend: Arc<dyn ArtifactStore>,
        guard: &S3Location,
    ) -> Arc<dyn ArtifactStore> {
        drop(backend);
        Arc::new(open(guard).await)
    }
}

impl ConcurrentHarness<dyn ArtifactStore> for Bucket<'_> {
    async fn another(&self, guard: &S3Location) -> Arc<dyn ArtifactStore> {
        Arc::new(open(guard).await)
    }
}

impl ArtifactStoreHarness for Bucket<'_> {
    async fn rot(&self, guard: &S3Location, digest: &Digest) {
        let hex = digest.hex();
        let path = Path::from(format!("{}/blobs/sha256/{}/{hex}", guard.prefix(), &hex[..2]));
        let objects = self.0.objects();
        let mut bytes = objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[0] ^= 1;
        objects.put(&path, bytes.into()).await.unwrap();
    }
}

/// One server for all cases: it takes a second to start.
macro_rules! one_after_another {
    ($suite:ident, $harness:expr; $($case:ident)*) => { $(
        eprintln!("{}", stringify!($case));
        run(deploy_core::conformance::$suite::$case(&$harness));
    )* };
}

#[test]
fn the_kit_holds_in_a_bucket() {
    let Some(server) = Server::start() else { return };
    let bucket = Bucket(&server);
    deploy_core::artifact_store_conformance!(@core [one_after_another] bucket);
    deploy_core::artifact_store_conformance!(@durable [one_after_another] bucket);
    deploy_core::artifact_store_conformance!(@concurrent [one_after_another] bucket);
}

#[tokio::test]
async fn what_takes_many_requests_is_put_whole_or_not_at_all() {
    let Some(server) = Server::start() else { return };
    let store = open(&server.place()).await;
    let bytes = noise(1, 20 << 20);
    let digest = put(&store, &bytes, "1", 1).await.unwrap();
    assert_eq!(store.read_all(&digest, u64::MAX).await.unwrap(), bytes);

    let other = noise(2, 20 << 20);
    let short = &other[..12 << 20];
    let refused = store.put(&permit().await, request(&other, "2", 2), &mut &*short).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    let missing = store.head(&request(&other, "2", 2).digest).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_said_at_once() {
    let Some(server) = Server::start() else { return };
    let place = format!("s3://nobody-s?endpoint=http://{}", server.address).parse().unwrap();
    let credentials = S3Credentials::new("somebody", "hush");
    let err = ObjectArtifactStore::open_s3(&place, Some(&credentials)).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound, "{}", err.chain());
    assert!(err.chain().contains("s3://nobody-s") && !err.chain().contains("hush"));
}
