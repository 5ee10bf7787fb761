//! Where sources come from.
use super::text::checked_text;
use crate::{digest::Digest, id::SecretName};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How a remote repository is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GitTransport {
    /// A folder of the machine that builds.
    File,
    /// HTTP over TLS.
    Https,
    /// SSH.
    Ssh,
}

impl GitTransport {
    /// A stable, lower-case name: what git calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Https => "https",
            Self::Ssh => "ssh",
        }
    }
}

/// A remote repository: `https://HOST[:PORT]/PATH`, `ssh://[USER@]HOST[:PORT]/PATH`, `[USER@]HOST:PATH`, or `file:///PATH`, at most 1,024 bytes.
///
/// It holds no password: a credential is named beside it, and never part of it.
///
/// ```
/// use deploy_core::spec::{GitRemote, GitTransport};
///
/// let remote: GitRemote = "git@git.example.com:team/web.git".parse()?;
/// assert_eq!((remote.transport(), remote.host()), (GitTransport::Ssh, Some("git.example.com")));
/// for bad in ["https://ann:secret@git.example.com/web", "--upload-pack=evil", "ext::sh -c evil", "http://git.example.com/web"] {
///     assert!(bad.parse::<GitRemote>().is_err());
/// }
/// # Ok::<(), deploy_core::spec::ParseSourceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitRemote {
    text: Box<str>,
    parts: Parts,
}

/// What a remote says, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    transport: GitTransport,
    user: Option<Box<str>>,
    host: Option<Box<str>>,
    port: Option<u16>,
    path: Box<str>,
}

/// Why a string names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a usable {what}: {reason}", .input.escape_debug())]
pub struct ParseSourceError {
    what: &'static str,
    input: String,
    reason: &'static str,
}

impl GitRemote {
    /// The remote as text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is spoken to.
    #[must_use]
    pub const fn transport(&self) -> GitTransport {
        self.parts.transport
    }

    /// The account there; `None` is what git takes.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.parts.user.as_deref()
    }

    /// The host, without the brackets of an IPv6 address; `None` for a folder of this machine.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.parts.host.as_deref()
    }

    /// The port; `None` for a folder of this machine.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// Whether the two mean the same repository, however they are written: with `.git` or without, as a URL or in short. The account does not
    /// count, nor how the repository is spoken to, as long as that is over a network.
    #[must_use]
    pub fn is_same_repository(&self, other: &Self) -> bool {
        fn key(it: &GitRemote) -> (Option<String>, &str) {
            let path = it.parts.path.trim_matches('/');
            let host = it.parts.host.as_deref().map(str::to_ascii_lowercase);
            (host, path.strip_suffix(".git").unwrap_or(path))
        }
        key(self) == key(other)
    }
}

/// Takes a remote apart, or says why it is none.
fn take_apart(input: &str) -> Result<Parts, &'static str> {
    if input.len() > 1024 {
        return Err("it is longer than 1,024 bytes");
    }
    if input.chars().any(|it| it.is_control() || it.is_whitespace()) {
        return Err("it holds white space or a control character");
    }
    if let Some(path) = input.strip_prefix("file://") {
        return match path.starts_with('/') && path.len() > 1 {
            true => Ok(Parts {
                transport: GitTransport::File,
                user: None,
                host: None,
                port: None,
                path: path.into(),
            }),
            false => Err("a folder is `file:///PATH`"),
        };
    }
    if let Some(rest) = input.strip_prefix("https://") {
        return network(GitTransport::Https, rest, 443);
    }
    if let Some(rest) = input.strip_prefix("ssh://") {
        return network(GitTransport::Ssh, rest, 22);
    }
    if let Some(why) = unspoken(input) {
        return Err(why);
    }
    let (authority, path) = input.split_once(':').ok_or("it is neither a URL nor `HOST:PATH`")?;
    let (user, host) = account(authority)?;
    Ok(Parts {
        transport: GitTransport::Ssh,
        user,
        host: Some(host_name(host)?),
        port: Some(22),
        path: path_of(path)?,
    })
}

/// Why nothing is fetched from a URL of git's that is none of the three.
fn unspoken(input: &str) -> Option<&'static str> {
    let plain = ["http://", "git://", "ftp://", "ftps://"];
    if plain.iter().any(|it| input.starts_with(it)) {
        return Some(
            "nobody proves there that the source is the one asked for: name it by https or ssh",
        );
    }
    if input.split_once("::").is_some_and(|(helper, _)| !helper.contains(['/', ':', '[', '@'])) {
        return Some("it would have git run a program: only https, ssh and file are spoken");
    }
    (input.contains("://") || input.contains("::"))
        .then_some("only https, ssh (also `[USER@]HOST:PATH`) and file are spoken")
}

fn network(transport: GitTransport, rest: &str, default: u16) -> Result<Parts, &'static str> {
    let (authority, path) = rest.split_once('/').ok_or("it has no path")?;
    let (user, place) = account(authority)?;
    if transport == GitTransport::Https && user.is_some() {
        return Err("an account in it is not used: name a credential beside it");
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("its host has no `]`")?;
            host.parse::<core::net::Ipv6Addr>().map_err(|_| "its host is no IPv6 address")?;
            (Box::from(host), port.strip_prefix(':'))
        }
        None => {
            let (host, port) =
                place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
            (host_name(host)?, port)
        }
    };
    let port = port.map_or(Ok(default), |it| {
        it.parse().map_err(|_| "its port is no number from 1 to 65535")
    })?;
    if port == 0 {
        return Err("its port is no number from 1 to 65535");
    }
    Ok(Parts { transport, user, host: Some(host), port: Some(port), path: path_of(path)? })
}

