//! The grammar of selectors.
//!
//! ```text
//! selector = "*" | "all" | term *("," term)
//! term     = key | "!" key | subject test
//! subject  = "host" | key
//! test     = ("=" | "==" | "!=") value | ("in" | "notin") "(" value *("," value) ")"
//! ```
use super::{Glob, Term, Test};
use crate::id::{LabelKey, LabelValue};
use std::{collections::BTreeSet, str::FromStr};

/// Selects every host; so does [`ALL_WORD`].
pub(super) const ALL: &str = "*";
const ALL_WORD: &str = "all";
/// Stands for the name of a host where a label key would stand.
pub(super) const HOST: &str = "host";

const KEY_RULE: &str = "a label key: at most 63 letters, digits, `-`, `.`, `_` and `/`, \
                        beginning and ending with a letter or a digit";

const LONGEST: usize = 16 * 1024;

/// Why a text is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a selector: column {column} must be {expected}, and is {found}", .input.escape_debug())]
pub struct ParseSelectorError {
    input: String,
    column: usize,
    expected: &'static str,
    found: String,
}

impl ParseSelectorError {
    /// Which character is wrong; the first is 1.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }
}

/// The terms of a selector; none for one that selects every host.
pub(super) fn terms(input: &str) -> Result<Vec<Term>, ParseSelectorError> {
    let mut parser = Parser { input, at: 0 };
    if input.len() > LONGEST {
        return Err(parser.wrong(parser.peek(), "the first of at most 16,384 bytes"));
    }
    if matches!(input.trim(), ALL | ALL_WORD) {
        return Ok(Vec::new());
    }
    let mut terms = vec![parser.term()?];
    loop {
        let token = parser.next();
        match token.text {
            "," => terms.push(parser.term()?),
            "" => return Ok(terms),
            _ => return Err(parser.wrong(token, "`,` or the end")),
        }
    }
}

struct Parser<'a> {
    input: &'a str,
    at: usize,
}

/// A word or an operator, and at which byte it begins. The end is an empty one.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn term(&mut self) -> Result<Term, ParseSelectorError> {
        let first = self.next();
        if first.text == "!" {
            let key = self.next();
            return Ok(Term::LabelMissing(self.key(key)?));
        }
        if first.text == HOST {
            return match self.test()? {
                Some(test) => Ok(Term::Host(test)),
                None => Err(self.wrong(self.peek(), "`=`, `!=`, `in` or `notin` after `host`")),
            };
        }
        let key = self.key(first)?;
        Ok(match self.test()? {
            Some(test) => Term::Label(key, test),
            None => Term::LabelExists(key),
        })
    }

    fn key(&self, token: Token<'a>) -> Result<LabelKey, ParseSelectorError> {
        match token.text {
            ALL | ALL_WORD => {
                Err(self.wrong(token, "a label key; what selects every host stands alone"))
            }
            HOST => Err(self.wrong(token, "a label key; every host has a name")),
            text if !is_word(text) => Err(self.wrong(token, "a label key")),
            text => text.parse().map_err(|_| self.wrong(token, KEY_RULE)),
        }
    }

    /// The test that follows a subject, if one does.
    fn test<T: Value>(&mut self) -> Result<Option<Test<T>>, ParseSelectorError> {
        let (wanted, many) = match self.peek().text {
            "=" | "==" => (true, false),
            "!=" => (false, false),
            "in" => (true, true),
            "notin" => (false, true),
            _ => return Ok(None),
        };
        self.next();
        let values = if many { self.values()? } else { BTreeSet::from([self.value()?]) };
        Ok(Some(Test { wanted, values }))
    }

    fn values<T: Value>(&mut self) -> Result<BTreeSet<T>, ParseSelectorError> {
        let open = self.next();
        if open.text != "(" {
            return Err(self.wrong(open, "`(`"));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            let token = self.next();
            match token.text {
                "," => {}
                ")" => return Ok(values),
                _ => return Err(self.wrong(token, "`,` or `)`")),
            }
        }
    }

    fn value<T: Value>(&mut self) -> Result<T, ParseSelectorError> {
        let token = self.next();
        if is_word(token.text) {
            token.text.parse().map_err(|_| self.wrong(token, T::RULE))
        } else {
            Err(self.wrong(token, "a value"))
        }
    }

    fn peek(&self) -> Token<'a> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let text = rest.trim_start();
        let at = self.at + (rest.len() - text.len());
        Token { text: text.get(..token_len(text)).unwrap_or_default(), at }
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at = token.at + token.text.len();
        token
    }

    fn wrong(&self, token: Token<'_>, expected: &'static str) -> ParseSelectorError {
        let before = self.input.get(..token.at).unwrap_or_default();
        let found = match token.text {
            "" => "the end".into(),
            text => format!("`{}`", text.chars().take(80).collect::<String>().escape_debug()),
        };
        ParseSelectorError {
            input: self.input.chars().take(200).collect(),
            column: before.chars().count() + 1,
            expected,
            found,
        }
    }
}

/// How many bytes the token has that `text` begins with.
fn token_len(text: &str) -> usize {
    let special = |it: char| it.is_whitespace() || ",()=!".contains(it);
    match ["==", "!="].into_iter().find(|it| text.starts_with(it)) {
        Some(operator) => operator.len(),
        None if text.starts_with(special) => 1,
        None => text.find(special).unwrap_or(text.len()),
    }
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with([',', '(', ')', '=', '!'])
}

/// What can stand after an operator.
trait Value: FromStr + Ord {
    const RULE: &'static str;
}

impl Value for Glob {
    const RULE: &'static str =
        "a host name of at most 253 characters, in which `*` and `?` may stand for others";
}

impl Value for LabelValue {
    const RULE: &'static str = "a label value: at most 63 letters, digits, `-`, `.`, `_` and `/`, \
                                beginning and ending with a letter or a digit";
}
