//! Who is at the other end of a connection, and how long it may take.
use super::server::Refusal;
use crate::{
    block::Blob,
    token::{Grant, TokenError, TokenVerifier},
};
use deploy_core::{backend::Clock, id::HostName, telemetry::TARGET_BACKEND, time::Timestamp};
use hyper::{HeaderMap, StatusCode, header::AUTHORIZATION};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a visitor may take from the end of an answer until all of the head of its next request is there.
pub(super) const QUIET: Duration = Duration::from_secs(60);
/// How often it is looked whether a visitor takes too long.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Whoever takes an answer more slowly than so many bytes a second, beyond a grace time, is given no more of it.
const SLOWEST: u64 = 16 << 10;
const GRACE: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection, what it has shown, and by when it has to move.
pub(super) struct Visitor {
    pub(super) host: HostName,
    /// Where it connects from.
    pub(super) from: IpAddr,
    grant: Mutex<Option<(String, Grant)>>,
    /// `None` while it waits for us.
    due: Mutex<Option<Timestamp>>,
    clock: Arc<dyn Clock>,
}

impl Visitor {
    pub(super) fn new(host: HostName, from: IpAddr, clock: Arc<dyn Clock>) -> Self {
        let visitor = Self { host, from, grant: Mutex::default(), due: Mutex::default(), clock };
        visitor.may_be_quiet();
        visitor
    }

    /// It asks for something, or waits for what a limit of ours holds back: it takes as long as it takes.
    pub(super) fn waits_for_us(&self) {
        self.set_due(None);
    }

    /// It was answered, and may ask again.
    pub(super) fn may_be_quiet(&self) {
        self.has(QUIET);
    }

    /// It has so long to take what it is given.
    pub(super) fn has(&self, time: Duration) {
        self.set_due(Some(self.clock.now().after(time)));
    }

    /// How long it may take to read so many bytes.
    pub(super) const fn time_for(bytes: u64) -> Duration {
        GRACE.saturating_add(Duration::from_secs(bytes / SLOWEST))
    }

    /// Ends once it has taken too long.
    pub(super) async fn overdue(&self) {
        loop {
            let now = self.clock.now();
            let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
            if due.is_some_and(|it| it <= now) {
                return;
            }
            let look_at = now.after(LOOK_EVERY);
            self.clock.sleep_until(due.map_or(look_at, |it| it.min(look_at))).await;
        }
    }

    /// Whether it may have a blob. A token that was good a moment ago is not checked again, only read.
    pub(super) fn admit(
        &self,
        verifier: &TokenVerifier,
        headers: &HeaderMap,
        blob: Blob,
    ) -> Result<(), Refusal> {
        let header = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        let token = header.and_then(|it| it.strip_prefix("Bearer "));
        let no_token = || Refusal(StatusCode::UNAUTHORIZED, "a token is missing".to_owned());
        let token = token.ok_or_else(no_token)?;
        let forbidden = |err: TokenError| {
            tracing::debug!(target: TARGET_BACKEND, host = %self.host, reason = err.as_str(), "a token is not accepted");
            Refusal(StatusCode::FORBIDDEN, err.to_string())
        };
        let mut known = self.grant.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = match &*known {
            Some((text, grant)) if text == token => grant,
            _ => {
                let grant = verifier.read(token).map_err(forbidden)?;
                &known.insert((token.to_owned(), grant)).1
            }
        };
        grant.allows(&self.host, blob, self.clock.now()).map_err(forbidden)
    }

    fn set_due(&self, due: Option<Timestamp>) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = due;
    }
}
