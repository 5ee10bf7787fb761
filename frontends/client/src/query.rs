//! What stands in paths and behind `?`.

/// Which page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageOf {
    /// How many at the most; `None` leaves it to the server.
    pub limit: Option<u32>,
    /// The key of the last one that was seen.
    pub after: Option<String>,
}

impl PageOf {
    /// The first page.
    #[must_use]
    pub const fn first() -> Self {
        Self { limit: None, after: None }
    }

    /// Of at most this many.
    #[must_use]
    pub const fn with_limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// After this key.
    #[must_use]
    pub fn with_after(mut self, after: impl Into<String>) -> Self {
        self.after = Some(after.into());
        self
    }

    pub(crate) fn path(&self, path: &str, more: &[(&str, Option<&str>)]) -> String {
        let limit = self.limit.map(|it| it.to_string());
        let page = [("limit", limit.as_deref()), ("after", self.after.as_deref())];
        with_query(path, page.iter().chain(more))
    }
}

/// `path` with what is there of `query`.
pub(crate) fn with_query<'a>(
    path: &str,
    query: impl IntoIterator<Item = &'a (&'a str, Option<&'a str>)>,
) -> String {
    let mut whole = path.to_owned();
    let there = query.into_iter().filter_map(|(name, value)| Some((name, (*value)?)));
    for (at, (name, value)) in there.enumerate() {
        let sign = if at == 0 { '?' } else { '&' };
        whole.push_str(&format!("{sign}{name}={}", encoded(value)));
    }
    whole
}

/// `text` as one part of a path, or of a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || b"-_~:".contains(&byte)
            || (byte == b'.' && text.len() > 2)
        {
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

    #[test]
    fn nothing_breaks_out_of_its_place() {
        assert_eq!(encoded("web-1.4.2"), "web-1.4.2");
        assert_eq!(encoded(".."), "%2E%2E");
        assert_eq!(encoded("a/b?c=d&e#ü"), "a%2Fb%3Fc%3Dd%26e%23%C3%BC");
        let page = PageOf::first().with_limit(5).with_after("h1");
        assert_eq!(
            page.path("/x", &[("s", Some("a=b")), ("t", None)]),
            "/x?limit=5&after=h1&s=a%3Db"
        );
        assert_eq!(PageOf::first().path("/x", &[]), "/x");
    }
}
