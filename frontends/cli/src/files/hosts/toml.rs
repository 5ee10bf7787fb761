use super::{HostsFile, MOST_HOSTS, check_address, too_many};
use crate::files::Source;
use deploy_core::{
    host::{Connection, Host, Labels, SshConnection},
    id::{AccountName, HostName},
    spec::AbsolutePath,
};
use deploy_wire::Problem;
use serde::Deserialize;
use std::{collections::BTreeMap, num::NonZeroU16};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlFile {
    #[serde(default)]
    host: Vec<Spanned<HostTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostTable {
    name: Spanned<HostName>,
    address: Option<Spanned<String>>,
    port: Option<NonZeroU16>,
    user: Option<AccountName>,
    root: Option<AbsolutePath>,
    local: Option<AbsolutePath>,
    #[serde(default)]
    labels: Labels,
}

/// Reads `[[host]]` tables.
pub(super) fn parse(source: &Source) -> Result<HostsFile, Problem> {
    let file: TomlFile = source.toml()?;
    let mut seen = BTreeMap::new();
    let mut hosts = Vec::new();
    for table in file.host {
        let at = source.position_of(table.span().start);
        let table = table.into_inner();
        let name_at = source.position_of(table.name.span().start);
        if hosts.len() >= MOST_HOSTS {
            return Err(source.problem(Some(name_at), too_many()));
        }
        if let Some(address) = &table.address {
            let at = source.position_of(address.span().start);
            check_address(address.get_ref()).map_err(|err| source.problem(Some(at), err))?;
        }
        let host = table.into_host().map_err(|reason| source.problem(Some(at), reason))?;
        if let Some(line) = seen.insert(host.name.clone(), name_at.line) {
            let message = format!("host `{}` stands on line {line} already", host.name);
            return Err(source.problem(Some(name_at), message));
        }
        hosts.push(host);
    }
    Ok(HostsFile { hosts, warnings: Vec::new() })
}

impl HostTable {
    fn into_host(self) -> Result<Host, &'static str> {
        let over_ssh = self.address.is_some()
            || self.port.is_some()
            || self.user.is_some()
            || self.root.is_some();
        let connection = match self.local {
            Some(_) if over_ssh => {
                return Err("`local` does not go with `address`, `port`, `user` or `root`");
            }
            Some(root) => Connection::Local { root: root.into() },
            None => {
                let mut ssh = SshConnection::new();
                ssh.address = self.address.map(Spanned::into_inner);
                ssh.port = self.port.map(NonZeroU16::get);
                ssh.user = self.user;
                ssh.root = self.root.map(Into::into);
                Connection::Ssh(ssh)
            }
        };
        Ok(Host::new(self.name.into_inner(), connection).with_labels(self.labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<HostsFile, Problem> {
        parse(&Source::new("hosts.toml", text))
    }

    const HOSTS: &str = r#"
[[host]]
name = "web-1"
address = "192.0.2.1"
port = 2222
user = "deploy"
labels = { role = "web", zone = "a" }

[[host]]
name = "here"
local = "/srv/hosts/here"
"#;

    #[test]
    fn hosts_are_read() {
        let file = read(HOSTS).unwrap();
        let [web, here] = file.hosts.as_slice() else { panic!("two hosts") };
        let ssh = SshConnection::new()
            .with_address("192.0.2.1")
            .with_port(2222)
            .with_user("deploy".parse().unwrap());
        assert_eq!(web.connection, Connection::Ssh(ssh));
        assert_eq!(web.labels.get("zone").unwrap().as_str(), "a");
        assert_eq!(here.connection, Connection::Local { root: "/srv/hosts/here".to_owned() });
    }

    #[test]
    fn every_complaint_names_line_and_column() {
        for (text, wanted) in [
            ("[[host]]\nname = \"a b\"", "hosts.toml:2:8: `a b` is not a valid host name"),
            ("[[host]]\nname = \"a\"\nport = 0", "hosts.toml:3:8: invalid value"),
            ("[[host]]\nname = \"a\"\nport = 99999", "hosts.toml:3:8: invalid value"),
            ("[[host]]\nname = \"a\"\nadress = \"b\"", "hosts.toml:3:1: unknown field `adress`"),
            ("[[host]]\nname = \"a\"\nlabels = { x = \"y z\" }", "hosts.toml:3:16: `y z`"),
            (
                "[[host]]\nname = \"a\"\n[[host]]\nname = \"a\"",
                "hosts.toml:4:8: host `a` stands on line 2",
            ),
            (
                "[[host]]\nname = \"a\"\nlocal = \"/a\"\nport = 1",
                "hosts.toml:1:1: `local` does not go",
            ),
            ("[[hosts]]\nname = \"a\"", "hosts.toml:1:3: unknown field `hosts`"),
        ] {
            let message = read(text).unwrap_err().message;
            assert!(message.starts_with(wanted), "{message}\n  wanted: {wanted}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,60}", at in 0_usize..HOSTS.len()) {
            let mut mixed = HOSTS.to_owned();
            mixed.insert_str(at, &text);
            drop(read(&mixed));
            drop(read(&text));
        }
    }
}
