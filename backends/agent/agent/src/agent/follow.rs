//! The log of an attempt, as it comes, and its end.
use super::{Host, answers::invalid};
use crate::{
    Followed, Following,
    attempt::{Attempt, AttemptKey, End, State},
    folder::{Folder, Progress},
    spec::{Place, check_token},
};
use bytes::Bytes;
use deploy_agent_protocol::{
    LONGEST_CHUNK,
    v1::{Follow, Refused},
};
use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    sync::Arc,
};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};

/// How much a follower may be behind, in pieces.
const BEHIND: usize = 4;

/// Somebody who follows an attempt.
struct Follower {
    key: AttemptKey,
    folder: Folder,
    offset: u64,
    /// How many steps were told.
    told: usize,
    to: mpsc::Sender<Followed>,
}

/// Nobody listens any more, or there is nothing to be told.
struct Over;

impl Host {
    pub(super) async fn follow(self: Arc<Self>, follow: &Follow) -> Result<Following, Refused> {
        let place = Place::parse(follow.place.as_ref())?;
        let key = place.attempt(follow.generation)?;
        check_token(&follow.token)?;
        if let Some(attempt) = self.attempt(&key).await?
            && attempt.token != follow.token
        {
            return Err(invalid("an attempt of that generation has another token"));
        }
        let (to, receiver) = mpsc::channel(BEHIND);
        let folder = self.folder(&key);
        let follower = Follower { key, folder, offset: follow.log_offset, told: 0, to };
        let host = Arc::clone(&self);
        self.spawn(async move { drop(follower.run(&host).await) });
        Ok(Following::new(receiver))
    }

    /// What is known, durably, of an attempt.
    pub(super) async fn attempt(&self, key: &AttemptKey) -> Result<Option<Attempt>, Refused> {
        let (attempt, decided) = self.journal.look(|it| it.attempt(key).cloned());
        self.journal.durable(decided).await?;
        Ok(attempt)
    }

    /// How long the log of an attempt is that has ended.
    pub(super) async fn log_length(&self, key: &AttemptKey) -> Option<u64> {
        let attempt = self.attempt(key).await.ok()??;
        match attempt.state {
            State::Exited { end: End::Ended(ended), .. } => Some(ended.log_length),
            State::Exited { end: End::Died(_), .. } => {
                std::fs::metadata(self.folder(key).log()).ok().map(|it| it.len())
            }
            State::Accepted { .. } | State::Starting { .. } => None,
        }
    }

    /// Whether an attempt that there is none of may not be started any more: it was withdrawn before it began, or never accepted.
    fn is_fenced(&self, key: &AttemptKey) -> bool {
        self.journal.look(|it| it.fence(&key.service) >= key.generation).0
    }

    /// Who listens to an attempt that is under way.
    pub(super) fn listener(&self, key: &AttemptKey) -> Option<watch::Receiver<u64>> {
        self.live().get(key).map(watch::Sender::subscribe)
    }
}

impl Follower {
    async fn run(mut self, host: &Host) -> Result<(), Over> {
        if let Some(mut news) = host.listener(&self.key) {
            loop {
                news.borrow_and_update();
                self.tell_steps().await?;
                let waits = self.folder.awaits_confirm();
                self.tell_log(u64::MAX).await?;
                if waits {
                    return self.tell(Followed::AwaitsConfirm).await;
                }
                let over = tokio::select! {
                    biased;
                    changed = news.changed() => changed.is_err(),
                    () = self.to.closed() => return Err(Over),
                };
                if over {
                    break;
                }
            }
        }
        let end = match host.attempt(&self.key).await.map_err(|_poisoned| Over)? {
            None => Followed::NeverStarted { proved: host.is_fenced(&self.key) },
            Some(Attempt { state: State::Exited { end, .. }, .. }) => self.tell_rest(end).await?,
            // Accepted by an agent that was killed then: it is not under way.
            Some(Attempt { state: State::Accepted { .. }, .. }) => {
                Followed::NeverStarted { proved: true }
            }
            // Its end could not be written down.
            Some(Attempt { state: State::Starting { .. }, .. }) => return Err(Over),
        };
        self.tell(end).await
    }

    async fn tell_rest(&mut self, end: End) -> Result<Followed, Over> {
        self.tell_steps().await?;
        match end {
            End::Ended(ended) => {
                // What a step has left running may have written more.
                self.tell_log(ended.log_length).await?;
                Ok(Followed::Ended(ended))
            }
            End::Died(died) => {
                self.tell_log(u64::MAX).await?;
                Ok(Followed::Died(died))
            }
        }
    }

    async fn tell_steps(&mut self) -> Result<(), Over> {
        let folder = self.folder.clone();
        let progress = spawn_blocking(move || folder.progress()).await.map_err(|_panic| Over)?;
        let begun = progress.into_iter().filter_map(|it| match it {
            Progress::Begin { step, .. } => Some(step),
            Progress::End { .. } => None,
        });
        for step in begun.skip(self.told).collect::<Vec<_>>() {
            self.told += 1;
            self.tell(Followed::Step(step)).await?;
        }
        Ok(())
    }

    /// Tells what there is of the log, up to `length`.
    async fn tell_log(&mut self, length: u64) -> Result<(), Over> {
        loop {
            let (folder, offset) = (self.folder.clone(), self.offset);
            let piece = spawn_blocking(move || read(&folder, offset, length)).await;
            // A log that cannot be read is no reason not to say how the attempt ended.
            let bytes = piece.map_err(|_panic| Over)?.unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            self.offset += bytes.len() as u64;
            self.tell(Followed::Log { offset, bytes }).await?;
        }
    }

    async fn tell(&self, what: Followed) -> Result<(), Over> {
        self.to.send(what).await.map_err(|_nobody| Over)
    }
}

/// The piece of a log that begins at `offset`.
fn read(folder: &Folder, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut file = File::open(folder.log())?;
    let there = file.seek(SeekFrom::End(0))?.min(length);
    let left = usize::try_from(there.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(LONGEST_CHUNK)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}
