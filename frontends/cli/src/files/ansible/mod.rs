//! Ansible inventories: only what says how hosts are reached and which groups they are in.
mod groups;
mod ini;
mod pattern;
mod words;
mod yaml;

pub(super) use ini::parse as parse_ini;
pub(super) use yaml::parse as parse_yaml;

use super::{
    Position, Source,
    hosts::{HostsFile, MOST_HOSTS, check_address, too_many},
};
use deploy_core::{
    host::{Connection, Host, Labels, SshConnection},
    id::{HostName, LabelKey, LabelValue},
};
use deploy_wire::Problem;
use groups::{GroupName, Lineage};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU16,
    str::FromStr as _,
};

/// The most groups an inventory may have.
const MOST_GROUPS: usize = 2_000;

/// A variable: its text, unless it is a list or a map, and where it stands.
#[derive(Clone, Debug)]
struct Var {
    text: Option<String>,
    at: Position,
}

type Vars = BTreeMap<String, Var>;

#[derive(Debug, Default)]
struct Group {
    hosts: BTreeSet<HostName>,
    children: BTreeMap<GroupName, Position>,
    vars: Vars,
}

/// An inventory as it was read, before anything is inherited.
#[derive(Debug, Default)]
struct Inventory {
    groups: BTreeMap<GroupName, Group>,
    hosts: BTreeMap<HostName, Vars>,
}

impl Inventory {
    /// The group `name`, which is there from now on.
    fn group(
        &mut self,
        source: &Source,
        name: &GroupName,
        at: Position,
    ) -> Result<&mut Group, Problem> {
        if !self.groups.contains_key(name) && self.groups.len() >= MOST_GROUPS {
            return Err(source.problem(Some(at), format!("more than {MOST_GROUPS} groups")));
        }
        Ok(self.groups.entry(name.clone()).or_default())
    }

    /// The hosts that `pattern` stands for are in `group`, with `vars`.
    fn add_hosts(
        &mut self,
        source: &Source,
        group: &GroupName,
        pattern: (&str, Position),
        vars: &Vars,
    ) -> Result<(), Problem> {
        let (text, at) = pattern;
        let expanded = pattern::expand(text).map_err(|err| source.problem(Some(at), err))?;
        for name in expanded.names {
            let host: HostName = name.parse().map_err(|err| source.problem(Some(at), err))?;
            if !self.hosts.contains_key(&host) && self.hosts.len() >= MOST_HOSTS {
                return Err(source.problem(Some(at), too_many()));
            }
            let mine = self.hosts.entry(host.clone()).or_default();
            if let Some(port) = &expanded.port {
                mine.insert("ansible_port".to_owned(), Var { text: Some(port.clone()), at });
            }
            mine.extend(vars.iter().map(|(key, var)| (key.clone(), var.clone())));
            self.group(source, group, at)?.hosts.insert(host);
        }
        Ok(())
    }

    /// The hosts, with what they inherit from their groups.
    fn into_hosts(self, source: &Source) -> Result<HostsFile, Problem> {
        let lineage = Lineage::of(&self.groups, source)?;
        let mut unused = BTreeMap::<String, usize>::new();
        let mut hosts = Vec::new();
        for (name, vars) in &self.hosts {
            let direct = lineage.direct(name);
            let groups = lineage.of_host(name);
            let inherited = groups.iter().filter_map(|group| self.groups.get(*group));
            let all = self.groups.get("all").into_iter().chain(inherited);
            let mut seen = Vars::new();
            for vars in all.map(|it| &it.vars).chain([vars]) {
                seen.extend(vars.iter().map(|(key, var)| (key.clone(), var.clone())));
            }
            let connection = Reach { source, vars: seen }.connection(&mut unused)?;
            let labels = labels(source, direct, &groups)?;
            hosts.push(Host::new(name.clone(), connection).with_labels(labels));
        }
        let warnings = unused.into_iter().map(|(name, count)| unused_variable(&name, count));
        Ok(HostsFile { hosts, warnings: warnings.collect() })
    }
}

fn unused_variable(name: &str, hosts: usize) -> String {
    let plural = if hosts == 1 { "host" } else { "hosts" };
    format!("variable `{}` of {hosts} {plural} is not used", name.escape_debug())
}

/// `group/NAME=true` for every group, and `group=NAME` where there is only one that names the host itself.
fn labels(
    source: &Source,
    direct: &[&GroupName],
    groups: &[&GroupName],
) -> Result<Labels, Problem> {
    let refuse = |err: &dyn fmt::Display| source.problem(None, err);
    let mut labels = Labels::new();
    for group in groups {
        let key: LabelKey = format!("group/{group}").parse().map_err(|err| refuse(&err))?;
        labels.insert(key, LabelValue::from_str("true").map_err(|err| refuse(&err))?);
    }
    if let [only] = direct {
        let key = LabelKey::from_str("group").map_err(|err| refuse(&err))?;
        labels.insert(key, only.as_str().parse().map_err(|err| refuse(&err))?);
    }
    Ok(labels)
}

/// How a host is reached, by the variables that hold for it.
struct Reach<'a> {
    source: &'a Source,
    vars: Vars,
}

impl Reach<'_> {
    fn connection(mut self, unused: &mut BTreeMap<String, usize>) -> Result<Connection, Problem> {
        let mut ssh = SshConnection::new();
        if let Some((text, at)) = self.take(["ansible_host", "ansible_ssh_host"])? {
            check_address(&text).map_err(|err| self.source.problem(Some(at), err))?;
            ssh.address = Some(text);
        }
        if let Some((text, at)) = self.take(["ansible_port", "ansible_ssh_port"])? {
            let port = text.parse::<NonZeroU16>().map_err(|_| {
                let message =
                    format!("`{}` is not a port: it must be 1 to 65535", text.escape_debug());
                self.source.problem(Some(at), message)
            })?;
            ssh.port = Some(port.get());
        }
        if let Some((text, at)) = self.take(["ansible_user", "ansible_ssh_user"])? {
            ssh.user = Some(text.parse().map_err(|err| self.source.problem(Some(at), err))?);
        }
        if let Some((text, at)) = self.take(["ansible_connection", "ansible_connection"])?
            && !matches!(text.as_str(), "ssh" | "smart" | "paramiko" | "paramiko_ssh")
        {
            let message = format!("connection `{}` is not known, only `ssh`", text.escape_debug());
            return Err(self.source.problem(Some(at), message));
        }
        for name in self.vars.into_keys() {
            *unused.entry(name).or_default() += 1;
        }
        Ok(Connection::Ssh(ssh))
    }

    /// Takes the variable of the first of these names that is set, and drops the other.
    fn take(&mut self, names: [&str; 2]) -> Result<Option<(String, Position)>, Problem> {
        let [first, second] = names.map(|name| self.vars.remove(name).map(|var| (name, var)));
        let Some((name, var)) = first.or(second) else {
            return Ok(None);
        };
        match var.text {
            Some(text) if text.contains("{{") => {
                let message = format!("`{name}` is a template, and templates are not evaluated");
                Err(self.source.problem(Some(var.at), message))
            }
            Some(text) => Ok(Some((text, var.at))),
            None => Err(self.source.problem(Some(var.at), format!("`{name}` must be plain text"))),
        }
    }
}
