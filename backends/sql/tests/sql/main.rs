//! Both databases, as they are: files, a server that these tests start, crashes, full disks.
mod conformance;
mod support;
