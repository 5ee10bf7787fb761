//! Requests and answers, over connections that are kept.
use crate::ClientError;
use bytes::Bytes;
use deploy_core::{backend::Clock, memory::SystemClock};
use deploy_wire::{PROBLEM_JSON, ProblemCode, ProblemDetails};
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;
use std::{fmt, io, sync::Arc, time::Duration};
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// How long an answer may take that is not a stream.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a request is sent that can be sent again.
const TRIES: u32 = 4;
/// The wait before the second time; it doubles.
const BACKOFF: Duration = Duration::from_millis(200);
/// The largest answer that is taken, in bytes.
const LARGEST: usize = 256 << 20;

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A server, and what lets one in.
#[derive(Clone)]
pub struct Server {
    url: String,
    token: String,
    authority: Option<Vec<u8>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Server {
    /// The server at `url`, such as `https://deploy.example.com:7443`, with a token.
    #[must_use]
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        let clock = Arc::new(SystemClock::new());
        Self { url: url.into(), token: token.into(), authority: None, clock }
    }

    /// Trusting this authority, in PEM, and nobody else. A server with `https` needs one.
    #[must_use]
    pub fn with_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// Waiting by another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// Sends requests to one server.
#[derive(Clone)]
pub(crate) struct Http {
    pool: Pool<HttpsConnector<HttpConnector>, Body>,
    base: String,
    token: HeaderValue,
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Bytes>,
    /// Whether it is harmless to ask twice.
    repeatable: bool,
}

impl Asked {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let repeatable = method == Method::GET;
        Self { method, path: path.into(), headers: Vec::new(), body: None, repeatable }
    }

    pub(crate) fn with_header(
        mut self,
        name: HeaderName,
        value: &str,
    ) -> Result<Self, ClientError> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| ClientError::Invalid(format!("`{name}` cannot be {value:?}")))?;
        self.headers.push((name, value));
        Ok(self)
    }

    pub(crate) fn with_json(mut self, value: &impl serde::Serialize) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(value);
        let body = body.map_err(|err| ClientError::Invalid(err.to_string()))?;
        self.body = Some(body.into());
        self.with_header(header::CONTENT_TYPE, "application/json")
    }

    /// Named, so that it is done once however often it is asked.
    pub(crate) fn once(mut self) -> Result<Self, ClientError> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|err| ClientError::Invalid(err.to_string()))?;
        let key = format!("{:032x}", u128::from_le_bytes(bits));
        self.repeatable = true;
        self.with_header(HeaderName::from_static("idempotency-key"), &key)
    }
}

impl Http {
    pub(crate) fn new(server: Server) -> Result<Self, ClientError> {
        let invalid = |what: String| ClientError::Invalid(what);
        let base = server.url.trim_end_matches('/').to_owned();
        let uri: Uri =
            base.parse().map_err(|err| invalid(format!("`{base}` is no address: {err}")))?;
        let host = uri.host().unwrap_or_default();
        let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if here => {}
            Some("http") => {
                let why = "a token would travel readable";
                return Err(invalid(format!("`{base}` has to begin with https: {why}")));
            }
            _ => return Err(invalid(format!("`{base}` has to begin with https://"))),
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(invalid(format!("`{base}` has to be a server, without a path")));
        }
        if uri.scheme_str() == Some("https") && server.authority.is_none() {
            return Err(invalid(format!(
                "whose certificate is `{base}` to have? Name an authority"
            )));
        }
        let mut token = HeaderValue::from_str(&format!("Bearer {}", server.token))
            .map_err(|_| invalid("the token is not one".to_owned()))?;
        token.set_sensitive(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(server.authority.as_deref().unwrap_or_default())?)
            .https_or_http()
            .enable_http1()
            .build();
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        Ok(Self { pool, base, token, clock: server.clock })
    }

    /// What is asked for, as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, asked: Asked) -> Result<T, ClientError> {
        let answer = self.answer(asked).await?;
        self.read(answer).await
    }

    /// Reads an answer that went well.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        answer: Response<Incoming>,
    ) -> Result<T, ClientError> {
        let bytes = self.bytes(answer.into_body()).await?;
        serde_json::from_slice(&bytes).map_err(|err| self.unexpected(err))
    }

    /// An answer that went well; what can be asked twice is, where there was no answer or the server has no time.
    pub(crate) async fn answer(&self, asked: Asked) -> Result<Response<Incoming>, ClientError> {
        let mut wait = BACKOFF;
        for _try in 1..TRIES {
            match self.once(&asked).await {
                Err(err) if asked.repeatable && is_passing(&err) => {
                    self.clock.sleep_until(self.clock.now().after(wait)).await;
                    wait *= 2;
                }
                answered => return answered,
            }
        }
        self.once(&asked).await
    }

    async fn once(&self, asked: &Asked) -> Result<Response<Incoming>, ClientError> {
        let body = Full::new(asked.body.clone().unwrap_or_default());
        let body = body.map_err(|never| match never {}).boxed();
        let sent = self.send(&asked.method, &asked.path, &asked.headers, body);
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(answer) => answer,
            Err(_late) => {
                Err(self.unreachable(format!("nothing came for {} seconds", PATIENCE.as_secs())))
            }
        }
    }

    /// Sends a request once, and gives an answer that went well.
    pub(crate) async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, self.token.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|err| ClientError::Invalid(err.to_string()))?;
        let answer = self.pool.request(request).await;
        let answer = answer.map_err(|err| self.unanswered(&err))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(self.problem(answer).await)
    }

    async fn problem(&self, answer: Response<Incoming>) -> ClientError {
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE);
        if kind.is_none_or(|it| it != PROBLEM_JSON) {
            return self.unexpected(format_args!("it is {status}, and no problem"));
        }
        match self.bytes(answer.into_body()).await.map(|it| problem(status, &it)) {
            Ok(Ok(details)) => ClientError::Problem(Box::new(details)),
            Ok(Err(err)) => self.unexpected(err),
            Err(err) => err,
        }
    }

    pub(crate) async fn bytes(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let read = tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST).collect()).await;
        let read = read.map_err(|_late| self.unreachable("the answer did not come whole"))?;
        Ok(read.map_err(|err| self.unreachable(err))?.to_bytes())
    }

    /// Why there was no answer.
    fn unanswered(&self, err: &(dyn std::error::Error + 'static)) -> ClientError {
        match distrusted(err) {
            Some(reason) => ClientError::Untrusted { place: self.base.clone(), reason },
            None => self.unreachable(causes(err)),
        }
    }

    pub(crate) fn unreachable(&self, reason: impl fmt::Display) -> ClientError {
        ClientError::Unreachable { place: self.base.clone(), reason: reason.to_string() }
    }

    pub(crate) fn unexpected(&self, what: impl fmt::Display) -> ClientError {
        ClientError::Unexpected { place: self.base.clone(), what: what.to_string() }
    }
}

