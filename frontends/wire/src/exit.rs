/// What a process of the command line ends with.
///
/// | code | meaning |
/// |--:|---|
/// | 0 | succeeded |
/// | 1 | anything else: an error, an aborted rollout, a rollout that this process no longer follows |
/// | 2 | usage: the command line itself is wrong |
/// | 10 | the rollout was rolled back; it never counts as a success |
/// | 11 | stuck: the rollout failed, is paused, or waits for a person |
/// | 12 | denied |
/// | 13 | conflict: somebody else has changed or holds what this command wants to change |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// Somebody else has changed or holds what this command wants to change.
    Conflict,
    /// Access was denied.
    Denied,
    /// Anything else.
    Other,
    /// The rollout was rolled back.
    RolledBack,
    /// The rollout failed, is paused, or waits for a person.
    Stuck,
    /// What was asked for is done.
    Succeeded,
    /// The command line itself is wrong.
    Usage,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Conflict,
        Self::Denied,
        Self::Other,
        Self::RolledBack,
        Self::Stuck,
        Self::Succeeded,
        Self::Usage,
    ];

    /// The number the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Conflict => 13,
            Self::Denied => 12,
            Self::Other => 1,
            Self::RolledBack => 10,
            Self::Stuck => 11,
            Self::Succeeded => 0,
            Self::Usage => 2,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_vocabulary() {
        let mut codes = Exit::ALL.map(Exit::code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 1, 2, 10, 11, 12, 13]);
        assert_eq!(Exit::RolledBack.code(), 10);
        assert_eq!(Exit::Stuck.code(), 11);
        assert_eq!(Exit::Denied.code(), 12);
        assert_eq!(Exit::Conflict.code(), 13);
    }
}
