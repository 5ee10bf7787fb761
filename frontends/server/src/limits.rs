//! How much is taken, and from whom.
use crate::{auth::Caller, problem::HttpProblem, state::SharedState};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use deploy_core::{id::TokenId, time::Timestamp};
use deploy_wire::ProblemCode;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What is more than this is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest body of a request that is not an upload, in bytes.
    pub body_bytes: usize,
    /// The largest artifact, in bytes.
    pub artifact_bytes: u64,
    /// How many connections there may be.
    pub connections: usize,
    /// How many requests are worked on at a time.
    pub requests: usize,
    /// How many event streams there may be.
    pub streams: usize,
    /// How long a client may take for the head of a request, and for its part of a TLS handshake.
    pub head_timeout: Duration,
    /// How long the answer to a request that is neither an upload nor a stream may take.
    pub request_timeout: Duration,
    /// How long an upload may go on.
    pub upload_timeout: Duration,
    /// How many requests a token may make in a second, over a longer time.
    pub rate_per_second: u32,
    /// How many it may make at once after a pause.
    pub rate_burst: u32,
    /// Whether hosts may be folders of the server's own machine, where steps run with the server's rights.
    pub local_hosts: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            artifact_bytes: 4 << 30,
            connections: 20_000,
            requests: 256,
            streams: 1_000,
            head_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            upload_timeout: Duration::from_secs(3_600),
            rate_per_second: 100,
            rate_burst: 400,
            local_hosts: false,
        }
    }
}

/// How often each token was used lately: a bucket of requests that fills up again with time.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    buckets: Mutex<BTreeMap<TokenId, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of requests.
    left: u64,
    at: Timestamp,
}

impl Rates {
    /// More tokens than this are not remembered beyond their buckets being full.
    const MANY: usize = 10_000;

    /// Takes a request of `token`; gives how many seconds it has to wait if there is none left.
    fn take(&self, token: &TokenId, now: Timestamp, limits: &Limits) -> Result<(), u64> {
        const ONE: u64 = 1_000;
        let (full, rate) = (u64::from(limits.rate_burst) * ONE, u64::from(limits.rate_per_second));
        // A thousandth of a request a millisecond is one request a second.
        let filled = |it: Bucket| {
            let millis = u64::try_from(now.since(it.at).as_millis()).unwrap_or(u64::MAX);
            it.left.saturating_add(millis.saturating_mul(rate)).min(full)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > Self::MANY {
            buckets.retain(|_, it| filled(*it) < full);
        }
        let bucket = buckets.entry(token.clone()).or_insert(Bucket { left: full, at: now });
        let left = filled(*bucket);
        let rest = left.checked_sub(ONE);
        *bucket = Bucket { left: rest.unwrap_or(left), at: now };
        match rest {
            Some(_) => Ok(()),
            None => Err((ONE - left).div_ceil((rate * ONE).max(1)).max(1)),
        }
    }
}

/// Refuses what a token asks for too often.
pub(crate) async fn rate(
    State(state): State<SharedState>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    let now = state.now();
    match state.rates.take(caller.token_id(), now, &state.limits) {
        Ok(()) => next.run(request).await,
        Err(secs) => {
            HttpProblem::new(ProblemCode::RateLimited, "this token makes too many requests")
                .retry_after(secs)
                .into_response()
        }
    }
}

/// Refuses more requests at a time than there may be, and those that take too long.
pub(crate) async fn at_once(
    State(state): State<SharedState>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_turn) = state.turns.try_acquire() else {
        return HttpProblem::new(ProblemCode::Unavailable, "too many requests at this moment")
            .retry_after(1)
            .into_response();
    };
    // Both move whole artifacts.
    let is_long = ["/publish", "/upload"].iter().any(|it| request.uri().path().ends_with(it));
    let limit = if is_long { state.limits.upload_timeout } else { state.limits.request_timeout };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_late) => {
            let message = format!("the answer took longer than {} seconds", limit.as_secs());
            HttpProblem::new(ProblemCode::TimedOut, message)
                .with_hint("it may have been done: look before repeating it")
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bucket_fills_up_again() {
        let limits = Limits { rate_per_second: 2, rate_burst: 3, ..Limits::default() };
        let (rates, token) = (Rates::default(), TokenId::from_bits(1));
        let take = |millis| rates.take(&token, Timestamp::from_millis(millis), &limits);
        assert_eq!([take(0), take(0), take(0), take(0)], [Ok(()), Ok(()), Ok(()), Err(1)]);
        assert_eq!([take(499), take(500), take(501)], [Err(1), Ok(()), Err(1)]);
        assert_eq!(rates.take(&TokenId::from_bits(2), Timestamp::from_millis(0), &limits), Ok(()));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(gaps in prop::collection::vec(0_u64..400, 1..200)) {
            let limits = Limits { rate_per_second: 7, rate_burst: 5, ..Limits::default() };
            let (rates, token) = (Rates::default(), TokenId::from_bits(1));
            let (mut now, mut taken) = (0, 0_u64);
            for gap in gaps {
                now += gap;
                taken += u64::from(rates.take(&token, Timestamp::from_millis(now), &limits).is_ok());
                prop_assert!(taken <= 5 + now * 7 / 1_000, "{taken} by {now} ms");
            }
        }
    }
}
