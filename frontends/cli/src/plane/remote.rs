use super::{
    Place, Plane, Printed, Watch,
    feed::{RemotePrinted, RemoteWatch},
    upload::upload,
};
use crate::{app::Embedded, output::Output, packages::Packed};
use async_trait::async_trait;
use deploy_client::{ArtifactsOf, Client, ClientError, PageOf};
use deploy_core::{
    backend::ArtifactReader,
    digest::Digest,
    id::{HostName, PinName, ReleaseId, ServiceName},
    spec::Selector,
};
use deploy_operations::ArtifactSearch;
use deploy_wire::{
    Artifact, Explanation, Garbage, GarbageToCollect, Holders, Host, HostCheck, HostsToCheck,
    HostsToImport, HostsToRemove, Import, IssuedToken, LabelChanges, NewHost, NewPin, NewPlan,
    NewRelease, NewRollbackPlan, NewRollout, NewRun, NewToken, Page, Plan, Problem, ProblemCode,
    Release, ReleaseDiff, Removed, Rollout, RolloutCommand, RolloutSummary, ServerInfo, Service,
    ServiceSpec, Status, Token, Upload, Verification,
};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// How many are asked for at a time.
const PAGE: u32 = 1_000;

/// How many hosts are checked at a time.
const AT_A_TIME: usize = 64;

/// A control plane on a server.
#[derive(Clone, Debug)]
pub(crate) struct RemotePlane {
    pub(super) client: Client,
    url: String,
    output: Arc<Output>,
}

