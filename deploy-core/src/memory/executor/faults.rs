use std::time::Duration;

/// What is wrong with a host, and the way to it; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostFaults {
    /// It cannot be reached.
    pub unreachable: bool,
    /// So many requests are lost on the way there, and take no effect.
    pub lost_requests: u32,
    /// So many replies are lost, whose requests have taken effect.
    pub lost_replies: u32,
    /// How long a request is under way.
    pub delay: Duration,
    /// There is no room on it for anything more.
    pub full: bool,
    /// How many bytes are free on it before anything else is fetched; `None`: as many as anybody wants.
    pub free: Option<u64>,
    /// The processes that no kill can end, as `PID:NAME`.
    pub survivors: Vec<String>,
}

impl HostFaults {
    /// Nothing is wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It cannot be reached.
    #[must_use]
    pub const fn with_unreachable(mut self) -> Self {
        self.unreachable = true;
        self
    }

    /// The next `count` requests are lost.
    #[must_use]
    pub const fn with_lost_requests(mut self, count: u32) -> Self {
        self.lost_requests = count;
        self
    }

    /// The replies to the next `count` requests that arrive are lost.
    #[must_use]
    pub const fn with_lost_replies(mut self, count: u32) -> Self {
        self.lost_replies = count;
        self
    }

    /// Every request takes `delay` to get there.
    #[must_use]
    pub const fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// There is no room on it for anything more.
    #[must_use]
    pub const fn with_full(mut self) -> Self {
        self.full = true;
        self
    }

    /// No more than `bytes` are free on it.
    #[must_use]
    pub const fn with_free(mut self, bytes: u64) -> Self {
        self.free = Some(bytes);
        self
    }

    /// No kill can end `survivors`.
    #[must_use]
    pub fn with_survivors(mut self, survivors: Vec<String>) -> Self {
        self.survivors = survivors;
        self
    }
}
