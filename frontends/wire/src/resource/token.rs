use serde::{Deserialize, Serialize};
use std::fmt;

/// A token, without what proves that one has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Token {
    /// Its name: the part of it that is no secret.
    pub id: String,
    /// Who acts with it.
    pub principal: String,
    /// What it is for, in a few words.
    pub note: String,
    /// What it allows.
    pub actions: Vec<String>,
    /// Only for these services; null is all of them, and everything else as well.
    pub services: Option<Vec<String>>,
    /// Only on the hosts that this selects; null is all of them, and everything else as well.
    pub hosts: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// When it expires.
    pub expires_at: String,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<String>,
}

/// A token that was just made: the only time that it is shown whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct IssuedToken {
    /// What is known of it.
    pub token: Token,
    /// What to send: `Authorization: Bearer SECRET`.
    pub secret: String,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("token", &self.token).finish_non_exhaustive()
    }
}