impl RemotePlane {
    pub(crate) const fn new(client: Client, url: String, output: Arc<Output>) -> Self {
        Self { client, url, output }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The token that this program shows.
    pub(crate) async fn current_token(&self) -> Result<Token, Problem> {
        self.told(self.client.current_token().await)
    }

    /// What the server says of itself.
    pub(crate) async fn server(&self) -> Result<ServerInfo, Problem> {
        self.told(self.client.server().await)
    }

    /// What the server says, or what people are told instead.
    pub(super) fn told<T>(&self, answer: Result<T, ClientError>) -> Result<T, Problem> {
        answer.map_err(|err| told(err, &self.url))
    }

    /// All of a list, or the first `most`.
    pub(super) async fn all<T: DeserializeOwned + Send + Sync>(
        &self,
        first: Result<Page<T>, ClientError>,
        most: usize,
    ) -> Result<Vec<T>, Problem> {
        let mut page = self.told(first)?;
        let mut items = std::mem::take(&mut page.items);
        while items.len() < most {
            let Some(mut next) = self.told(self.client.next_page(&page).await)? else { break };
            items.append(&mut next.items);
            page = next;
        }
        items.truncate(most);
        Ok(items)
    }
}

/// The first page of a list of which `most` are wanted.
pub(super) fn first(most: usize) -> PageOf {
    PageOf::first().with_limit(u32::try_from(most).unwrap_or(PAGE).clamp(1, PAGE))
}

/// A search, as it is asked of a server.
fn said(search: &ArtifactSearch) -> ArtifactsOf {
    ArtifactsOf {
        repository: search.repository.as_ref().map(ToString::to_string),
        kind: search.kind.map(|it| it.as_str().to_owned()),
        version: search.version.clone(),
        digest: search.digest.as_ref().map(|it| it.as_str().to_owned()),
        channel: search.channel.as_ref().map(ToString::to_string),
        since_s: search.since.map(|it| it.as_secs()),
    }
}

/// What people are told of an error of the client.
pub(super) fn told(err: ClientError, url: &str) -> Problem {
    let hint = match &err {
        ClientError::Problem(details) if details.code == ProblemCode::NotFound => {
            return unknown_route((**details).clone().into(), url);
        }
        ClientError::Problem(details) if details.code == ProblemCode::Unauthenticated => Some(
            "`DEPLOY_TOKEN`, `--token-file FILE` or the context says the token; whoever runs the server can make a new one",
        ),
        ClientError::Unexpected { .. } => Some(
            "is this address that of a `deploy serve`, and of a version near to this program's?",
        ),
        ClientError::Unreachable { .. } => Some(
            "is the server up, and is this its address? `deploy doctor` looks for what is wrong",
        ),
        ClientError::Untrusted { .. } => Some(
            "`--ca FILE` names the certificate of the authority to trust: the server's `tls/ca.pem`",
        ),
        _ => None,
    };
    let from_server = matches!(err, ClientError::Problem(_));
    let problem = Problem::from(err);
    let problem = if from_server { problem } else { problem.with_context("server", url) };
    match hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

/// What is not found because the server does not know the route is missing in another way than a thing of that name.
fn unknown_route(mut problem: Problem, url: &str) -> Problem {
    if !problem.message.starts_with("there is nothing at `") {
        return problem;
    }
    problem.code = ProblemCode::Unsupported;
    problem.message =
        format!("the server at {url} does not offer this: it is older than this program");
    problem
        .with_hint("`deploy doctor` shows both versions; `deploy serve` of the newer one offers it")
        .with_context("server", url)
}

#[async_trait]
impl Plane for RemotePlane {
    fn own(&self) -> Option<&Embedded> {
        None
    }

    async fn services(&self) -> Result<Vec<Service>, Problem> {
        self.all(self.client.services(&first(usize::MAX)).await, usize::MAX).await
    }

    async fn service(&self, name: &ServiceName) -> Result<Service, Problem> {
        self.told(self.client.service(name.as_str()).await)
    }

    async fn put_service(
        &self,
        name: &ServiceName,
        spec: &ServiceSpec,
        revision: Option<u64>,
    ) -> Result<Service, Problem> {
        self.told(self.client.put_service(name.as_str(), spec, revision).await)
    }

    async fn history(&self, name: &ServiceName, limit: usize) -> Result<Vec<Service>, Problem> {
        self.all(self.client.history(name.as_str(), &first(limit)).await, limit).await
    }

    async fn status(&self, service: &ServiceName, refresh: bool) -> Result<Status, Problem> {
        match refresh {
            true => self.told(self.client.refresh(service.as_str()).await),
            false => self.told(self.client.status(service.as_str()).await),
        }
    }

    async fn hosts(&self, selector: Option<&Selector>) -> Result<Vec<Host>, Problem> {
        let selector = selector.map(ToString::to_string);
        let page = self.client.hosts(selector.as_deref(), &first(usize::MAX)).await;
        self.all(page, usize::MAX).await
    }

    async fn host(&self, name: &HostName) -> Result<Host, Problem> {
        self.told(self.client.host(name.as_str()).await)
    }

    async fn add_host(&self, host: NewHost) -> Result<Host, Problem> {
        self.told(self.client.add_host(&host).await)
    }

    async fn import_hosts(&self, hosts: HostsToImport) -> Result<Import, Problem> {
        self.told(self.client.import_hosts(&hosts).await)
    }

    async fn label_host(
        &self,
        name: &HostName,
        changes: &LabelChanges,
        revision: u64,
    ) -> Result<Host, Problem> {
        self.told(self.client.label_host(name.as_str(), changes, revision).await)
    }

    async fn remove_hosts(&self, hosts: &HostsToRemove) -> Result<Removed, Problem> {
        self.told(self.client.remove_hosts(hosts).await)
    }

    async fn check_hosts(&self, selector: Option<&Selector>) -> Result<Vec<HostCheck>, Problem> {
        let hosts = self.hosts(selector).await?;
        let names: Vec<&str> = hosts.iter().map(|it| it.name.as_str()).collect();
        let mut checks = Vec::new();
        // A server takes its time for hosts that do not answer: a request is for no more than it looks at at a time.
        for some in names.chunks(AT_A_TIME) {
            let selector = Some(format!("host in ({})", some.join(",")));
            checks.extend(self.told(self.client.check_hosts(&HostsToCheck { selector }).await)?);
        }
        if names.is_empty() {
            let selector = selector.map(ToString::to_string);
            return self.told(self.client.check_hosts(&HostsToCheck { selector }).await);
        }
        Ok(checks)
    }

    async fn artifacts(&self, search: &ArtifactSearch) -> Result<Vec<Artifact>, Problem> {
        let page = self.client.artifacts(&said(search), &first(usize::MAX)).await;
        self.all(page, usize::MAX).await
    }

    async fn upload(&self, digest: &Digest) -> Result<Upload, Problem> {
        self.told(self.client.upload_state(&digest.to_string()).await)
    }

    async fn put_artifact(&self, packed: Packed, place: &Place) -> Result<Artifact, Problem> {
        self.told(upload(&self.client, &self.output, packed, place).await)
    }

    async fn open_artifact(&self, digest: &Digest) -> Result<ArtifactReader, Problem> {
        let body = self.told(self.client.download(&digest.to_string()).await)?;
        Ok(Box::pin(body))
    }

    async fn descriptor(&self, digest: &Digest) -> Result<Vec<u8>, Problem> {
        self.told(self.client.descriptor(&digest.to_string()).await)
    }

    async fn verify_artifact(&self, digest: &Digest) -> Result<Verification, Problem> {
        self.told(self.client.verify_artifact(&digest.to_string()).await)
    }

    async fn holders(&self, digest: &Digest) -> Result<Holders, Problem> {
        self.told(self.client.holders(&digest.to_string()).await)
    }

    async fn pin(&self, digest: &Digest, name: &PinName) -> Result<Holders, Problem> {
        let pin = NewPin { name: name.to_string() };
        self.told(self.client.pin(&digest.to_string(), &pin).await)
    }

    async fn unpin(&self, digest: &Digest, name: &PinName) -> Result<(), Problem> {
        self.told(self.client.unpin(&digest.to_string(), name.as_str()).await)
    }

    async fn collect_garbage(&self, garbage: &GarbageToCollect) -> Result<Garbage, Problem> {
        self.told(self.client.collect_garbage(garbage).await)
    }

    async fn releases(&self, service: &ServiceName, limit: usize) -> Result<Vec<Release>, Problem> {
        self.all(self.client.releases(service.as_str(), &first(limit)).await, limit).await
    }

    async fn release(&self, id: &ReleaseId) -> Result<Release, Problem> {
        self.told(self.client.release(id.as_str()).await)
    }

    async fn create_release(&self, release: &NewRelease) -> Result<Release, Problem> {
        self.told(self.client.create_release(release).await)
    }

    async fn release_diff(&self, from: &ReleaseId, to: &ReleaseId) -> Result<ReleaseDiff, Problem> {
        self.told(self.client.release_diff(from.as_str(), to.as_str()).await)
    }

    async fn plan(&self, plan: &NewPlan) -> Result<Plan, Problem> {
        self.told(self.client.plan(plan).await)
    }

    async fn plan_rollback(&self, plan: &NewRollbackPlan) -> Result<Plan, Problem> {
        self.told(self.client.plan_rollback(plan).await)
    }

    async fn plan_run(&self, run: &NewRun) -> Result<Plan, Problem> {
        self.told(self.client.plan_run(run).await)
    }

    async fn start(&self, rollout: &NewRollout) -> Result<Rollout, Problem> {
        self.told(self.client.start(rollout).await)
    }

    async fn start_run(&self, run: &NewRun) -> Result<Rollout, Problem> {
        self.told(self.client.start_run(run).await)
    }

    async fn rollouts(
        &self,
        service: Option<&ServiceName>,
        limit: usize,
    ) -> Result<Vec<RolloutSummary>, Problem> {
        let service = service.map(ServiceName::as_str);
        self.all(self.client.rollouts(service, &first(limit)).await, limit).await
    }

    async fn rollout(&self, named: &str, hosts: bool) -> Result<Rollout, Problem> {
        self.told(self.client.rollout(named, hosts).await)
    }

    async fn command(&self, id: &str, command: &RolloutCommand) -> Result<Rollout, Problem> {
        self.told(self.client.command(id, command).await)
    }

    async fn why(&self, named: &str, host: &HostName) -> Result<Explanation, Problem> {
        self.told(self.client.why(named, host.as_str()).await)
    }

    async fn watch(&self, id: &str, after: u64) -> Result<Box<dyn Watch>, Problem> {
        let rollout = self.rollout(id, false).await?;
        Ok(Box::new(RemoteWatch::open(self.client.clone(), self.url.clone(), rollout, after)))
    }

    async fn printed(
        &self,
        id: &str,
        host: Option<&HostName>,
    ) -> Result<Box<dyn Printed>, Problem> {
        let (client, url) = (self.client.clone(), self.url.clone());
        Ok(Box::new(RemotePrinted::open(client, url, id, host)))
    }

    async fn tokens(&self) -> Result<Vec<Token>, Problem> {
        self.all(self.client.tokens(&first(usize::MAX)).await, usize::MAX).await
    }

    async fn create_token(&self, token: NewToken) -> Result<IssuedToken, Problem> {
        self.told(self.client.create_token(&token).await)
    }

    async fn revoke_token(&self, id: &str) -> Result<(), Problem> {
        self.told(self.client.revoke_token(id).await)
    }
}
