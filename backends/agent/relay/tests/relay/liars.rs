//! A relay that was taken over.
use crate::lab::{EVERY, Lab};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent_identity::{Credentials, PeerConfigs, identify};
use deploy_agent_protocol::v1::AnnounceRequest;
use deploy_distribution::{
    Blob, Outboard,
    schedule::Policy,
    token::TokenVerifier,
    transfer::{BlockServer, BlockSource, Director, Endpoint, SourceError},
};
use deploy_pki::PeerTls;
use std::{
    fs::{self, File},
    future,
    io::Write as _,
    ops::Range,
    path::Path,
    sync::Arc,
};
use tokio::{net::TcpListener, sync::watch};

/// Gives the right hashes, and bytes of which each is another one.
#[derive(Debug)]
struct Flipped {
    outboard: Outboard,
    file: Arc<File>,
}

impl Flipped {
    fn of(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let outboard = Outboard::compute(bytes.len() as u64, bytes.as_slice()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes.iter().map(|it| !it).collect::<Vec<_>>()).unwrap();
        Self { outboard, file: Arc::new(file) }
    }
}

#[async_trait]
impl BlockSource for Flipped {
    async fn outboard(&self, _: Blob) -> Result<Bytes, SourceError> {
        Ok(self.outboard.bytes().clone())
    }

    async fn readable(&self, _: Blob, _: Range<u64>) -> Result<Arc<File>, SourceError> {
        Ok(Arc::clone(&self.file))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lies_costs_each_host_little_and_changes_nothing() {
    let mut lab = Lab::new().await;
    let (release, far) = (lab.release().await, lab.host("far", "ams").await);
    lab.stage(&far, &release).await;

    lab.enrol_relay("liar", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    let credentials = Credentials::read(&lab.folder("liar")).unwrap();
    let tls = PeerTls::new(credentials.authority(), Arc::clone(&lab.clock));
    let configs = PeerConfigs::new(&tls, &credentials).unwrap();
    let verifier = TokenVerifier::new(credentials.signers()).unwrap();
    let source = Arc::new(Flipped::of(&lab.largest_part()));
    // It schedules as well, and sends everybody to itself.
    let seeds = vec![Endpoint::new("liar".parse().unwrap(), String::new())];
    let director = Director::new(seeds, 6, Policy::default(), 1, Arc::clone(&lab.clock));
    let liar = BlockServer::new(source, verifier, identify(), Arc::clone(&lab.clock));
    let liar = liar.with_director(Arc::new(director));
    let (liar, listener) = (Arc::new(liar), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap().to_string();
    let newest = watch::Sender::new(configs.server);
    let lying =
        tokio::spawn(Arc::clone(&liar).serve(listener, newest.subscribe(), future::pending()));
    let boot_id = "boot-1".to_owned();
    let request = AnnounceRequest { address, boot_id, ..AnnounceRequest::default() };
    let host = lab.host("h1", "fra").await;
    let mut says = lab.client("liar").await;
    let is_there = async {
        loop {
            says.announce(request.clone()).await.unwrap();
            lab.clock.sleep_until(lab.clock.now().after(EVERY)).await;
        }
    };

    // What came is compared with what the order names before this ends.
    tokio::select! {
        () = is_there => {}
        () = lab.stage(&host, &release) => {}
    }
    let lies: u64 = liar.served().values().sum();
    assert!(lies > 0, "the host was sent to it");
    assert!(lies <= lab.part().size() / 2, "it was believed too long: {lies}");
    lying.abort();
}
