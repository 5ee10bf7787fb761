//! The seam between the session with a gateway and what happens on the host.
use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent_protocol::v1;
use deploy_core::digest::Digest;
use deploy_distribution::transfer::Throttle;
use std::{fmt, io, sync::Arc};
use tokio::sync::mpsc;

/// A host, as the orders of its gateway see it.
///
/// Whoever calls has made sure that an order is meant for this host, is signed, fresh and not a repetition.
///
/// # Contract
/// * What an answer says is in the host's journal, durably, before the answer is given.
/// * Every future may be dropped at any point: an attempt that was accepted goes on, and a question that was asked again is answered again.
/// * An attempt is started at most once; a `start` that comes again attaches to it, and its answer is the same.
/// * Nothing is lost when the process ends: another one that opens the same folder goes on with the attempts that are under way.
#[async_trait]
pub trait HostSide: fmt::Debug + Send + Sync + 'static {
    /// Takes an attempt in, with what it needs of `artifacts`. What is refused was not started, and will not be by this order.
    async fn start(
        &self,
        attempt: v1::Attempt,
        artifacts: &dyn FetchArtifact,
    ) -> Result<v1::Accepted, v1::Refused>;

    /// The log of an attempt from an offset on, its steps, and its end. Refused only if the question is malformed: of an attempt that the host
    /// does not know, it is said that it [never started](Followed::NeverStarted).
    async fn follow(&self, follow: v1::Follow) -> Result<Following, v1::Refused>;

    /// What became of an attempt; raises the fence. One of `running`, `awaits_confirm`, `ended`, `died`, `never_started` or `refused`.
    async fn probe(&self, probe: v1::Probe) -> v1::answer::Kind;

    /// Ends an attempt, and proves it; raises the fence. One that waits to be confirmed is not ended: the host goes back from it.
    /// One of `killed`, `kill_failed`, `reverting`, `ended`, `died`, `never_started` or `refused`.
    async fn kill(&self, kill: v1::Kill) -> v1::answer::Kind;

    /// Keeps what an attempt did that waits to be confirmed, and says what the verdict is. One of `ended`, `running`, `died`, `never_started` or `refused`.
    async fn confirm(&self, confirm: v1::Confirm) -> v1::answer::Kind;

    /// Has what an attempt will need here, out of `artifacts`, and runs none of it. `staged` or `refused`.
    async fn stage(&self, stage: v1::Stage, artifacts: &dyn FetchArtifact) -> v1::answer::Kind;

    /// Says what an attempt would take of each file system, and what is free there. It is not started. `room_left` or `refused`.
    async fn room(&self, room: v1::Room, artifacts: &dyn FetchArtifact) -> v1::answer::Kind;

    /// Gives a piece of a file that the steps of an attempt have left. `collected` or `refused`.
    async fn collect(&self, collect: v1::Collect) -> v1::answer::Kind;

    /// Runs the service's own `verify` once. `checked` or `refused`.
    async fn check(&self, check: v1::Check) -> v1::answer::Kind;

    /// Runs the read-only check of a step once. `resolved` or `refused`.
    async fn resolve(&self, resolve: v1::Resolve) -> v1::answer::Kind;

    /// What the host runs of a service. `observed` or `refused`.
    async fn observe(&self, observe: v1::Observe) -> v1::answer::Kind;

    /// The attempts whose end nobody has confirmed.
    fn open(&self) -> Vec<v1::AttemptId>;

    /// What the host runs of each service that it knows, but for those with an attempt under way: what these come to is told by their
    /// end.
    async fn holdings(&self) -> Vec<v1::Holding>;

    /// How many attempts are under way.
    fn running(&self) -> u32;

    /// The end of an attempt is durable where it was told: it need not be said again.
    async fn confirm_end(&self, attempt: &v1::AttemptId);

    /// The log of an attempt is durable up to `offset` where it was sent. What is not may not be removed here.
    async fn log_durable(&self, attempt: &v1::AttemptId, offset: u64);

    /// How fast the host may fetch and give from now on, until something else is said. Where its own policy allows less, that counts.
    async fn limit(&self, limits: v1::Limits);

    /// Takes nothing new in, and returns when all that was decided is durable. What runs goes on.
    async fn shutdown(&self);
}

/// Where artifacts come from.
#[async_trait]
pub trait FetchArtifact: fmt::Debug + Send + Sync {
    /// The bytes of an artifact from `offset` on. They are compared with the digest here; nobody else has to.
    async fn fetch(&self, digest: Digest, offset: u64) -> io::Result<Box<dyn ArtifactBytes>>;

    /// Where an artifact can be had block by block, and a new token for that; `None` if it cannot.
    async fn swarm(&self, digest: Digest) -> io::Result<Option<v1::SwarmReply>>;

    /// A limit that what is fetched for the same reason shares, in whichever way it is fetched; `None` where there is none.
    fn throttle(&self) -> Option<Arc<Throttle>> {
        None
    }
}

/// The bytes of an artifact, as they come.
#[async_trait]
pub trait ArtifactBytes: Send {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>>;
}

/// What there is to say of an attempt that is followed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Followed {
    /// Its steps are done, and the host waits to be told to keep what they did. Nothing comes after this: follow it again.
    AwaitsConfirm,
    /// It was started and nothing of it is alive, but it has no exit record. Nothing comes after this.
    Died(v1::Died),
    /// It has ended. Nothing comes after this.
    Ended(v1::Ended),
    /// A piece of its log: the first at the offset asked for, and each where the one before ended.
    Log {
        /// Where it begins.
        offset: u64,
        /// At most [`LONGEST_CHUNK`](deploy_agent_protocol::LONGEST_CHUNK) of them.
        bytes: Bytes,
    },
    /// It never started. Nothing comes after this.
    NeverStarted {
        /// Whether the journal proves it; otherwise there is merely nothing known of the attempt.
        proved: bool,
    },
    /// A step has begun: its name.
    Step(String),
}

/// An attempt that is followed. Dropping it ends nothing else.
#[derive(Debug)]
pub struct Following(mpsc::Receiver<Followed>);

impl Following {
    /// What `receiver` says.
    #[must_use]
    pub const fn new(receiver: mpsc::Receiver<Followed>) -> Self {
        Self(receiver)
    }

    /// What comes next; `None` after the end of the attempt, or if the host side is shut down.
    pub async fn next(&mut self) -> Option<Followed> {
        self.0.recv().await
    }
}
