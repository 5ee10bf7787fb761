//! The client against the real server, over TLS, and through a network that cuts.
#[cfg(test)]
mod journey;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod trouble;