/// Reads a problem. One with a code that this program does not know is still one: newer servers have newer codes.
fn problem(status: StatusCode, bytes: &[u8]) -> serde_json::Result<ProblemDetails> {
    serde_json::from_slice(bytes).or_else(|_| {
        let mut value: serde_json::Value = serde_json::from_slice(bytes)?;
        let fields = value.as_object_mut();
        let code = if status.is_server_error() {
            ProblemCode::Internal
        } else {
            ProblemCode::InvalidInput
        };
        if let Some(fields) = fields {
            fields.insert("code".to_owned(), code.as_str().into());
        }
        serde_json::from_value(value)
    })
}

/// Whether the same request may well be answered in a moment.
pub(crate) fn is_passing(err: &ClientError) -> bool {
    match err {
        ClientError::Unreachable { .. } => true,
        ClientError::Problem(it) => {
            matches!(it.code, ProblemCode::InProgress | ProblemCode::Unavailable)
        }
        _ => false,
    }
}

/// What is wrong with the certificate of the other side, if that is what is wrong.
fn distrusted(err: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(err);
    while let Some(err) = cause {
        if let Some(err @ rustls::Error::InvalidCertificate(_)) = err.downcast_ref() {
            return Some(err.to_string());
        }
        // What an error of the system wraps is not its source: it stands for that.
        cause = match err.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => err.source(),
        };
    }
    None
}

/// An error and all its causes.
fn causes(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        text = format!("{text}: {err}");
        source = err.source();
    }
    text
}

fn tls(authority: &[u8]) -> Result<ClientConfig, ClientError> {
    let bad =
        |err: &dyn fmt::Display| ClientError::Invalid(format!("the authority is none: {err}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        let certificate = certificate.map_err(|err| bad(&err))?;
        roots.add(certificate).map_err(|err| bad(&err))?;
    }
    if roots.is_empty() && !authority.is_empty() {
        return Err(bad(&"there is no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|err| bad(&err))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Http::new(Server::new(url, "dpl_x")).err().map(|it| it.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_token_does_not_travel_readable() {
        assert_eq!(refused("http://127.0.0.1:1"), "");
        assert_eq!(refused("http://[::1]:1/"), "");
        assert!(refused("http://127.0.0.1.example.com").contains("https"));
        assert!(refused("http://deploy.example.com").contains("https"));
        assert!(refused("https://deploy.example.com").contains("authority"));
        assert!(refused("https://deploy.example.com/api").contains("without a path"));
        assert!(refused("deploy.example.com").contains("https"));
        assert!(!format!("{:?}", Server::new("https://x", "dpl_secret")).contains("secret"));
    }

    #[test]
    fn a_problem_of_a_newer_server_is_understood() {
        let text = br#"{"type":"x","title":"x","status":418,"detail":"no tea","code":"teapot","hint":null,"context":{},"request_id":null}"#;
        let details = problem(StatusCode::IM_A_TEAPOT, text).unwrap();
        assert_eq!((details.code, details.detail.as_str()), (ProblemCode::InvalidInput, "no tea"));
        assert!(problem(StatusCode::OK, b"{}").is_err() && problem(StatusCode::OK, b"x").is_err());
    }
}
