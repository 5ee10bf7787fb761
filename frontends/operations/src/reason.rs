//! What backends wrote into the journal, as sentences for people.
use deploy_core::{error::ErrorKind, rollout::AttemptEnd};

/// What an error can begin with.
const KINDS: [ErrorKind; 14] = [
    ErrorKind::AlreadyExists,
    ErrorKind::Conflict,
    ErrorKind::Corrupt,
    ErrorKind::Fenced,
    ErrorKind::Internal,
    ErrorKind::InvalidInput,
    ErrorKind::NoSpace,
    ErrorKind::NotFound,
    ErrorKind::OutcomeUnknown,
    ErrorKind::PermissionDenied,
    ErrorKind::RateLimited,
    ErrorKind::Unauthenticated,
    ErrorKind::Unavailable,
    ErrorKind::Unsupported,
];

/// `end`, with the reason that people are told.
#[must_use]
pub fn readable(end: &AttemptEnd) -> AttemptEnd {
    let mut end = end.clone();
    match &mut end {
        AttemptEnd::Failed { reason, .. }
        | AttemptEnd::Lost { reason, .. }
        | AttemptEnd::RevertFailed { reason, .. }
        | AttemptEnd::SelfReverted { reason }
        | AttemptEnd::Unreachable { reason } => *reason = sentence(reason),
        _ => {}
    }
    end
}

/// An error's chain without what only programs read: each link's operation, kind and facts, where a cause follows, and the
/// numbers of the operating system.
#[must_use]
pub fn sentence(chain: &str) -> String {
    let mut said = String::new();
    let mut rest = chain;
    loop {
        if let Some(cause) = cause_of(rest) {
            rest = cause;
            continue;
        }
        let Some((link, next)) = rest.split_once(": ") else { break };
        said.push_str(link);
        said.push_str(": ");
        rest = next;
    }
    said.push_str(rest);
    without_numbers(&said)
}

/// What follows `OPERATION: KIND (FACT=`…`): `; `None` if the text does not begin like that.
fn cause_of(text: &str) -> Option<&str> {
    let (operation, rest) = text.split_once(": ")?;
    let of_name = |it: char| it.is_ascii_lowercase() || matches!(it, '_' | '.');
    if !operation.contains('.') || !operation.chars().all(of_name) {
        return None;
    }
    let (kind, rest) = rest.split_at_checked(rest.find([' ', ':'])?)?;
    if !KINDS.iter().any(|it| it.as_str() == kind) {
        return None;
    }
    let rest = match rest.strip_prefix(" (") {
        Some(facts) => facts.split_once("`)")?.1,
        None => rest,
    };
    rest.strip_prefix(": ")
}

/// What the operating system says, in words alone.
#[must_use]
pub fn os_error(err: &std::io::Error) -> String {
    without_numbers(&err.to_string())
}

/// `Is a directory (os error 21)` without the number.
#[must_use]
pub fn without_numbers(text: &str) -> String {
    const BEGIN: &str = " (os error ";
    let mut said = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        said.push_str(before);
        match after.split_once(')') {
            Some((number, after)) if number.bytes().all(|b| b.is_ascii_digit()) => rest = after,
            _ => {
                said.push_str(BEGIN);
                rest = after;
            }
        }
    }
    said + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn facts_for_programs_are_left_out() {
        for (chain, said) in [
            (
                "ssh.open: unavailable (host=`a`, address=`ann@a:22`): no TCP connection: refused",
                "no TCP connection: refused",
            ),
            ("a.b: not_found: there is none", "there is none"),
            (
                "it could not be checked: a.b: internal (x=`(y)`): why",
                "it could not be checked: why",
            ),
            ("a.b: internal (x=`1`): c.d: no_space (y=`2`): full (os error 28)", "full"),
            ("no such table: users", "no such table: users"),
            ("post.sh: line: x", "post.sh: line: x"),
            ("ssh.open: unavailable (host=`a`)", "ssh.open: unavailable (host=`a`)"),
            ("", ""),
        ] {
            assert_eq!(sentence(chain), said);
        }
    }

    #[test]
    fn numbers_of_the_system_are_left_out() {
        assert_eq!(without_numbers("a (os error 2): b (os error 13)!"), "a: b!");
        assert_eq!(without_numbers("a (os error x) (os error 2"), "a (os error x) (os error 2");
    }

    proptest! {
        #[test]
        fn what_is_no_chain_is_left_as_it_is(text in "[A-Z]{1,5}(: [A-Z ]{0,5}){0,4}") {
            prop_assert_eq!(sentence(&text), text);
        }

        #[test]
        fn any_text_has_a_sentence(text in ".{0,80}") {
            prop_assert!(sentence(&text).len() <= text.len());
        }
    }
}
