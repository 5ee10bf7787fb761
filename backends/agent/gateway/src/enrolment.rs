//! How a machine becomes a host with a certificate, and keeps one.
use crate::{
    admission::Peer,
    registry::{denied, facts as facts_of},
};
use async_trait::async_trait;
use deploy_agent_protocol::{
    LONGEST_FRAME, PublicKey,
    v1::{
        self, EnrolRequest, Facts, RenewRequest,
        enrolment_server::{Enrolment, EnrolmentServer},
    },
};
use deploy_core::{
    agent::{Agent, KeyFingerprint, NaturalKey},
    backend::{AgentRegistry, CertifyAgent, Clock, EnrollAgent},
    error::{BackendError, BackendResult, ErrorKind},
    id::HostName,
    token::JoinToken,
};
use deploy_pki::{AgentPeer, Authority, CertificateRequest, RENEW_AFTER};
use rustls_pki_types::CertificateDer;
use std::{fmt, sync::Arc};
use tonic::{Code, Request, Response, Status};

/// Learns of hosts that were let in.
#[async_trait]
pub trait Registrar: fmt::Debug + Send + Sync + 'static {
    /// Refuses the name of a host that a join token must not take over, before anything is done for a machine that wants to be called so.
    async fn admit(&self, host: &HostName) -> BackendResult<()>;

    /// Puts the host of `agent` into the inventory, with the agent's labels; one that is there already keeps what people gave it.
    async fn register(&self, agent: &Agent) -> BackendResult<()>;
}

/// Lets machines in by join tokens, and renews the certificates of those that are in.
#[derive(Clone, Debug)]
pub struct Enroller {
    agents: Arc<dyn AgentRegistry>,
    authority: Arc<Authority>,
    registrar: Arc<dyn Registrar>,
    clock: Arc<dyn Clock>,
    signers: Vec<PublicKey>,
    gateway: String,
}

impl Enroller {
    /// By the join tokens that `agents` knows, with certificates of `authority`. Hosts are told to follow the orders of `signers`, and
    /// to connect to `gateway`, a `HOST:PORT`; where that is empty, to where they have enrolled.
    #[must_use]
    pub fn new(
        agents: Arc<dyn AgentRegistry>,
        authority: Arc<Authority>,
        registrar: Arc<dyn Registrar>,
        clock: Arc<dyn Clock>,
        signers: Vec<PublicKey>,
        gateway: impl Into<String>,
    ) -> Self {
        Self { agents, authority, registrar, clock, signers, gateway: gateway.into() }
    }

    /// The service. `Enrol` is for everybody; `Renew` needs a [`Peer`] among the extensions of the request.
    #[must_use]
    pub fn service(&self) -> EnrolmentServer<impl Enrolment + use<>> {
        EnrolmentServer::new(self.clone()).max_decoding_message_size(LONGEST_FRAME)
    }

    async fn let_in(&self, request: EnrolRequest) -> Result<v1::Certificate, Status> {
        let token: JoinToken = request.join_token.parse().map_err(invalid)?;
        if token.authority != self.authority.fingerprint() {
            return Err(Status::invalid_argument(
                "the join token is for another control plane: its authority is another",
            ));
        }
        let csr = CertificateRequest::parse(&request.signing_request).map_err(invalid)?;
        let facts = request.facts.unwrap_or_default();
        let machine = EnrollAgent::new(
            token.id,
            token.secret.hash(),
            csr.key(),
            name_of(&facts)?,
            natural_key(&facts)?,
            self.clock.now(),
        );
        self.registrar.admit(&machine.host).await.map_err(|err| status(&err))?;
        let agent = self.agents.enroll(&machine).await.map_err(|err| status(&err))?;
        let described = facts_of(Some(&facts), &request.agent_version);
        let described = self.agents.describe(&agent.host, &described).await;
        described.map_err(|err| status(&err))?;
        // Before it has a certificate: a host that has one is in the inventory. Relays are no hosts, and come into none.
        if !agent.is_relay() {
            self.registrar.register(&agent).await.map_err(|err| status(&err))?;
        }
        self.certify(&agent.host, csr.key(), &csr).await
    }

    async fn renew_for(
        &self,
        peer: &Peer,
        request: RenewRequest,
    ) -> Result<v1::Certificate, Status> {
        let certificate = CertificateDer::from(peer.certificate());
        let peer = AgentPeer::of(&certificate).map_err(invalid)?;
        let csr = CertificateRequest::parse(&request.signing_request).map_err(invalid)?;
        let agent = self.agents.identify(&peer.key).await.map_err(|err| status(&err))?;
        self.certify(&agent.host, peer.key, &csr).await
    }

    /// Issues a certificate, which is noted before anybody has it.
    async fn certify(
        &self,
        host: &HostName,
        holder: KeyFingerprint,
        csr: &CertificateRequest,
    ) -> Result<v1::Certificate, Status> {
        let now = self.clock.now();
        let issued = self.authority.issue_agent(csr, host, now);
        let issued = issued.map_err(|err| Status::internal(err.to_string()))?;
        let request = CertifyAgent::new(holder, csr.key(), issued.certificate.clone());
        self.agents.certify(&request).await.map_err(|err| status(&err))?;
        Ok(v1::Certificate {
            host: host.to_string(),
            chain: issued.chain.iter().map(|it| it.to_vec()).collect(),
            signers: self.signers.iter().map(|it| it.to_vec()).collect(),
            renew_at_ms: now.after(RENEW_AFTER).as_millis(),
            gateway: self.gateway.clone(),
        })
    }
}

#[async_trait]
impl Enrolment for Enroller {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<v1::Certificate>, Status> {
        self.let_in(request.into_inner()).await.map(Response::new)
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<v1::Certificate>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| {
            Status::unauthenticated("only who has a certificate can renew it: enrol the host again")
        })?;
        self.renew_for(&peer, request.into_inner()).await.map(Response::new)
    }
}

/// What the machine is called by others.
fn natural_key(facts: &Facts) -> Result<NaturalKey, Status> {
    let text = match facts.instance.as_str() {
        "" => format!("machine/{}", facts.machine_id),
        instance => format!("instance/{instance}"),
    };
    text.parse().map_err(|err| {
        Status::invalid_argument(format!(
            "the machine cannot be told from others: {err}; is there an /etc/machine-id?"
        ))
    })
}

/// The name that a machine goes by: its own, in lower case, with dashes for what names of hosts do not have.
fn name_of(facts: &Facts) -> Result<HostName, Status> {
    let plain = |it: char| if it.is_ascii_alphanumeric() || it == '.' { it } else { '-' };
    let name: String = facts.hostname.to_ascii_lowercase().chars().map(plain).collect();
    let name = name.trim_matches(['-', '.']);
    name.parse().map_err(|err| {
        Status::invalid_argument(format!(
            "the machine's name `{}` is no host name: {err}",
            name.escape_debug()
        ))
    })
}

fn invalid(err: impl fmt::Display) -> Status {
    Status::invalid_argument(err.to_string())
}

fn status(err: &BackendError) -> Status {
    let code = match err.kind() {
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::NotFound | ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::Unavailable,
    };
    Status::new(code, denied(err).to_string())
}