fn account(authority: &str) -> Result<(Option<Box<str>>, &str), &'static str> {
    let Some((user, host)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
    if user.contains(':') {
        return Err("a password in it would be seen by everybody: name a credential beside it");
    }
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    if user.is_empty() || user.starts_with('-') || !user.bytes().all(plain) {
        return Err("its account may hold only letters, 0-9, `-`, `.` and `_`");
    }
    Ok((Some(user.into()), host))
}

fn host_name(host: &str) -> Result<Box<str>, &'static str> {
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.');
    let edges = |it: Option<u8>| it.is_some_and(|it| it.is_ascii_alphanumeric());
    if edges(host.bytes().next())
        && edges(host.bytes().last())
        && host.bytes().all(plain)
        && host.len() <= 253
    {
        return Ok(host.into());
    }
    Err(
        "its host may hold only letters, 0-9, `-` and `.`, and begins and ends with none of these two",
    )
}

fn path_of(path: &str) -> Result<Box<str>, &'static str> {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-._~/+@%".contains(&it);
    if path.trim_matches('/').is_empty() {
        return Err("it has no path");
    }
    if path.starts_with('-') || !path.bytes().all(plain) {
        return Err(
            "its path may hold only letters, 0-9 and `-._~/+@%`, and does not begin with `-`",
        );
    }
    Ok(path.into())
}

impl FromStr for GitRemote {
    type Err = ParseSourceError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        let parts = take_apart(input).map_err(|reason| {
            // What stands before an `@` may be a password, which no message repeats.
            let shown = input.rsplit_once('@').map_or(input, |(_, it)| it);
            ParseSourceError {
                what: "git remote",
                input: shown.chars().take(200).collect(),
                reason,
            }
        })?;
        Ok(Self { text: input.into(), parts })
    }
}

impl TryFrom<String> for GitRemote {
    type Error = ParseSourceError;

    fn try_from(input: String) -> Result<Self, Self::Error> {
        input.parse()
    }
}

impl From<GitRemote> for String {
    fn from(remote: GitRemote) -> Self {
        remote.text.into()
    }
}

impl fmt::Display for GitRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// What is built of a repository: a tag, a branch, or a commit. At most 255 bytes, and nothing that git would take for an option or an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitRevision(Box<str>);

impl GitRevision {
    /// The revision as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(input: &str) -> Result<(), &'static str> {
        let plain = |it: u8| it.is_ascii_alphanumeric() || b"-._/+@#".contains(&it);
        if input.is_empty() || input.len() > 255 {
            return Err("it has between 1 and 255 bytes");
        }
        if !input.bytes().all(plain) {
            return Err("it may hold only letters, 0-9 and `-._/+@#`");
        }
        if input
            .split('/')
            .any(|it| it.is_empty() || it.starts_with(['-', '.']) || it.ends_with(".lock"))
        {
            return Err("none of its parts is empty, begins with `-` or `.`, or ends with `.lock`");
        }
        if input.contains("..") || input.contains("@{") || input == "@" || input.ends_with('.') {
            return Err("it is an expression of git, and no name");
        }
        Ok(())
    }
}

/// The full id of a commit: 40 hexadecimal digits, or 64 where the repository has SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(Box<str>);

impl CommitId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits: enough for a person to tell commits apart.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    fn check(input: &str) -> Result<(), &'static str> {
        let hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        if matches!(input.len(), 40 | 64) && input.bytes().all(hex) {
            return Ok(());
        }
        Err("it must be 40 or 64 hexadecimal digits in lower case")
    }
}

impl From<Digest> for CommitId {
    /// What a repository with SHA-256 calls a commit of this digest.
    fn from(digest: Digest) -> Self {
        Self(digest.hex().into())
    }
}

checked_text! {
    ParseSourceError, shown up to 80;
    CommitId, "commit id";
    GitRevision, "revision";
}

/// A repository, and by what right it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Source {
    /// Where it is.
    pub remote: GitRemote,
    /// The name of the secret that opens it; `None` if everybody may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<SecretName>,
}

impl Source {
    /// A repository that everybody may read.
    #[must_use]
    pub const fn new(remote: GitRemote) -> Self {
        Self { remote, credential: None }
    }

    /// That `credential` opens.
    #[must_use]
    pub fn with_credential(mut self, credential: SecretName) -> Self {
        self.credential = Some(credential);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_that_is_not_spoken_to_says_why() {
        let why = |text: &str| text.parse::<GitRemote>().unwrap_err().reason;
        for plain in ["http://git.example.com/web", "git://git.example.com/web", "ftp://h/web"] {
            assert!(why(plain).contains("nobody proves"), "{plain}");
        }
        for program in ["ext::sh", "fd::17,18", "ext::ssh://git.example.com/web"] {
            assert!(why(program).contains("run a program"), "{program}");
        }
        for other in ["rsync://h/web", "svn+ssh://h/web", "[::1]:web", "HTTPS://h/web"] {
            assert!(why(other).contains("only https, ssh"), "{other}");
        }
        for option in ["--upload-pack=evil", "-oProxyCommand=evil:web", "h:-web", "ssh://-h/web"] {
            assert!(option.parse::<GitRemote>().is_err(), "{option}");
        }
    }
}
