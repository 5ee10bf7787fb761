//! What a host decides about an attempt that has to be confirmed, and how long it waits for that.
//!
//! Both are symbolic links in the attempt's folder: made by one act of the kernel, which fails if there is one already, and whole or not there at all, on
//! a full disk and after a power cut as well.
use crate::folder::{Folder, sync_folder};
use std::{fs, io, os::unix::fs::symlink, time::Duration};

/// What becomes of an attempt that waited to be confirmed. There is one for each, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays.
    Keep,
    /// The host goes back.
    Revert(Why),
}

/// Why a host goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody asked for it.
    Kill,
    /// That it waits could not be written down.
    NotDurable,
    /// It was restarted while it waited.
    Rebooted,
    /// Nobody confirmed in time.
    Timeout,
}

impl Verdict {
    const ALL: [Self; 5] = [
        Self::Keep,
        Self::Revert(Why::Kill),
        Self::Revert(Why::NotDurable),
        Self::Revert(Why::Rebooted),
        Self::Revert(Why::Timeout),
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Revert(why) => why.as_str(),
        }
    }
}

impl Why {
    /// As an exit record has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill_request",
            Self::NotDurable => "not_durable",
            Self::Rebooted => "rebooted",
            Self::Timeout => "confirm_timeout",
        }
    }
}

/// Until when a host waits to be told to keep something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// By the clock of that boot.
    pub(crate) until: Duration,
    pub(crate) boot_id: String,
}

impl Waiting {
    /// What the time alone says, if it says something.
    pub(crate) fn overdue(&self, now: Duration, boot_id: &str) -> Option<Verdict> {
        if self.boot_id != boot_id {
            return Some(Verdict::Revert(Why::Rebooted));
        }
        (now >= self.until).then_some(Verdict::Revert(Why::Timeout))
    }
}

impl Folder {
    /// What the way back needs, for its steps to read.
    pub(crate) fn back(&self) -> Self {
        Self::at(self.path().join("back"))
    }

    /// Begins to wait. That is on the disk when this returns.
    pub(crate) fn begin_to_wait(&self, waiting: &Waiting) -> io::Result<()> {
        let text = format!("{} {}", waiting.until.as_millis(), waiting.boot_id);
        symlink(text, self.path().join("waiting"))?;
        sync_folder(self.path())
    }

    /// Until when it waits, or has waited.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        let text = fs::read_link(self.path().join("waiting")).ok()?;
        let (until, boot_id) = text.to_str()?.split_once(' ')?;
        let until = Duration::from_millis(until.parse().ok()?);
        Some(Waiting { until, boot_id: boot_id.to_owned() })
    }

    /// Whether its steps were done, and it waits or has waited, or went back because it could not.
    pub(crate) fn has_waited(&self) -> bool {
        self.waiting().is_some() || self.verdict().is_some()
    }

    /// Whether it waits to be told to keep something.
    pub(crate) fn awaits_confirm(&self) -> bool {
        self.waiting().is_some() && self.verdict().is_none()
    }

    /// The verdict, if there is one. It may not be on the disk yet.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let word = fs::read_link(self.path().join("verdict")).ok()?;
        Verdict::ALL.into_iter().find(|it| word.to_str() == Some(it.word()))
    }

    /// Takes the verdict, if nobody has; gives the one there is. It is on the disk when this returns.
    pub(crate) fn take_verdict(&self, verdict: Verdict) -> io::Result<Verdict> {
        match symlink(verdict.word(), self.path().join("verdict")) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
        // Also where somebody else has taken it: nobody acts on what a power cut could undo.
        sync_folder(self.path())?;
        self.verdict().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn folder(dir: &tempfile::TempDir) -> Folder {
        Folder::at(dir.path().to_owned())
    }

    #[test]
    fn of_many_that_decide_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let taken: Vec<_> = thread::scope(|scope| {
            let racers = Verdict::ALL.into_iter().cycle().take(20);
            let racers: Vec<_> =
                racers.map(|it| scope.spawn(move || it)).map(|it| it.join().unwrap()).collect();
            let at = folder(&dir);
            let racing: Vec<_> = racers
                .into_iter()
                .map(|it| {
                    let at = at.clone();
                    scope.spawn(move || at.take_verdict(it).unwrap())
                })
                .collect();
            racing.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let verdict = folder(&dir).verdict().unwrap();
        assert_eq!(taken, vec![verdict; 20]);
    }

    #[test]
    fn a_wait_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = Waiting { until: Duration::from_millis(1_234), boot_id: "b1".to_owned() };
        assert_eq!(folder(&dir).waiting(), None);
        folder(&dir).begin_to_wait(&waiting).unwrap();
        assert_eq!(folder(&dir).waiting(), Some(waiting.clone()));
        assert!(folder(&dir).awaits_confirm());
        assert_eq!(waiting.overdue(Duration::from_millis(1_233), "b1"), None);
        let late = Some(Verdict::Revert(Why::Timeout));
        assert_eq!(waiting.overdue(Duration::from_millis(1_234), "b1"), late);
        let rebooted = Some(Verdict::Revert(Why::Rebooted));
        assert_eq!(waiting.overdue(Duration::ZERO, "b2"), rebooted);
    }
}
