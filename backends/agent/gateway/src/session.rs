//! The connection of one agent, for as long as it lasts.
use crate::conversation::{Conversation, Heard};
use deploy_agent_protocol::{
    COLLECT_SINCE, LIMITS_SINCE, LOG_WINDOW, OrderSigner, REVERT_SINCE, ROOM_SINCE, STAGE_SINCE,
    Versions,
    v1::{
        self, AgentFrame, GatewayFrame, Order, Outcome, agent_frame::Kind as FromAgent,
        answer::Kind as Answer, gateway_frame::Kind as ToAgent, order,
    },
};
use deploy_core::{digest::Digest, id::HostName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// How many artifacts an agent may still fetch after newer orders named others.
const OFFERED: usize = 1_024;

/// How a session ends that broke the protocol.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) &'static str);

/// Two boots from which somebody says at the same time to be one host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Boots {
    /// The one whose session is open.
    pub open: String,
    /// The one that has come.
    pub new: String,
}

/// One agent's connection.
#[derive(Debug)]
pub(crate) struct Session {
    host: HostName,
    boot_id: String,
    protocol: u32,
    id: Vec<u8>,
    signer: Arc<OrderSigner>,
    state: Mutex<State>,
    closing: Notify,
    heard: Notify,
}

#[derive(Debug)]
struct State {
    /// `None` once it is over.
    outbox: Option<mpsc::Sender<GatewayFrame>>,
    next: u64,
    conversations: BTreeMap<u64, Inbox>,
    offered: BTreeSet<Digest>,
    offers: Vec<Digest>,
    /// What the host was told of how fast it may fetch and give.
    limits: Option<v1::Limits>,
}

/// Where what is heard about one order goes.
#[derive(Debug)]
struct Inbox {
    heard: mpsc::UnboundedSender<Heard>,
    /// Bytes of the log that are not acknowledged.
    on_the_way: u64,
}

impl Session {
    pub(crate) fn new(
        host: HostName,
        boot_id: String,
        id: Vec<u8>,
        signer: Arc<OrderSigner>,
        outbox: mpsc::Sender<GatewayFrame>,
    ) -> Self {
        let state = State {
            outbox: Some(outbox),
            next: 1,
            conversations: BTreeMap::new(),
            offered: BTreeSet::new(),
            offers: Vec::new(),
            limits: None,
        };
        let (state, closing, heard) = (Mutex::new(state), Notify::new(), Notify::new());
        let protocol = Versions::OURS.newest();
        Self { host, boot_id, protocol, id, signer, state, closing, heard }
    }

    /// In another version of the protocol.
    pub(crate) const fn speaking(mut self, protocol: u32) -> Self {
        self.protocol = protocol;
        self
    }

    /// Whether its host goes back by itself from what nobody confirms.
    pub(crate) const fn reverts(&self) -> bool {
        self.protocol >= REVERT_SINCE
    }

    /// Whether its host fetches ahead of attempts.
    pub(crate) const fn stages(&self) -> bool {
        self.protocol >= STAGE_SINCE
    }

    /// Whether its host gives back what attempts leave.
    pub(crate) const fn gives_back(&self) -> bool {
        self.protocol >= COLLECT_SINCE
    }

    /// Whether its host says what room it has.
    pub(crate) const fn tells_room(&self) -> bool {
        self.protocol >= ROOM_SINCE
    }

    pub(crate) const fn host(&self) -> &HostName {
        &self.host
    }

    /// Which boot of the host's kernel it comes from.
    pub(crate) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Gives an order, which is good for so long. `None` if the session is over.
    pub(crate) async fn order(
        self: &Arc<Self>,
        kind: order::Kind,
        good_for: Duration,
    ) -> Option<Conversation> {
        let outbox = self.outbox()?;
        let place = outbox.reserve().await.ok()?;
        let (heard, inbox) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.outbox.as_ref()?;
        let sequence = state.next;
        state.next += 1;
        let signed = self.signer.sign(&Order {
            host: self.host.to_string(),
            session: self.id.clone(),
            sequence,
            good_for_ms: u32::try_from(good_for.as_millis()).unwrap_or(u32::MAX),
            kind: Some(kind),
        });
        state.conversations.insert(sequence, Inbox { heard, on_the_way: 0 });
        // Under the lock: orders leave in the order of their numbers.
        place.send(GatewayFrame { kind: Some(ToAgent::Order(signed)) });
        drop(state);
        Some(Conversation::new(Arc::clone(self), sequence, inbox))
    }

    /// Lets the agent fetch these artifacts.
    pub(crate) fn offer(&self, artifacts: impl IntoIterator<Item = Digest>) {
        let mut state = self.state();
        for digest in artifacts {
            if !state.offered.insert(digest) {
                // Otherwise it would go as early as what was offered beside it the first time.
                state.offers.retain(|it| *it != digest);
            }
            state.offers.push(digest);
        }
        let old = state.offers.len().saturating_sub(OFFERED);
        for digest in state.offers.drain(..old).collect::<Vec<_>>() {
            state.offered.remove(&digest);
        }
    }

