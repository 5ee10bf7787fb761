//! A certificate that stays good.
use crate::{Credentials, GatewayConnector, renew};
use deploy_core::{backend::Clock, time::Timestamp};
use std::{path::Path, time::Duration};

/// How long to wait before a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// Renews the certificate in `state` in time, for good, and tells `renewed` of each new one.
pub async fn keep_certificate(
    state: &Path,
    connect: &GatewayConnector,
    clock: &dyn Clock,
    mut credentials: Credentials,
    renewed: impl Fn(&Credentials),
) {
    loop {
        clock.sleep_until(Timestamp::from_millis(credentials.renew_at_ms())).await;
        match renew(state, connect).await {
            Ok(newer) => {
                credentials = newer;
                renewed(&credentials);
            }
            Err(err) => {
                tracing::warn!(reason = %err, "the certificate is not renewed yet");
                clock.sleep_until(clock.now().after(RENEW_AGAIN)).await;
            }
        }
    }
}
