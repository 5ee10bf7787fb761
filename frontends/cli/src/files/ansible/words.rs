//! Words as a shell splits them.

/// A word, and in which column it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) column: usize,
}

/// Where a quote is never closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OpenQuote {
    pub(super) column: usize,
}

/// Splits a line into words; `#` at the beginning of a word ends it.
pub(super) fn split(line: &str) -> Result<Vec<Word>, OpenQuote> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut chars = line.chars().zip(1..);
    while let Some((c, column)) = chars.next() {
        if c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if c == '#' && word.is_none() {
            break;
        }
        let current = word.get_or_insert_with(|| Word { text: String::new(), column });
        match c {
            '\'' | '"' => quoted(c, &mut chars, &mut current.text).ok_or(OpenQuote { column })?,
            '\\' => current.text.extend(chars.next().map(|(escaped, _)| escaped)),
            _ => current.text.push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Takes what is between quotes; `None` if the closing one is missing.
fn quoted(
    quote: char,
    chars: &mut impl Iterator<Item = (char, usize)>,
    text: &mut String,
) -> Option<()> {
    loop {
        match chars.next()?.0 {
            c if c == quote => return Some(()),
            '\\' if quote == '"' => match chars.next()?.0 {
                c @ ('"' | '\\' | '$' | '`') => text.push(c),
                c => text.extend(['\\', c]),
            },
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).unwrap().into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(texts("web a=1  b='x y' # note"), ["web", "a=1", "b=x y"]);
        assert_eq!(texts(r#"web a="q \" q" b=c\ d"#), ["web", "a=q \" q", "b=c d"]);
        assert_eq!(texts("web a=1#2"), ["web", "a=1#2"]);
        assert_eq!(split("web 'oops"), Err(OpenQuote { column: 5 }));
        assert_eq!(split("  web").unwrap(), [Word { text: "web".to_owned(), column: 3 }]);
    }

    proptest! {
        #[test]
        fn any_line_is_split_or_refused(line in "\\PC{0,40}") {
            drop(split(&line));
        }
    }
}
