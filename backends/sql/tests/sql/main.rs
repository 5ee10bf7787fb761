//! Both databases, as they are: files, a server that these tests start, crashes, full disks.
mod conformance;
mod crash;
mod damage;
mod full;
mod open;
mod power_cut;
mod processes;
mod server;
mod support;
mod upgrade;
