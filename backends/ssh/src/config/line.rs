//! One line of `ssh_config`, cut into words.

/// The keyword, in lower case, and its values; `None` for an empty line or a comment.
pub(super) fn split(line: &str) -> Result<Option<(String, Vec<String>)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|it: char| it.is_whitespace() || it == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let values = words(rest.strip_prefix('=').unwrap_or(rest))?;
    if keyword.is_empty() {
        return Err("a keyword is missing before `=`");
    }
    if values.is_empty() {
        return Err("a value is missing after the keyword");
    }
    Ok(Some((keyword.to_ascii_lowercase(), values)))
}

/// The words of `text`: quotes keep blanks, a backslash keeps a quote, a blank, or itself, and `#` begins a comment.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|it| it.is_whitespace()).is_some() {}
        if matches!(chars.peek(), None | Some('#')) {
            return Ok(words);
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(it) = chars.next_if(|it| quote.is_some() || !it.is_whitespace()) {
            match it {
                '\\' => {
                    let kept = chars.next_if(|it| matches!(it, '"' | '\'' | '\\' | ' '));
                    word.push(kept.unwrap_or('\\'));
                }
                '"' | '\'' if quote.is_none() => quote = Some(it),
                _ if quote == Some(it) => quote = None,
                _ => word.push(it),
            }
        }
        if quote.is_some() {
            return Err("a quote is not closed");
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(line: &str) -> Option<(String, Vec<String>)> {
        split(line).unwrap()
    }

    fn is(keyword: &str, values: &[&str]) -> Option<(String, Vec<String>)> {
        Some((keyword.into(), values.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn cuts_lines_as_openssh_does() {
        assert_eq!(parsed("  # nothing"), None);
        assert_eq!(parsed("\t"), None);
        assert_eq!(parsed("Host a b"), is("host", &["a", "b"]));
        assert_eq!(parsed("User=me"), is("user", &["me"]));
        assert_eq!(parsed("user = me"), is("user", &["me"]));
        assert_eq!(parsed("IdentityFile \"a b\" # mine"), is("identityfile", &["a b"]));
        assert_eq!(parsed(r"IdentityFile a\ b\\c\d"), is("identityfile", &[r"a b\c\d"]));
        assert_eq!(parsed("X a'b c'd"), is("x", &["ab cd"]));
        assert_eq!(parsed("X a#b"), is("x", &["a#b"]));
        assert_eq!(parsed("X \"\""), is("x", &[""]));
    }

    #[test]
    fn refuses_what_it_cannot_cut() {
        assert!(split("Host \"a").is_err());
        assert!(split("Host").is_err());
        assert!(split("= a").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(line in "\\PC{0,60}") {
            let _ = split(&line);
        }

        #[test]
        fn a_quoted_value_comes_back(value in "[^\\p{C}\"\\\\]{0,30}") {
            let line = format!("IdentityFile \"{value}\"");
            prop_assert_eq!(split(&line), Ok(Some(("identityfile".into(), vec![value]))));
        }
    }
}
