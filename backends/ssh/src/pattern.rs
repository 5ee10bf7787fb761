//! The patterns of `ssh_config` and `known_hosts`: `*`, `?`, and `!` for "not".

/// Whether `pattern` matches the whole of `text`; `*` stands for any characters, `?` for one.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on when what follows the last `*` does not fit: with one character more under that `*`.
    let mut retry = None;
    loop {
        let rest = text.clone();
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((pattern.clone(), rest.clone()));
                text = rest;
            }
            (Some('?'), Some(_)) => {}
            (Some(want), Some(found)) if want == found => {}
            _ => {
                let Some((after_star, mut longer)) = retry.take() else { return false };
                if longer.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                text = longer.clone();
                retry = Some((after_star, longer));
            }
        }
    }
}

/// Several patterns: at least one has to match, and none with a `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PatternList(Vec<String>);

impl PatternList {
    pub(crate) fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut found = false;
        for pattern in &self.0 {
            match pattern.strip_prefix('!') {
                Some(not) if matches(not, text) => return false,
                Some(_) => {}
                None => found |= matches(pattern, text),
            }
        }
        found
    }

    /// The names, if the list is nothing but names.
    pub(crate) fn names(&self) -> Option<&[String]> {
        let plain = self.0.iter().all(|it| !it.contains(['*', '?', '!']));
        plain.then_some(self.0.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_stars_and_question_marks() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbc"),
            ("?b*", "abc"),
            ("*.org", "a.b.org"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("?", ""), ("a*c", "abb"), ("*.org", "org"), ("a?", "abc")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_negation_beats_every_other_pattern() {
        let list = PatternList::new(["*.example.org", "!db.*"]);
        assert!(list.matches("web.example.org"));
        assert!(!list.matches("db.example.org"));
        assert!(!PatternList::new(["!db"]).matches("web"), "a list of negations matches nothing");
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches(&format!("{}c", "a*".repeat(50)), &"ab".repeat(2_500)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), plainly(pattern.as_bytes(), text.as_bytes()));
        }
    }

    fn plainly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => (0..=text.len()).any(|at| plainly(rest, &text[at..])),
            (Some((b'?', pattern)), Some((_, text))) => plainly(pattern, text),
            (Some((want, pattern)), Some((found, text))) => want == found && plainly(pattern, text),
            _ => false,
        }
    }
}
