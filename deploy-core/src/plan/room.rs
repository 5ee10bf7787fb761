//! Whether the hosts of a plan have room for what it brings them.
use crate::id::HostName;
use serde::Serialize;
use std::fmt;

/// What is needed of a file system of a host, and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiskRoom {
    /// A folder on it.
    pub folder: String,
    /// How many bytes have to be free: what comes, and what has to stay free beside it.
    pub needed_bytes: u64,
    /// How many bytes are free.
    pub free_bytes: u64,
    /// How many inodes have to be free.
    pub needed_inodes: u64,
    /// How many inodes are free; `None` where the file system does not count them.
    pub free_inodes: Option<u64>,
}

impl DiskRoom {
    /// The file system of `folder`, of which `needed_bytes` have to be free, and `free_bytes` are.
    #[must_use]
    pub const fn new(folder: String, needed_bytes: u64, free_bytes: u64) -> Self {
        Self { folder, needed_bytes, free_bytes, needed_inodes: 0, free_inodes: None }
    }

    /// And of which `needed` inodes have to be free.
    #[must_use]
    pub const fn with_inodes(mut self, needed: u64, free: Option<u64>) -> Self {
        self.needed_inodes = needed;
        self.free_inodes = free;
        self
    }

    /// How many bytes are missing.
    #[must_use]
    pub const fn missing_bytes(&self) -> u64 {
        self.needed_bytes.saturating_sub(self.free_bytes)
    }

    /// How many inodes are missing.
    #[must_use]
    pub const fn missing_inodes(&self) -> u64 {
        match self.free_inodes {
            Some(free) => self.needed_inodes.saturating_sub(free),
            None => 0,
        }
    }

    /// Whether anything is missing.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.missing_bytes() > 0 || self.missing_inodes() > 0
    }
}

/// What the targets of a plan have said when they were asked whether they have room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RoomReport {
    /// How many targets get anything, and so need room.
    pub hosts: u32,
    /// How many of them have said what room there is.
    pub checked: u32,
    /// Those without enough of it, by name.
    pub short: Vec<ShortHost>,
    /// Those that have not said, by why.
    pub unchecked: Vec<UncheckedHosts>,
}

/// A host that has no room for what a plan brings it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShortHost {
    /// Which.
    pub host: HostName,
    /// The file systems of it that are too full.
    pub disks: Vec<DiskRoom>,
}

impl ShortHost {
    /// `host`, and its file systems that are too full.
    #[must_use]
    pub const fn new(host: HostName, disks: Vec<DiskRoom>) -> Self {
        Self { host, disks }
    }
}

/// Hosts of which nobody knows whether they have room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UncheckedHosts {
    /// Why not.
    pub reason: Unchecked,
    /// Which, by name.
    pub hosts: Vec<HostName>,
}

impl UncheckedHosts {
    /// `hosts`, because of `reason`.
    #[must_use]
    pub const fn new(reason: Unchecked, hosts: Vec<HostName>) -> Self {
        Self { reason, hosts }
    }
}

/// Why nobody knows whether a host has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unchecked {
    /// It is reached in a way by which it cannot be asked.
    CannotAsk,
    /// It could not answer, or would refuse the attempt for something else than room.
    Failed,
    /// Whoever plans may not look at it.
    NotAllowed,
    /// It cannot be reached now.
    NotConnected,
    /// It did not answer in the time that there is for all of them.
    TooLate,
}

impl Unchecked {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CannotAsk => "cannot_ask",
            Self::Failed => "failed",
            Self::NotAllowed => "not_allowed",
            Self::NotConnected => "not_connected",
            Self::TooLate => "too_late",
        }
    }
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