    pub(crate) fn offers(&self, digest: &Digest) -> bool {
        self.state().offered.contains(digest)
    }

    /// Says something to the agent; nothing comes of it if the session is over.
    pub(crate) async fn say(&self, frame: ToAgent) {
        if let Some(outbox) = self.outbox() {
            // A session that is over needs no words.
            let _over = outbox.send(GatewayFrame { kind: Some(frame) }).await;
        }
    }

    /// Tells the host how fast it may fetch and give. Whether it knows now: what finds no room has to be said again.
    pub(crate) fn limit(&self, limits: v1::Limits) -> bool {
        let mut state = self.state();
        if self.protocol < LIMITS_SINCE || state.limits.as_ref() == Some(&limits) {
            return true;
        }
        let Some(outbox) = &state.outbox else { return true };
        let frame = GatewayFrame { kind: Some(ToAgent::Limits(limits.clone())) };
        let told = outbox.try_send(frame).is_ok();
        if told {
            state.limits = Some(limits);
        }
        told
    }

    /// Ends a conversation from this side.
    pub(crate) fn end(&self, sequence: u64) {
        let mut state = self.state();
        let listened = state.conversations.remove(&sequence).is_some();
        if let Some(outbox) = state.outbox.as_ref().filter(|_| listened) {
            let frame = ToAgent::Unfollow(v1::Unfollow { sequence });
            // Where there is no room for it, the agent stops by itself: nobody acknowledges anything.
            let _full = outbox.try_send(GatewayFrame { kind: Some(frame) });
        }
    }

    pub(crate) fn acknowledged(&self, sequence: u64, bytes: u64) {
        if let Some(inbox) = self.state().conversations.get_mut(&sequence) {
            inbox.on_the_way = inbox.on_the_way.saturating_sub(bytes);
        }
    }

    /// Passes on what the agent has said.
    pub(crate) fn take(&self, frame: AgentFrame) -> Result<(), Broken> {
        match frame.kind {
            Some(FromAgent::Answer(answer)) => {
                let kind = answer.kind.ok_or(Broken("an answer that says nothing"))?;
                if since(&kind) > self.protocol {
                    return Err(Broken(
                        "an answer that this version of the protocol does not have",
                    ));
                }
                self.pass(answer.sequence, Heard::Answer(kind))
            }
            Some(FromAgent::Log(chunk)) => {
                let heard = Heard::Log { offset: chunk.offset, bytes: chunk.bytes };
                self.pass(chunk.sequence, heard)
            }
            Some(FromAgent::Step(step)) => self.pass(step.sequence, Heard::Step(step.step)),
            Some(FromAgent::Hello(_)) => Err(Broken("a second hello")),
            // What a newer agent says beside it is not for us.
            Some(FromAgent::Heartbeat(_)) | None => Ok(()),
        }
    }

    fn pass(&self, sequence: u64, heard: Heard) -> Result<(), Broken> {
        let mut state = self.state();
        if sequence >= state.next {
            return Err(Broken("an answer to an order that was never given"));
        }
        // Nobody listens any more, and the agent did not know it yet.
        let Some(inbox) = state.conversations.get_mut(&sequence) else { return Ok(()) };
        if let Heard::Log { bytes, .. } = &heard {
            inbox.on_the_way += bytes.len() as u64;
            if inbox.on_the_way > LOG_WINDOW {
                return Err(Broken("more of a log than may be on the way"));
            }
        }
        if inbox.heard.send(heard).is_err() {
            state.conversations.remove(&sequence);
        }
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state().outbox.is_some()
    }

    /// Ends the session: everybody who waits for an answer learns it.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.outbox = None;
        state.conversations.clear();
        drop(state);
        self.closing.notify_one();
    }

    /// The agent has said something.
    pub(crate) fn heard(&self) {
        self.heard.notify_waiters();
    }

    /// Until the agent says something.
    pub(crate) async fn next_heard(&self) {
        self.heard.notified().await;
    }

    /// Until somebody has closed it.
    pub(crate) async fn closing(&self) {
        self.closing.notified().await;
    }

    fn outbox(&self) -> Option<mpsc::Sender<GatewayFrame>> {
        self.state().outbox.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest version of the protocol that has such an answer.
fn since(answer: &Answer) -> u32 {
    match answer {
        Answer::AwaitsConfirm(_) | Answer::Reverting(_) => REVERT_SINCE,
        Answer::Ended(end)
            if matches!(end.outcome(), Outcome::SelfReverted | Outcome::RevertFailed) =>
        {
            REVERT_SINCE
        }
        Answer::Died(died) if died.reverting => REVERT_SINCE,
        Answer::Staged(_) => STAGE_SINCE,
        Answer::Collected(_) => COLLECT_SINCE,
        Answer::RoomLeft(_) => ROOM_SINCE,
        _ => 0,
    }
}
