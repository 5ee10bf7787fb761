//! What happens on a server, as its streams of events bring it.
use super::{Printed, Watch, remote::told};
use async_trait::async_trait;
use deploy_client::{Client, ClientError, Feed};
use deploy_core::id::HostName;
use deploy_wire::{LogLine, Problem, Rollout, RolloutEvent};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc::{self, Receiver, error::TryRecvError},
    task::JoinHandle,
};

/// How many documents may lie ready before the stream is left to wait.
const READY: usize = 1_024;

/// A stream that is read beside everything else, so that what has come of it can be taken without waiting.
#[derive(Debug)]
struct Stream<T> {
    documents: Receiver<Result<(u64, T), ClientError>>,
    reading: JoinHandle<()>,
}

impl<T: DeserializeOwned + Send + 'static> Stream<T> {
    fn read(mut feed: Feed<T>) -> Self {
        let (sender, documents) = mpsc::channel(READY);
        let reading = tokio::spawn(async move {
            while let Some(next) = feed.next().await.transpose() {
                let failed = next.is_err();
                let next = next.map(|it| (feed.position(), it));
                if sender.send(next).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { documents, reading }
    }

    /// The next that has come; `None` if nothing has, or nothing more will.
    fn ready(&mut self) -> Result<Option<(u64, T)>, ClientError> {
        match self.documents.try_recv() {
            Ok(next) => next.map(Some),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(None),
        }
    }

    /// The next; `None` at the end.
    async fn next(&mut self) -> Result<Option<(u64, T)>, ClientError> {
        self.documents.recv().await.transpose()
    }
}

impl<T> Drop for Stream<T> {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A rollout that a server drives.
pub(super) struct RemoteWatch {
    client: Client,
    url: String,
    events: Stream<RolloutEvent>,
    rollout: Rollout,
    /// The position of the last event that has come.
    reached: u64,
    /// Where that was at the last look.
    looked: u64,
    happened: Vec<RolloutEvent>,
    /// Whether the stream is over.
    ended: bool,
}

impl RemoteWatch {
    /// Follows `rollout`, and tells what happens after the position `after`.
    pub(super) fn open(client: Client, url: String, rollout: Rollout, after: u64) -> Self {
        let events = Stream::read(client.events(&rollout.id, after));
        let (looked, happened) = (after, Vec::new());
        Self { client, url, events, rollout, reached: after, looked, happened, ended: false }
    }

    async fn take(&mut self) -> Result<(), ClientError> {
        while let Some(next) = self.events.ready()? {
            self.keep(next);
        }
        if self.reached > self.looked.max(self.rollout.seq) {
            self.rollout = self.client.rollout(&self.rollout.id, false).await?;
        }
        // A rollout is never shown ahead of what has happened in it.
        while self.reached < self.rollout.seq {
            let Some(next) = self.events.next().await? else { break };
            self.keep(next);
        }
        self.looked = self.reached;
        Ok(())
    }

    fn keep(&mut self, (at, event): (u64, RolloutEvent)) {
        self.happened.push(event);
        self.reached = at;
    }

    async fn rest(&mut self) -> Result<(), ClientError> {
        while let Some(next) = self.events.next().await? {
            self.keep(next);
        }
        Ok(())
    }
}

#[async_trait]
impl Watch for RemoteWatch {
    async fn look(&mut self) -> Result<Vec<RolloutEvent>, Problem> {
        self.take().await.map_err(|err| told(err, &self.url))?;
        Ok(std::mem::take(&mut self.happened))
    }

    async fn end(&mut self) -> Result<(), Problem> {
        if self.ended {
            std::future::pending::<()>().await;
        }
        self.rest().await.map_err(|err| told(err, &self.url))?;
        self.ended = true;
        Ok(())
    }

    fn rollout(&self) -> &Rollout {
        &self.rollout
    }
}

/// What the steps of a rollout print that a server drives.
pub(super) struct RemotePrinted {
    client: Client,
    url: String,
    rollout: String,
    host: Option<String>,
    /// The stream, once somebody follows it.
    stream: Option<Stream<LogLine>>,
    /// The position of the last piece that has come.
    reached: u64,
}

impl RemotePrinted {
    pub(super) fn open(
        client: Client,
        url: String,
        rollout: &str,
        host: Option<&HostName>,
    ) -> Self {
        let host = host.map(ToString::to_string);
        Self { client, url, rollout: rollout.to_owned(), host, stream: None, reached: 0 }
    }

    fn ready(&mut self) -> Result<Vec<LogLine>, ClientError> {
        let (client, after) = (&self.client, self.reached);
        let (rollout, host) = (self.rollout.as_str(), self.host.as_deref());
        let stream =
            self.stream.get_or_insert_with(|| Stream::read(client.logs(rollout, host, after)));
        let mut lines = Vec::new();
        while let Some((at, line)) = stream.ready()? {
            lines.push(line);
            self.reached = at;
        }
        Ok(lines)
    }

    async fn so_far(&mut self) -> Result<Vec<LogLine>, ClientError> {
        // What the stream has on its way comes again, and what it has given already does not.
        let mut lines = match self.stream.is_some() {
            true => self.ready()?,
            false => Vec::new(),
        };
        self.stream = None;
        let host = self.host.as_deref();
        let mut feed = self.client.logs_so_far(&self.rollout, host, self.reached);
        while let Some(line) = feed.next().await? {
            lines.push(line);
        }
        self.reached = feed.position();
        Ok(lines)
    }
}

#[async_trait]
impl Printed for RemotePrinted {
    async fn read(&mut self) -> Result<Vec<LogLine>, Problem> {
        self.ready().map_err(|err| told(err, &self.url))
    }

    async fn rest(&mut self) -> Result<Vec<LogLine>, Problem> {
        self.so_far().await.map_err(|err| told(err, &self.url))
    }
}
