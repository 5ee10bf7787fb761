use deploy_core::id::AccountName;
use std::{path::PathBuf, time::Duration};

/// What to do about a server whose key is in no `known_hosts` file.
///
/// There is no third policy: a server is never trusted without looking at its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostKeyPolicy {
    /// Writes the key of a host seen for the first time into `known_hosts`, and trusts it. A changed key is refused.
    AcceptNew,
    /// Refuses it.
    #[default]
    Strict,
}

/// All that [`SshTransport`](crate::SshTransport) knows of its surroundings: it reads no environment variable and
/// looks for no home directory.
///
/// ```
/// use deploy_ssh::SshOptions;
///
/// let options = SshOptions::new()
///     .with_home("/home/ops")
///     .with_agent_socket(Some("/run/user/1000/ssh-agent".into()));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SshOptions {
    /// The home directory: for `~`, and for the files below that are not named.
    pub home: Option<PathBuf>,
    /// The account to log in as where neither the host's record nor the configuration names one.
    pub user: Option<AccountName>,
    /// The socket of an ssh-agent.
    pub agent_socket: Option<PathBuf>,
    /// Configuration files, the first value found wins; `None` is `~/.ssh/config` and `/etc/ssh/ssh_config`.
    pub config_files: Option<Vec<PathBuf>>,
    /// Private keys to offer before those of the configuration.
    pub identity_files: Vec<PathBuf>,
    /// `known_hosts` files, instead of those of the configuration. New keys are added to the first.
    pub known_hosts: Option<Vec<PathBuf>>,
    /// What to do about unknown hosts, instead of what the configuration says.
    pub host_keys: Option<HostKeyPolicy>,
    /// How long a host may take to answer: to be found, to accept a connection, and to say the first word on it.
    pub connect_timeout: Duration,
    /// How long a host that has answered may take with the rest, up to the end of authentication, and to start a process. It is
    /// longer, because a host that has much to do is not a host that is missing.
    pub login_timeout: Duration,
    /// How long a connection that is not used is kept.
    pub idle_timeout: Duration,
    /// After how long a silence the server is asked whether it is still there; three times without an answer, and it is not.
    pub keepalive: Duration,
    /// How many connections may be open; beyond that, new ones wait for others to be idle.
    pub max_connections: usize,
    /// How many connections may be in the making at a time.
    pub max_handshakes: usize,
    /// How many connections that nobody uses are kept; each costs some 100 KiB.
    pub max_idle: usize,
    /// How many of them may exchange keys and log in at a time, which is what takes the time of processors.
    pub max_logins: usize,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            home: None,
            user: None,
            agent_socket: None,
            config_files: None,
            identity_files: Vec::new(),
            known_hosts: None,
            host_keys: None,
            connect_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            keepalive: Duration::from_secs(15),
            max_connections: 1_000,
            max_handshakes: 128,
            max_idle: 128,
            max_logins: 32,
        }
    }
}

impl SshOptions {
    /// No home directory, no agent, and strict about host keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With the home directory `home`.
    #[must_use]
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Logging in as `user` where nothing else is said.
    #[must_use]
    pub fn with_user(mut self, user: Option<AccountName>) -> Self {
        self.user = user;
        self
    }

    /// With the agent at `socket`: what `SSH_AUTH_SOCK` says, if the caller wants that.
    #[must_use]
    pub fn with_agent_socket(mut self, socket: Option<PathBuf>) -> Self {
        self.agent_socket = socket;
        self
    }

    /// With these configuration files instead of the usual ones.
    #[must_use]
    pub fn with_config_files(mut self, files: Vec<PathBuf>) -> Self {
        self.config_files = Some(files);
        self
    }

    /// Offering these keys first.
    #[must_use]
    pub fn with_identity_files(mut self, files: Vec<PathBuf>) -> Self {
        self.identity_files = files;
        self
    }

    /// With these `known_hosts` files and no others.
    #[must_use]
    pub fn with_known_hosts(mut self, files: Vec<PathBuf>) -> Self {
        self.known_hosts = Some(files);
        self
    }

    /// With this policy, whatever the configuration says.
    #[must_use]
    pub const fn with_host_keys(mut self, policy: HostKeyPolicy) -> Self {
        self.host_keys = Some(policy);
        self
    }

    /// With this limit for the first answer of a host; the configuration's `ConnectTimeout` goes before it.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// With this limit for what comes after the first answer; it is never shorter than the one for the answer.
    #[must_use]
    pub const fn with_login_timeout(mut self, timeout: Duration) -> Self {
        self.login_timeout = timeout;
        self
    }

    /// Keeping an unused connection this long.
    #[must_use]
    pub const fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Asking a silent server after `interval`; the configuration's `ServerAliveInterval` goes before it.
    #[must_use]
    pub const fn with_keepalive(mut self, interval: Duration) -> Self {
        self.keepalive = interval;
        self
    }

    /// With at most this many connections; at least one.
    #[must_use]
    pub const fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// With at most this many connections in the making; at least one.
    #[must_use]
    pub const fn with_max_handshakes(mut self, handshakes: usize) -> Self {
        self.max_handshakes = handshakes;
        self
    }

    /// With at most so many connections kept that nobody uses.
    #[must_use]
    pub const fn with_max_idle(mut self, connections: usize) -> Self {
        self.max_idle = connections;
        self
    }

    /// With at most this many logins at a time; at least one.
    #[must_use]
    pub const fn with_max_logins(mut self, logins: usize) -> Self {
        self.max_logins = logins;
        self
    }
}
