//! The rules of `ARCHITECTURE.md` that a program can check: what must never depend on what, and what must never appear where.
#[cfg(test)]
mod code;
#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod licences;
#[cfg(test)]
mod source;
#[cfg(test)]
mod units;
#[cfg(test)]
mod workspace;
