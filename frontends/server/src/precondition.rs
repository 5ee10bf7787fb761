//! Changes that name what they are for: nobody writes over what they have not seen.
use crate::problem::{Answer, HttpProblem};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts as Head},
};
use deploy_core::backend::Revision;
use deploy_wire::ProblemCode;

/// What must be there for a value to be put: a revision, or (`None`) nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Precondition(pub(crate) Option<Revision>);

impl<S: Sync> FromRequestParts<S> for Precondition {
    type Rejection = HttpProblem;

    async fn from_request_parts(head: &mut Head, _: &S) -> Answer<Self> {
        read(&head.headers).map(Self)
    }
}

fn read(headers: &HeaderMap) -> Answer<Option<Revision>> {
    let one = |name: HeaderName| {
        let mut values = headers.get_all(&name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Ok(value.to_str().ok().map(str::trim)),
            (Some(_), Some(_)) => {
                Err(HttpProblem::malformed(format_args!("`{name}` must be one value")))
            }
        }
    };
    match (one(header::IF_MATCH)?, one(header::IF_NONE_MATCH)?) {
        (Some(tag), None) => revision(tag).map(Some).ok_or_else(|| {
            HttpProblem::malformed("`If-Match` must be the `ETag` of an answer, such as \"3\"")
        }),
        (None, Some("*")) => Ok(None),
        (None, Some(_)) => Err(HttpProblem::malformed("`If-None-Match` must be `*`")),
        (Some(_), Some(_)) => {
            Err(HttpProblem::malformed("it is either `If-Match` or `If-None-Match`"))
        }
        (None, None) => {
            let message = "a change must name the revision that it is for";
            Err(HttpProblem::new(ProblemCode::PreconditionRequired, message).with_hint(
                "send `If-Match` with the `ETag` of what you have seen, or `If-None-Match: *` to add something",
            ))
        }
    }
}

fn revision(tag: &str) -> Option<Revision> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Revision::new)).flatten()
}

/// The header that says which revision an answer shows.
pub(crate) fn etag(revision: u64) -> [(HeaderName, HeaderValue); 1] {
    let tag = HeaderValue::from_str(&format!("\"{revision}\""));
    [(header::ETAG, tag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;

    fn status(pairs: &[(&str, &str)]) -> Result<Option<u64>, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers
                .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        read(&headers)
            .map(|it| it.map(Revision::get))
            .map_err(|err| err.into_response().status().as_u16())
    }

    #[test]
    fn a_change_names_what_it_is_for() {
        assert_eq!(status(&[("if-match", "\"3\"")]), Ok(Some(3)));
        assert_eq!(status(&[("if-none-match", "*")]), Ok(None));
        assert_eq!(status(&[]), Err(428));
        for wrong in ["3", "\"\"", "\"+3\"", "\"x\"", "*", "W/\"3\"", "\"99999999999999999999\""] {
            assert_eq!(status(&[("if-match", wrong)]), Err(400), "{wrong}");
        }
        assert_eq!(status(&[("if-none-match", "\"3\"")]), Err(400));
        assert_eq!(status(&[("if-match", "\"3\""), ("if-none-match", "*")]), Err(400));
        assert_eq!(status(&[("if-match", "\"3\""), ("if-match", "\"4\"")]), Err(400));
    }
}
