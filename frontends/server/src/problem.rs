//! Every error as `application/problem+json`.
use axum::{
    body::Body,
    extract::rejection::{BytesRejection, QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use deploy_wire::{PROBLEM_JSON, Problem, ProblemCode, ProblemDetails};
use std::fmt::Display;

/// What a handler gives: an answer, or a problem.
pub(crate) type Answer<T> = Result<T, HttpProblem>;

/// A problem, and how it is answered.
#[derive(Debug)]
pub(crate) struct HttpProblem {
    status: StatusCode,
    headers: HeaderMap,
    problem: Box<Problem>,
}

/// The problem of an answer that is one, for those who add to it on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Answered(pub(crate) ProblemDetails);

impl HttpProblem {
    pub(crate) fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Problem::new(code, message).into()
    }

    /// A request that is written in a way that means nothing.
    pub(crate) fn malformed(message: impl Display) -> Self {
        let mut problem = Self::new(ProblemCode::InvalidInput, message.to_string());
        problem.status = StatusCode::BAD_REQUEST;
        problem
    }

    /// A request that can be read, and means nothing.
    pub(crate) const fn unprocessable(mut self) -> Self {
        self.status = StatusCode::UNPROCESSABLE_ENTITY;
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_context(mut self, key: &str, value: impl Display) -> Self {
        self.problem.context.insert(key.to_owned(), value.to_string());
        self
    }

    /// Answered in a way that says when to try again.
    pub(crate) fn retry_after(self, secs: u64) -> Self {
        self.with_context("retry_after_secs", secs).with_header(header::RETRY_AFTER, secs.into())
    }
}

impl From<Problem> for HttpProblem {
    fn from(problem: Problem) -> Self {
        let status = status(problem.code);
        let headers = HeaderMap::new();
        let answer = Self { status, headers, problem: Box::new(problem) };
        match answer.problem.code {
            ProblemCode::Unauthenticated => answer.with_header(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"deploy\""),
            ),
            _ => answer,
        }
    }
}

impl From<QueryRejection> for HttpProblem {
    fn from(rejection: QueryRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

impl From<BytesRejection> for HttpProblem {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(ProblemCode::TooLarge, "the body is larger than it may be");
        }
        Self::malformed("the body did not arrive whole")
    }
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let details = ProblemDetails::new(*self.problem, self.status.as_u16());
        let mut response = write(&details);
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response.extensions_mut().insert(Answered(details));
        response
    }
}

/// The answer that `details` is the body of, but for its status.
pub(crate) fn write(details: &ProblemDetails) -> Response {
    let body = serde_json::to_vec(details).map_or_else(|_| Body::empty(), Body::from);
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How a problem of this kind is answered.
pub(crate) const fn status(code: ProblemCode) -> StatusCode {
    match code {
        ProblemCode::AccessDenied => StatusCode::FORBIDDEN,
        ProblemCode::AlreadyExists
        | ProblemCode::Conflict
        | ProblemCode::Fenced
        | ProblemCode::InProgress
        | ProblemCode::InventoryChanged
        | ProblemCode::RolloutActive => StatusCode::CONFLICT,
        ProblemCode::EmptySelection
        | ProblemCode::InvalidArchive
        | ProblemCode::InvalidFile
        | ProblemCode::InvalidInput
        | ProblemCode::KeyReused
        | ProblemCode::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
        ProblemCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ProblemCode::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ProblemCode::NotFound => StatusCode::NOT_FOUND,
        ProblemCode::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ProblemCode::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
        ProblemCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ProblemCode::TimedOut | ProblemCode::Unavailable | ProblemCode::Interrupted => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ProblemCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ProblemCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemCode::Usage => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
