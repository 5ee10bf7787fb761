//! Drives rollouts.
