//! What the planner makes of what is wanted and known.
#[cfg(test)]
mod cases;
#[cfg(test)]
mod digest;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod sample;
