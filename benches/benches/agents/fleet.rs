//! Agents at whose end nothing is run.
use async_trait::async_trait;
use deploy_agent::{Connect, FetchArtifact, Followed, Following, HostSide, Identity, Session};
use deploy_agent_protocol::{
    OrderSigner,
    v1::{
        Accepted, Attempt, AttemptId, Check, Checked, Ended, Follow, Kill, NeverStarted, Observe,
        Observed, Outcome, Probe, Refused, Resolve, Resolved, answer::Kind,
    },
};
use deploy_benches::Failure;
use futures_util::future::join_all;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::sync::mpsc;
use tonic::{
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// Whose orders all of them follow.
pub(crate) fn signer() -> OrderSigner {
    OrderSigner::from_secret(&[7; 32])
}

/// What a connection is told apart by, for there are no certificates here.
pub(crate) fn name(number: usize) -> String {
    format!("host-{number}")
}

/// Connects so many agents, and stays.
pub(crate) async fn connect(address: SocketAddr, hosts: usize) -> Result<(), Failure> {
    let sessions = (0..hosts).map(|number| async move {
        let identity = Identity::new(name(number), "boot", vec![signer().public_key()]);
        let connect = Arc::new(Plain { address, host: name(number) });
        Session::new(Arc::new(Nothing), connect, identity).run().await;
    });
    let sessions = sessions.map(tokio::spawn).collect::<Vec<_>>();
    join_all(sessions).await;
    Ok(())
}

/// Says who it is in the `user-agent`, for there are no certificates here.
#[derive(Debug)]
struct Plain {
    address: SocketAddr,
    host: String,
}

#[async_trait]
impl Connect for Plain {
    async fn connect(&self) -> io::Result<Channel> {
        let host = MetadataValue::try_from(self.host.as_str()).map_err(io::Error::other)?;
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        let endpoint = endpoint.and_then(|it| it.user_agent(host.as_encoded_bytes().to_vec()));
        endpoint.map_err(io::Error::other)?.connect().await.map_err(io::Error::other)
    }
}

/// A host on which everything has been done as soon as it is ordered.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl HostSide for Nothing {
    async fn start(
        &self,
        _attempt: Attempt,
        _artifacts: &dyn FetchArtifact,
    ) -> Result<Accepted, Refused> {
        Ok(Accepted {})
    }

    async fn follow(&self, follow: Follow) -> Result<Following, Refused> {
        let (to, from) = mpsc::channel(1);
        let ended = Ended {
            token: follow.token,
            generation: follow.generation,
            outcome: Outcome::Succeeded.into(),
            ..Ended::default()
        };
        // There is room for one.
        let _sent = to.try_send(Followed::Ended(ended));
        Ok(Following::new(from))
    }

    async fn probe(&self, _probe: Probe) -> Kind {
        Kind::NeverStarted(NeverStarted {})
    }

    async fn kill(&self, _kill: Kill) -> Kind {
        Kind::NeverStarted(NeverStarted {})
    }

    async fn check(&self, _check: Check) -> Kind {
        Kind::Checked(Checked::default())
    }

    async fn resolve(&self, _resolve: Resolve) -> Kind {
        Kind::Resolved(Resolved::default())
    }

    async fn observe(&self, _observe: Observe) -> Kind {
        Kind::Observed(Observed::default())
    }

    fn open(&self) -> Vec<AttemptId> {
        Vec::new()
    }

    fn running(&self) -> u32 {
        0
    }

    async fn confirm_end(&self, _attempt: &AttemptId) {}

    async fn log_durable(&self, _attempt: &AttemptId, _offset: u64) {}

    async fn shutdown(&self) {}
}
