//! Which versions of the protocol two sides have in common.
use std::fmt;
use thiserror::Error;

/// The versions of the protocol that one side speaks: all between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    oldest: u32,
    newest: u32,
}

impl Versions {
    /// Those that this program speaks.
    pub const OURS: Self = Self::new(1, 2);

    /// From `oldest` to `newest`.
    #[must_use]
    pub const fn new(oldest: u32, newest: u32) -> Self {
        Self { oldest, newest }
    }

    /// The oldest of them.
    #[must_use]
    pub const fn oldest(self) -> u32 {
        self.oldest
    }

    /// The newest of them.
    #[must_use]
    pub const fn newest(self) -> u32 {
        self.newest
    }

    /// The newest version that both sides speak.
    ///
    /// # Errors
    /// If there is none.
    pub const fn in_common(agent: Self, server: Self) -> Result<u32, TooFarApart> {
        let newest = if agent.newest < server.newest { agent.newest } else { server.newest };
        if newest < agent.oldest || newest < server.oldest {
            return Err(TooFarApart { agent, server });
        }
        Ok(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            return write!(f, "version {}", self.newest);
        }
        write!(f, "versions {} to {}", self.oldest, self.newest)
    }
}

/// Two sides that have no version of the protocol in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the agent speaks {agent} of the protocol and the server {server}: install a newer {}", self.older())]
pub struct TooFarApart {
    agent: Versions,
    server: Versions,
}

impl TooFarApart {
    /// Which side is behind.
    const fn older(&self) -> &'static str {
        if self.agent.newest < self.server.newest { "agent" } else { "server" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_one_version_apart_have_one_in_common_and_sides_two_apart_none() {
        let speaks = |newest: u32| Versions::new(newest.saturating_sub(1), newest);
        for (agent, server) in [(3, 3), (3, 4), (4, 3)] {
            assert_eq!(Versions::in_common(speaks(agent), speaks(server)), Ok(agent.min(server)));
        }
        let older = Versions::in_common(speaks(2), speaks(4)).unwrap_err();
        assert_eq!(
            older.to_string(),
            "the agent speaks versions 1 to 2 of the protocol and the server versions 3 to 4: install a newer agent"
        );
        let newer = Versions::in_common(speaks(3), Versions::new(1, 1)).unwrap_err();
        assert_eq!(
            newer.to_string(),
            "the agent speaks versions 2 to 3 of the protocol and the server version 1: install a newer server"
        );
    }

    #[test]
    fn what_is_current_speaks_to_the_version_before() {
        assert_eq!(Versions::OURS.oldest() + 1, Versions::OURS.newest());
    }
}
