//! `deploy`: the command line.
mod files;
