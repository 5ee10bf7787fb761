//! What forges say when somebody has pushed: checked first, and read then.
use crate::secrets::Secret;
use deploy_core::spec::{CommitId, GitRemote, GitRevision};
use hmac_sha256::{HMAC, Hash};
use serde::Deserialize;
use std::{error::Error as StdError, fmt};

/// The largest body that is read, in bytes: the most that GitHub sends.
const LARGEST: usize = 25 << 20;

/// Who sends webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forge {
    /// Gitea and Forgejo.
    Gitea,
    /// GitHub.
    GitHub,
    /// GitLab.
    GitLab,
}

/// A branch or a tag that somebody has pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Push {
    /// How the repository can be spoken to, as its forge says. A service is meant whose source [is one of them](GitRemote::is_same_repository).
    pub remotes: Vec<GitRemote>,
    /// What to build: the full name of the branch or tag.
    pub revision: GitRevision,
    /// The commit that it named then, of a branch.
    pub commit: Option<CommitId>,
}

/// Why a webhook is not listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookError {
    /// It was not sent by who knows the secret.
    BadSignature,
    /// It is larger than any that forges send.
    TooLarge,
    /// It does not say what one of its kind has to say.
    Unreadable,
    /// It has no signature.
    Unsigned,
}

impl WebhookError {
    /// A stable, lower-case code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::Unsigned => "unsigned",
        }
    }
}

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSignature => {
                "the webhook is not signed with the secret that is kept here: compare the two"
            }
            Self::TooLarge => "the webhook has more than 25 MiB",
            Self::Unreadable => {
                "the webhook does not say which branch or tag of which repository was pushed"
            }
            Self::Unsigned => "the webhook is not signed: give it a secret where it is set up",
        })
    }
}

impl StdError for WebhookError {}

impl Forge {
    /// Checks and reads a webhook; `None` if it is genuine, and about nothing that can be built. `header` gives the value of a header, whose
    /// name is in lower case.
    ///
    /// ```
    /// use deploy_build::{Forge, Secret, WebhookError};
    ///
    /// let secret = Secret::new(b"swordfish".to_vec()).unwrap();
    /// let header = |name: &str| (name == "x-gitlab-token").then_some("a guess");
    /// let read = Forge::GitLab.read(&secret, header, b"{}");
    /// assert_eq!(read, Err(WebhookError::BadSignature));
    /// ```
    ///
    /// # Errors
    /// If it was not signed with `secret`, or cannot be read. Nothing is read of what is not signed.
    pub fn read<'a>(
        self,
        secret: &Secret,
        header: impl Fn(&str) -> Option<&'a str>,
        body: &[u8],
    ) -> Result<Option<Push>, WebhookError> {
        if body.len() > LARGEST {
            return Err(WebhookError::TooLarge);
        }
        let value = |name: &str| header(name).ok_or(WebhookError::Unsigned);
        let is_genuine = match self {
            Self::Gitea => is_signed(body, secret, value("x-gitea-signature")?),
            Self::GitHub => {
                let signature = value("x-hub-signature-256")?.strip_prefix("sha256=");
                is_signed(body, secret, signature.unwrap_or_default())
            }
            // Digests are compared, so that the time it takes says nothing of the secret.
            Self::GitLab => Hash::verify(value("x-gitlab-token")?, &Hash::hash(secret.reveal())),
        };
        if !is_genuine {
            return Err(WebhookError::BadSignature);
        }
        let is_push = match self {
            Self::Gitea => header("x-gitea-event") == Some("push"),
            Self::GitHub => header("x-github-event") == Some("push"),
            Self::GitLab => matches!(header("x-gitlab-event"), Some("Push Hook" | "Tag Push Hook")),
        };
        if !is_push {
            return Ok(None);
        }
        let event: Event = serde_json::from_slice(body).map_err(|_| WebhookError::Unreadable)?;
        event.push()
    }
}

/// The HMAC-SHA256 of a body, in hexadecimal digits. Compared in a time that does not depend on where they differ.
fn is_signed(body: &[u8], secret: &Secret, signature: &str) -> bool {
    parse_hex(signature).is_some_and(|it| HMAC::verify(body, secret.reveal(), &it))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// What all three say of a push, each under some of these names.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "ref")]
    reference: String,
    /// What it names now; zeros if it is gone.
    #[serde(default)]
    after: String,
    /// GitHub and Gitea.
    repository: Option<Repository>,
    /// GitLab.
    project: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    /// GitHub and Gitea.
    clone_url: Option<String>,
    ssh_url: Option<String>,
    /// GitLab.
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
}

impl Event {
    fn push(self) -> Result<Option<Push>, WebhookError> {
        let is_branch = self.reference.starts_with("refs/heads/");
        let is_gone = !self.after.is_empty() && self.after.bytes().all(|it| it == b'0');
        if is_gone || !(is_branch || self.reference.starts_with("refs/tags/")) {
            return Ok(None);
        }
        let revision = self.reference.parse().map_err(|_| WebhookError::Unreadable)?;
        let repository = self.project.or(self.repository).ok_or(WebhookError::Unreadable)?;
        let Repository { clone_url, ssh_url, git_http_url, git_ssh_url } = repository;
        let urls = [clone_url, git_http_url, ssh_url, git_ssh_url];
        // What is not spoken here, such as plain HTTP, is none of its remotes.
        let remotes: Vec<GitRemote> =
            urls.into_iter().flatten().filter_map(|it| it.parse().ok()).collect();
        if remotes.is_empty() {
            return Err(WebhookError::Unreadable);
        }
        // Of a tag it may be the id of the tag itself.
        let commit = if is_branch { self.after.parse().ok() } else { None };
        Ok(Some(Push { remotes, revision, commit }))
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
