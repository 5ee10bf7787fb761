//! What a request says, read strictly.
use crate::{
    problem::{Answer, HttpProblem},
    state::SharedState,
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts as Head},
};
use deploy_operations::parse::field;
use deploy_wire::{Page, ProblemCode};
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeSet, fmt::Display, str::FromStr};
use utoipa::IntoParams;

/// A JSON body, of which every field is known.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<SharedState> for Body<T> {
    type Rejection = HttpProblem;

    async fn from_request(request: Request, state: &SharedState) -> Answer<Self> {
        if !is_json(request.headers()) {
            let message = "the body must be JSON, and say so with `Content-Type: application/json`";
            return Err(HttpProblem::new(ProblemCode::UnsupportedMediaType, message));
        }
        let bytes = Bytes::from_request(request, state).await?;
        read(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = sent.and_then(|it| it.split(';').next()).map(str::trim);
    essence.is_some_and(|it| it.eq_ignore_ascii_case("application/json"))
}

/// Reads JSON; what is not known of it is refused, so that a field that is written wrong does not go unnoticed.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let mut unknown = BTreeSet::new();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = serde_ignored::deserialize(tracked, |path| {
        unknown.insert(path.to_string());
    });
    let value = read.and_then(|value| json.end().map(|()| value)).map_err(|err| {
        let message = if err.is_data() {
            format!("the body does not say what it must: {err}")
        } else {
            format!("the body is not JSON: {err}")
        };
        let data = err.is_data();
        let mut problem = HttpProblem::malformed(message)
            .with_context("line", err.line())
            .with_context("column", err.column());
        if data {
            problem = problem.unprocessable().with_context("field", track.path());
        }
        problem
    })?;
    match unknown.pop_first() {
        None => Ok(value),
        Some(field) => {
            let message = format!("the body has a field that nobody knows: `{field}`");
            Err(HttpProblem::new(ProblemCode::InvalidInput, message).with_context("field", field))
        }
    }
}

/// What stands behind `?`, of which every field is known.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = HttpProblem;

    async fn from_request_parts(head: &mut Head, state: &S) -> Answer<Self> {
        let Query(asked) = Query::from_request_parts(head, state).await?;
        Ok(Self(asked))
    }
}

/// The parts of a path that have names.
#[derive(Debug)]
pub(crate) struct Named(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = HttpProblem;

    async fn from_request_parts(head: &mut Head, state: &S) -> Answer<Self> {
        let params = RawPathParams::from_request_parts(head, state).await;
        let params = params.map_err(|err| HttpProblem::malformed(err.body_text()))?;
        Ok(Self(params.iter().map(|(name, it)| (name.to_owned(), it.to_owned())).collect()))
    }
}

impl Named {
    /// What the part `name` means.
    pub(crate) fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Answer<T> {
        let text = self.0.iter().find(|(it, _)| it == name).map_or("", |(_, text)| text);
        Ok(field(name, text)?)
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many at the most: 1 to 1000, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
    /// The key of the last one that was seen; pages say it themselves, in `next`.
    pub(crate) after: Option<String>,
}

/// The most that a page holds.
const LARGEST_PAGE: usize = 1_000;

impl PageQuery {
    pub(crate) fn limit(&self) -> Answer<usize> {
        match self.limit.unwrap_or(100) {
            limit @ 1..=LARGEST_PAGE => Ok(limit),
            _ => {
                let message = format!("`limit` must be 1 to {LARGEST_PAGE}");
                Err(HttpProblem::malformed(message).with_context("field", "limit"))
            }
        }
    }

    pub(crate) fn after<T: FromStr<Err: Display>>(&self) -> Answer<Option<T>> {
        Ok(self.after.as_ref().map(|it| field("after", it)).transpose()?)
    }
}

/// A page whose next one lies at `path`, with the other parameters of `query`.
pub(crate) fn page<T>(
    items: Vec<T>,
    next: Option<String>,
    path: &str,
    limit: usize,
    query: &[(&str, Option<&str>)],
) -> Page<T> {
    let next = next.map(|after| {
        let mut link = format!("{path}?limit={limit}&after={}", encoded(&after));
        for (name, value) in query.iter().filter_map(|(name, it)| Some((name, (*it)?))) {
            link.push_str(&format!("&{name}={}", encoded(value)));
        }
        link
    });
    Page { items, next }
}

/// `text` as a part of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_wire::NewPlan;
    use proptest::prelude::*;

    #[test]
    fn a_field_that_nobody_knows_is_refused() {
        let read = |text: &str| read::<NewPlan>(text.as_bytes());
        assert_eq!(read(r#"{"service":"web","release":"web-1"}"#).unwrap().service, "web");
        for wrong in [
            r#"{"service":"web","release":"web-1","sed":1}"#,
            r#"{"service":"web"}"#,
            r#"{"service":1,"release":"web-1"}"#,
            r#"{"service":"web","release":"web-1"} x"#,
            "",
            "[",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_link_leads_to_the_next_page() {
        let page =
            page(vec![1], Some("a b/ü".to_owned()), "/x", 5, &[("s", Some("k=v")), ("t", None)]);
        assert_eq!(page.next.unwrap(), "/x?limit=5&after=a%20b%2F%C3%BC&s=k%3Dv");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(read::<deploy_wire::ServiceSpec>(&bytes));
        }
    }
}
