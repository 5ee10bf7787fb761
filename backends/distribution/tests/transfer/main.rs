//! Blocks between stores, relays and hosts, over real sockets and mutual TLS.
#[cfg(test)]
mod access;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod liars;
#[cfg(test)]
mod relays;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod swarms;
