//! What can be asked for, one method a route.
use crate::{
    ArtifactUpload, ClientError, Feed, PageOf, Server,
    http::{Asked, Http},
    query::{encoded, with_query},
    upload,
};
use deploy_wire::{
    Artifact, Explanation, Host, HostSpec, HostsToImport, Import, IssuedToken, LabelChanges,
    LogLine, NewHost, NewPlan, NewRelease, NewRollbackPlan, NewRollout, NewRun, NewToken, Page,
    Plan, Release, ReleaseDiff, Rollout, RolloutCommand, RolloutEvent, RolloutSummary, Service,
    ServiceSpec, Status, Token, Upload, Verification,
};
use hyper::{Method, header};
use serde::{Serialize, de::DeserializeOwned};
use std::io;
use tokio::io::{AsyncRead, AsyncSeek};

/// Speaks to a server. Cheap to clone: all of them share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) http: Http,
}

/// # Errors
/// All methods: what the server refuses, and that there is no answer.
impl Client {
    /// A client of `server`. Nothing is sent yet.
    ///
    /// # Errors
    /// If the address, the token or the authority cannot be one.
    pub fn new(server: Server) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(server)? })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, ClientError> {
        self.http.json(Asked::new(Method::GET, path)).await
    }

    pub(crate) async fn get_bytes(&self, path: String) -> Result<Vec<u8>, ClientError> {
        let answer = self.http.answer(Asked::new(Method::GET, path)).await?;
        Ok(self.http.bytes(answer.into_body()).await?.to_vec())
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ClientError> {
        self.http.json(Asked::new(Method::POST, path).with_json(body)?.once()?).await
    }

    /// Changes what is at `revision`, or (`None`) adds something.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: &(impl Serialize + Sync),
        revision: Option<u64>,
    ) -> Result<T, ClientError> {
        let asked = Asked::new(method, path).with_json(body)?;
        let asked = match revision {
            Some(revision) => asked.with_header(header::IF_MATCH, &format!("\"{revision}\""))?,
            None => asked.with_header(header::IF_NONE_MATCH, "*")?,
        };
        self.http.json(asked).await
    }

    pub(crate) async fn delete(&self, path: String) -> Result<(), ClientError> {
        self.http.answer(Asked::new(Method::DELETE, path)).await.map(drop)
    }

    /// The page after `page`; `None` if that was the last.
    pub async fn next_page<T: DeserializeOwned + Sync>(
        &self,
        page: &Page<T>,
    ) -> Result<Option<Page<T>>, ClientError> {
        match &page.next {
            Some(path) => self.get(path.clone()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Services, in the order of their names.
    pub async fn services(&self, page: &PageOf) -> Result<Page<Service>, ClientError> {
        self.get(page.path("/api/v1/services", &[])).await
    }

    /// One service.
    pub async fn service(&self, name: &str) -> Result<Service, ClientError> {
        self.get(format!("/api/v1/services/{}", encoded(name))).await
    }

    /// Changes the service at `revision`, or (`None`) adds one.
    pub async fn put_service(
        &self,
        name: &str,
        spec: &ServiceSpec,
        revision: Option<u64>,
    ) -> Result<Service, ClientError> {
        let path = format!("/api/v1/services/{}", encoded(name));
        self.put(Method::PUT, path, spec, revision).await
    }

    /// What a service was, newest first.
    pub async fn history(&self, name: &str, page: &PageOf) -> Result<Page<Service>, ClientError> {
        self.get(page.path(&format!("/api/v1/services/{}/history", encoded(name)), &[])).await
    }

    /// What hosts are known to run of a service.
    pub async fn status(&self, service: &str) -> Result<Status, ClientError> {
        self.get(format!("/api/v1/services/{}/status", encoded(service))).await
    }

    /// Hosts, in the order of their names: those that a selector selects, or all.
    pub async fn hosts(
        &self,
        selector: Option<&str>,
        page: &PageOf,
    ) -> Result<Page<Host>, ClientError> {
        self.get(page.path("/api/v1/hosts", &[("selector", selector)])).await
    }

    /// One host.
    pub async fn host(&self, name: &str) -> Result<Host, ClientError> {
        self.get(format!("/api/v1/hosts/{}", encoded(name))).await
    }

    /// Adds a host.
    pub async fn add_host(&self, host: &NewHost) -> Result<Host, ClientError> {
        self.post("/api/v1/hosts", host).await
    }

    /// Changes the host at `revision`, or (`None`) adds one.
    pub async fn put_host(
        &self,
        name: &str,
        spec: &HostSpec,
        revision: Option<u64>,
    ) -> Result<Host, ClientError> {
        self.put(Method::PUT, format!("/api/v1/hosts/{}", encoded(name)), spec, revision).await
    }

    /// Changes labels of the host at `revision`.
    pub async fn label_host(
        &self,
        name: &str,
        changes: &LabelChanges,
        revision: u64,
    ) -> Result<Host, ClientError> {
        let path = format!("/api/v1/hosts/{}", encoded(name));
        self.put(Method::PATCH, path, changes, Some(revision)).await
    }

    /// Adds hosts, and changes those that are there and otherwise.
    pub async fn import_hosts(&self, hosts: &HostsToImport) -> Result<Import, ClientError> {
        self.post("/api/v1/hosts/import", hosts).await
    }

    /// Removes a host from the inventory.
    pub async fn remove_host(&self, name: &str) -> Result<(), ClientError> {
        self.delete(format!("/api/v1/hosts/{}", encoded(name))).await
    }

    /// Releases of a service, newest first.
    pub async fn releases(
        &self,
        service: &str,
        page: &PageOf,
    ) -> Result<Page<Release>, ClientError> {
        self.get(page.path(&format!("/api/v1/services/{}/releases", encoded(service)), &[])).await
    }

    /// One release.
    pub async fn release(&self, id: &str) -> Result<Release, ClientError> {
        self.get(format!("/api/v1/releases/{}", encoded(id))).await
    }

    /// Makes a release of artifacts that are in the store.
    pub async fn create_release(&self, release: &NewRelease) -> Result<Release, ClientError> {
        self.post("/api/v1/releases", release).await
    }

    /// What differs between two releases.
    pub async fn release_diff(&self, from: &str, to: &str) -> Result<ReleaseDiff, ClientError> {
        self.get(format!("/api/v1/releases/{}/diff/{}", encoded(from), encoded(to))).await
    }

    /// How far the upload of an artifact is.
    pub async fn upload_state(&self, digest: &str) -> Result<Upload, ClientError> {
        self.get(format!("/api/v1/artifacts/{}/upload", encoded(digest))).await
    }

    /// Uploads an artifact, going on where an upload before was cut off. `open` opens what is uploaded, once for each try.
    pub async fn upload<R, F>(
        &self,
        what: &ArtifactUpload,
        open: impl FnMut() -> F + Send,
    ) -> Result<Artifact, ClientError>
    where
        R: AsyncRead + AsyncSeek + Send + Sync + Unpin + 'static,
        F: Future<Output = io::Result<R>> + Send,
    {
        upload::upload(&self.http, what, open).await
    }

    /// Has an artifact read whole, and compared with its digest.
    pub async fn verify_artifact(&self, digest: &str) -> Result<Verification, ClientError> {
        self.post(&format!("/api/v1/artifacts/{}/verify", encoded(digest)), &()).await
    }

    /// Plans a release onto the hosts of its service.
    pub async fn plan(&self, plan: &NewPlan) -> Result<Plan, ClientError> {
        self.post("/api/v1/plans", plan).await
    }

    /// Starts a rollout, which the server drives.
    pub async fn start(&self, rollout: &NewRollout) -> Result<Rollout, ClientError> {
        self.post("/api/v1/rollouts", rollout).await
    }

    /// Rollouts, newest first: of a service, or all.
    pub async fn rollouts(
        &self,
        service: Option<&str>,
        page: &PageOf,
    ) -> Result<Page<RolloutSummary>, ClientError> {
        self.get(page.path("/api/v1/rollouts", &[("service", service)])).await
    }

    /// A rollout: its id, or a service for its newest one. With `hosts`, every host of it.
    pub async fn rollout(&self, named: &str, hosts: bool) -> Result<Rollout, ClientError> {
        let path = format!("/api/v1/rollouts/{}", encoded(named));
        self.get(with_query(&path, &[("hosts", hosts.then_some("true"))])).await
    }

    /// Tells a rollout what to do; gives the one that does it.
    pub async fn command(
        &self,
        rollout: &str,
        command: &RolloutCommand,
    ) -> Result<Rollout, ClientError> {
        self.post(&format!("/api/v1/rollouts/{}/commands", encoded(rollout)), command).await
    }

    /// What a host of a rollout waits for, or why it ended as it did.
    pub async fn why(&self, rollout: &str, host: &str) -> Result<Explanation, ClientError> {
        let (rollout, host) = (encoded(rollout), encoded(host));
        self.get(format!("/api/v1/rollouts/{rollout}/hosts/{host}")).await
    }

    /// What happens in a rollout after the event at `after`, until it is over.
    #[must_use]
    pub fn events(&self, rollout: &str, after: u64) -> Feed<RolloutEvent> {
        let path = format!("/api/v1/rollouts/{}/events", encoded(rollout));
        Feed::new(self.http.clone(), &path, &[], after)
    }

    /// What the steps of a rollout print, on one host or on all, until it is over.
    #[must_use]
    pub fn logs(&self, rollout: &str, host: Option<&str>, after: u64) -> Feed<LogLine> {
        let path = format!("/api/v1/rollouts/{}/logs", encoded(rollout));
        Feed::new(self.http.clone(), &path, &[("host", host)], after)
    }

    /// Plans to take back what a rollout did that is over.
    pub async fn plan_rollback(&self, plan: &NewRollbackPlan) -> Result<Plan, ClientError> {
        self.post("/api/v1/plans/rollback", plan).await
    }

    /// Plans to run a script on hosts.
    pub async fn plan_run(&self, run: &NewRun) -> Result<Plan, ClientError> {
        self.post("/api/v1/plans/run", run).await
    }

    /// Runs a script on hosts, as a rollout that the server drives.
    pub async fn start_run(&self, run: &NewRun) -> Result<Rollout, ClientError> {
        self.post("/api/v1/runs", run).await
    }

    /// What the steps of a rollout have printed by now, on one host or on all.
    #[must_use]
    pub fn logs_so_far(&self, rollout: &str, host: Option<&str>, after: u64) -> Feed<LogLine> {
        let path = format!("/api/v1/rollouts/{}/logs", encoded(rollout));
        Feed::new(self.http.clone(), &path, &[("host", host), ("follow", Some("false"))], after)
    }

    /// Tokens, also those that are worth nothing any more.
    pub async fn tokens(&self, page: &PageOf) -> Result<Page<Token>, ClientError> {
        self.get(page.path("/api/v1/tokens", &[])).await
    }

    /// Makes a token. Its secret is in the answer and nowhere else, so this is sent once: if there is no answer, look whether there is a token.
    pub async fn create_token(&self, token: &NewToken) -> Result<IssuedToken, ClientError> {
        self.http.json(Asked::new(Method::POST, "/api/v1/tokens").with_json(token)?).await
    }

    /// The token that this client has.
    pub async fn current_token(&self) -> Result<Token, ClientError> {
        self.get("/api/v1/tokens/current".to_owned()).await
    }

    /// Revokes a token, at once and for good.
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        self.delete(format!("/api/v1/tokens/{}", encoded(id))).await
    }
}
