//! The one place where text becomes part of a shell command.

/// `text` as one word of a POSIX shell: whatever it holds, the shell sees exactly these bytes.
///
/// NUL cannot be part of a word; whoever lets text in refuses it there.
///
/// ```
/// use deploy_host::quote::quote;
///
/// assert_eq!(quote("web-1.4.2"), "web-1.4.2");
/// assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
/// assert_eq!(quote(""), "''");
/// ```
#[must_use]
pub fn quote(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/:@%+,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for (at, part) in text.split('\'').enumerate() {
        if at > 0 {
            quoted.push_str(r"'\''");
        }
        quoted.push_str(part);
    }
    quoted.push('\'');
    quoted
}

/// `name='value'` and a line break: one shell assignment. `name` is the caller's own.
pub(crate) fn assign(into: &mut String, name: &str, value: &str) {
    into.push_str(name);
    into.push('=');
    into.push_str(&always_quote(value));
    into.push('\n');
}

/// Quotes also what need not be, so that every line of a file has one form.
fn always_quote(text: &str) -> String {
    let quoted = quote(text);
    if quoted.starts_with('\'') { quoted } else { format!("'{quoted}'") }
}
