//! What a configuration says about one host.
use super::{ConfigError, Directive, Origin};
use crate::options::HostKeyPolicy;
use std::time::Duration;

/// What a configuration says about one host, before tokens such as `%h` are replaced.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) address: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) identity_files: Vec<String>,
    pub(crate) identities_only: Option<bool>,
    pub(crate) identity_agent: Option<String>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) known_as: Option<String>,
    pub(crate) user_known_hosts: Option<Vec<String>>,
    pub(crate) global_known_hosts: Option<Vec<String>>,
    pub(crate) host_keys: Option<HostKeyPolicy>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) alive_interval: Option<Duration>,
    pub(crate) alive_count: Option<usize>,
}

/// Through what a host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Direct,
    Jumps(Vec<Hop>),
}

/// One host on the way to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) name: String,
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
}

impl Settings {
    /// Takes over what `directive` says, unless something was said before.
    pub(super) fn apply(&mut self, directive: &Directive) -> Result<(), ConfigError> {
        let Directive { keyword, values, at } = directive;
        let Some(value) = values.first().map(String::as_str) else { return Ok(()) };
        let wrong = |reason: String| ConfigError { at: at.clone(), reason };
        match keyword.as_str() {
            "hostname" => first(&mut self.address, || Ok(value.into())),
            "port" => first(&mut self.port, || port(value)),
            "user" => first(&mut self.user, || Ok(value.into())),
            "identityfile" => {
                self.identity_files.push(value.into());
                Ok(())
            }
            "identitiesonly" => first(&mut self.identities_only, || yes_or_no(value)),
            "identityagent" => first(&mut self.identity_agent, || Ok(value.into())),
            "proxyjump" => first(&mut self.proxy, || jumps(value)),
            "proxycommand" => first(&mut self.proxy, || command(value)),
            "hostkeyalias" => first(&mut self.known_as, || Ok(value.into())),
            "userknownhostsfile" => first(&mut self.user_known_hosts, || Ok(files(values))),
            "globalknownhostsfile" => first(&mut self.global_known_hosts, || Ok(files(values))),
            "stricthostkeychecking" => first(&mut self.host_keys, || policy(value)),
            "connecttimeout" => first(&mut self.connect_timeout, || duration(value)),
            "serveraliveinterval" => first(&mut self.alive_interval, || duration(value)),
            "serveralivecountmax" => first(&mut self.alive_count, || {
                value.parse().map_err(|_| format!("`{value}` is not a number"))
            }),
            "revokedhostkeys" if !none(value) => Err(
                "RevokedHostKeys is not supported, and connecting without it would trust keys that it revokes: \
                 mark them `@revoked` in known_hosts instead"
                    .into(),
            ),
            "ciphers" | "hostkeyalgorithms" | "kexalgorithms" | "macs"
            | "pubkeyacceptedalgorithms" => {
                ignored(keyword, at);
                Ok(())
            }
            _ => Ok(()),
        }
        .map_err(wrong)
    }
}

/// Sets what is not set yet. A later value is not even looked at, as in OpenSSH.
fn first<T>(slot: &mut Option<T>, value: impl FnOnce() -> Result<T, String>) -> Result<(), String> {
    if slot.is_none() {
        *slot = Some(value()?);
    }
    Ok(())
}

fn ignored(keyword: &str, at: &Origin) {
    tracing::debug!(keyword, at = %at, "is ignored: only modern algorithms are ever used");
}

fn none(value: &str) -> bool {
    value.eq_ignore_ascii_case("none")
}

fn port(value: &str) -> Result<u16, String> {
    match value.parse() {
        Ok(0) | Err(_) => Err(format!("`{value}` is not a port: a number from 1 to 65535 is")),
        Ok(port) => Ok(port),
    }
}

fn yes_or_no(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("`{value}` is neither `yes` nor `no`")),
    }
}

fn files(values: &[String]) -> Vec<String> {
    values.iter().filter(|it| !none(it)).cloned().collect()
}

fn policy(value: &str) -> Result<HostKeyPolicy, String> {
    match value.to_ascii_lowercase().as_str() {
        "accept-new" => Ok(HostKeyPolicy::AcceptNew),
        // There is nobody to ask.
        "ask" | "yes" | "true" => Ok(HostKeyPolicy::Strict),
        "no" | "off" | "false" => Err(format!(
            "StrictHostKeyChecking {value} is refused: it would hand the work of a deployment to whoever answers at the \
             address; use `accept-new`, or put the host's key into known_hosts"
        )),
        _ => Err(format!("`{value}` is neither `yes` nor `accept-new`")),
    }
}

/// `10`, `90s`, `1m30s`: seconds where no unit is given.
fn duration(value: &str) -> Result<Duration, String> {
    let wrong = || format!("`{value}` is not a time such as `10` or `1m30s`");
    let (mut total, mut rest) = (0_u64, value);
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let mut tail = tail.chars();
        let unit = match tail.next() {
            None | Some('s' | 'S') => 1,
            Some('m' | 'M') => 60,
            Some('h' | 'H') => 3_600,
            Some('d' | 'D') => 86_400,
            Some('w' | 'W') => 604_800,
            Some(_) => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(unit).and_then(|it| total.checked_add(it)).ok_or_else(wrong)?;
        rest = tail.as_str();
    }
    if value.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

fn command(value: &str) -> Result<Proxy, String> {
    if none(value) {
        return Ok(Proxy::Direct);
    }
    Err("ProxyCommand is not supported, and connecting without it would reach another machine: use ProxyJump".into())
}

fn jumps(value: &str) -> Result<Proxy, String> {
    if none(value) {
        return Ok(Proxy::Direct);
    }
    value.split(',').map(hop).collect::<Result<_, _>>().map(Proxy::Jumps)
}

/// `host`, `user@host`, `host:port`, `[address]:port`, with or without `ssh://`.
fn hop(text: &str) -> Result<Hop, String> {
    let wrong = || format!("`{text}` is not a jump host: it is written `user@host:port`");
    let text = text.trim();
    let text = text.strip_prefix("ssh://").unwrap_or(text);
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, text),
    };
    let (name, port_text) = match place.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix(':').ok_or_else(wrong)?)),
        // More than one colon is an address of IPv6.
        None => match place.split_once(':') {
            Some((name, rest)) if !rest.contains(':') => (name, Some(rest)),
            _ => (place, None),
        },
    };
    if name.is_empty() || user.as_deref() == Some("") {
        return Err(wrong());
    }
    Ok(Hop { name: name.into(), user, port: port_text.map(port).transpose()? })
}
