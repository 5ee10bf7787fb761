//! What only HTTP has: pages of lists, and problems as RFC 9457 writes them.
use crate::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The media type of a [`ProblemDetails`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page is; null on the last one.
    pub next: Option<String>,
}

/// What went wrong, as RFC 9457 writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ProblemDetails {
    /// Where the kind of problem is explained.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words: the same for every problem of its kind.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong, and where.
    pub detail: String,
    /// What kind of problem it is: stable, for programs.
    pub code: ProblemCode,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// Facts by name.
    pub context: BTreeMap<String, String>,
    /// The request that this answers, as logs name it.
    pub request_id: Option<String>,
}

impl ProblemDetails {
    /// A problem that is answered with `status`.
    #[must_use]
    pub fn new(problem: Problem, status: u16) -> Self {
        let name = problem.code.as_str();
        Self {
            kind: format!("/api/v1/docs#problem-{name}"),
            title: name.replace('_', " "),
            status,
            detail: problem.message,
            code: problem.code,
            hint: problem.hint,
            context: problem.context,
            request_id: None,
        }
    }

    /// In answer to this request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }
}

impl From<ProblemDetails> for Problem {
    fn from(details: ProblemDetails) -> Self {
        let mut problem = Self::new(details.code, details.detail);
        problem.hint = details.hint;
        problem.context = details.context;
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_comes_over_whole() {
        let problem = Problem::new(ProblemCode::NotFound, "there is no host `h1`")
            .with_hint("look")
            .with_context("host", "h1");
        let details = ProblemDetails::new(problem.clone(), 404).with_request_id("r1");
        let written = serde_json::to_string(&details).unwrap();
        assert!(written.starts_with(
            r#"{"type":"/api/v1/docs#problem-not_found","title":"not found","status":404,"#
        ));
        let read: ProblemDetails = serde_json::from_str(&written).unwrap();
        assert_eq!(Problem::from(read), problem);
    }
}
