//! What people declare, as they write it.
#[cfg(test)]
mod digest;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod selector;
#[cfg(test)]
mod waves;
#[cfg(test)]
mod window;
