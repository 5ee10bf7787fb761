//! The control plane as programs see it: over real sockets.
#[cfg(test)]
mod access;
#[cfg(test)]
mod agents;
#[cfg(test)]
mod artifacts;
#[cfg(test)]
mod builds;
mod channels;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod rates;
#[cfg(test)]
mod repeated;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod rollouts;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod unanswered;
