//! Which agents are connected.
use crate::session::Session;
use deploy_core::{backend::Clock, id::HostName, time::Timestamp};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{select, sync::Notify};

/// The sessions of all hosts, at most one each.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<HostName, Slot>>);

#[derive(Debug, Default)]
struct Slot {
    session: Option<Arc<Session>>,
    /// Told when a session begins: each host has its own, so that a fleet that comes back does not wake everybody for each of its hosts.
    begun: Arc<Notify>,
    waiting: usize,
}

impl Sessions {
    /// Makes `session` its host's; the one before is given back.
    pub(crate) fn enter(&self, session: Arc<Session>) -> Option<Arc<Session>> {
        let mut slots = self.slots();
        let slot = slots.entry(session.host().clone()).or_default();
        let before = slot.session.replace(session);
        slot.begun.notify_waiters();
        before
    }

    /// Forgets `session`, unless its host has another by now.
    pub(crate) fn leave(&self, session: &Arc<Session>) {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(session.host()) else { return };
        if slot.session.as_ref().is_some_and(|it| Arc::ptr_eq(it, session)) {
            slot.session = None;
        }
        if slot.session.is_none() && slot.waiting == 0 {
            slots.remove(session.host());
        }
    }

    /// The session of `host` now. One that was closed is none, though it has not left yet.
    pub(crate) fn current(&self, host: &HostName) -> Option<Arc<Session>> {
        self.slots().get(host)?.session.clone().filter(|it| it.is_open())
    }

    /// The hosts that have a session.
    pub(crate) fn hosts(&self) -> Vec<HostName> {
        let slots = self.slots();
        slots.iter().filter(|(_, it)| it.session.is_some()).map(|(host, _)| host.clone()).collect()
    }

    /// The session of `host`, once it has one; `None` if it has none by then.
    pub(crate) async fn wait(
        &self,
        host: &HostName,
        clock: &dyn Clock,
        until: Timestamp,
    ) -> Option<Arc<Session>> {
        let waiting = Waiting::new(self, host);
        loop {
            let mut begun = Box::pin(waiting.begun.notified());
            // Enabled before it is looked, so that no beginning is missed in between.
            begun.as_mut().enable();
            if let Some(session) = self.current(host) {
                return Some(session);
            }
            if clock.now() >= until {
                return None;
            }
            select! {
                biased;
                () = begun => {}
                () = clock.sleep_until(until) => {}
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<HostName, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a slot for as long as somebody waits for its session.
struct Waiting<'a> {
    sessions: &'a Sessions,
    host: &'a HostName,
    begun: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn new(sessions: &'a Sessions, host: &'a HostName) -> Self {
        let mut slots = sessions.slots();
        let slot = slots.entry(host.clone()).or_default();
        slot.waiting += 1;
        Self { sessions, host, begun: Arc::clone(&slot.begun) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut slots = self.sessions.slots();
        let Some(slot) = slots.get_mut(self.host) else { return };
        slot.waiting -= 1;
        if slot.session.is_none() && slot.waiting == 0 {
            slots.remove(self.host);
        }
    }
}
