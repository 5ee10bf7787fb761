use super::{
    Inventory, Position, Source, Var, Vars,
    groups::GroupName,
    words::{self, Word},
};
use crate::files::hosts::HostsFile;
use deploy_wire::Problem;

/// What the lines of a section are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Children,
    Hosts,
    Vars,
}

/// Reads an inventory in INI.
pub(in crate::files) fn parse(source: &Source) -> Result<HostsFile, Problem> {
    let mut reader = Reader {
        source,
        inventory: Inventory::default(),
        group: GroupName::ungrouped(),
        kind: Kind::Hosts,
        children: Vec::new(),
    };
    for (line, text) in (1..).zip(source.text().lines()) {
        reader.line(line, text)?;
    }
    reader.finish()
}

struct Reader<'a> {
    source: &'a Source,
    inventory: Inventory,
    group: GroupName,
    kind: Kind,
    /// Groups that were named as children: all of them must be there in the end.
    children: Vec<(GroupName, Position)>,
}

impl Reader<'_> {
    fn line(&mut self, line: usize, text: &str) -> Result<(), Problem> {
        let trimmed = text.trim_start();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            return Ok(());
        }
        let column = text.chars().count() - trimmed.chars().count() + 1;
        let at = Position { line, column };
        if trimmed.starts_with('[') && is_header(trimmed) {
            return self.header(trimmed, at);
        }
        match self.kind {
            Kind::Children => self.child(trimmed, at),
            Kind::Hosts => self.hosts(line, text),
            Kind::Vars => self.variable(trimmed, at),
        }
    }

    /// `[group]`, `[group:children]` or `[group:vars]`.
    fn header(&mut self, text: &str, at: Position) -> Result<(), Problem> {
        let refuse = |message: String| self.source.problem(Some(at), message);
        let inner = text.strip_prefix('[').and_then(|it| it.split_once(']'));
        let Some((inner, after)) = inner else {
            return Err(refuse("`[` without `]`".to_owned()));
        };
        if !matches!(after.trim_start().chars().next(), None | Some('#' | ';')) {
            return Err(refuse("there is something after the `]`".to_owned()));
        }
        let (name, kind) = match inner.split_once(':') {
            None => (inner, Kind::Hosts),
            Some((name, "hosts")) => (name, Kind::Hosts),
            Some((name, "children")) => (name, Kind::Children),
            Some((name, "vars")) => (name, Kind::Vars),
            Some((_, other)) => {
                let other = other.escape_debug();
                return Err(refuse(format!(
                    "`:{other}` is not known, only `:children` and `:vars`"
                )));
            }
        };
        self.group = name.parse().map_err(refuse)?;
        self.kind = kind;
        self.inventory.group(self.source, &self.group, at)?;
        Ok(())
    }

    fn child(&mut self, text: &str, at: Position) -> Result<(), Problem> {
        let name = text.split(['#', ';']).next().unwrap_or("").trim_end();
        let child: GroupName = name.parse().map_err(|err| self.source.problem(Some(at), err))?;
        let group = self.inventory.group(self.source, &self.group, at)?;
        group.children.insert(child.clone(), at);
        self.children.push((child, at));
        Ok(())
    }

    /// `PATTERN KEY=VALUE KEY='VALUE'`
    fn hosts(&mut self, line: usize, text: &str) -> Result<(), Problem> {
        let at = |column| Position { line, column };
        let words = words::split(text)
            .map_err(|err| self.source.problem(Some(at(err.column)), "a quote is never closed"))?;
        let mut words = words.into_iter();
        let Some(Word { text: pattern, column }) = words.next() else {
            return Ok(());
        };
        let mut vars = Vars::new();
        for word in words {
            let Some((key, value)) = word.text.split_once('=') else {
                let message = format!("`{}` is not KEY=VALUE", word.text.escape_debug());
                return Err(self.source.problem(Some(at(word.column)), message));
            };
            let var = Var { text: Some(value.to_owned()), at: at(word.column) };
            vars.insert(key.to_owned(), var);
        }
        self.inventory.add_hosts(self.source, &self.group, (&pattern, at(column)), &vars)
    }

    /// `KEY=VALUE` up to the end of the line.
    fn variable(&mut self, text: &str, at: Position) -> Result<(), Problem> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(self.source.problem(Some(at), "expected KEY=VALUE"));
        };
        let var = Var { text: Some(plain_value(value)), at };
        let group = self.inventory.group(self.source, &self.group, at)?;
        group.vars.insert(key.trim().to_owned(), var);
        Ok(())
    }

    fn finish(self) -> Result<HostsFile, Problem> {
        for (child, at) in &self.children {
            if !self.inventory.groups.contains_key(child) {
                let message = format!("there is no group `{child}`");
                return Err(self.source.problem(Some(*at), message));
            }
        }
        self.inventory.into_hosts(self.source)
    }
}

/// Whether a line that begins with `[` is a header, and not a host pattern such as `[a:c].example.com`.
fn is_header(text: &str) -> bool {
    match text.split_once(']') {
        Some((_, after)) => matches!(after.trim_start().chars().next(), None | Some('#' | ';')),
        None => true,
    }
}

/// A value without its quotes, or without the comment behind it.
fn plain_value(value: &str) -> String {
    let value = value.trim();
    for quote in ['\'', '"'] {
        if let Some((inner, after)) = value.strip_prefix(quote).and_then(|it| it.split_once(quote))
            && matches!(after.trim_start().chars().next(), None | Some('#'))
        {
            return inner.to_owned();
        }
    }
    value.split(" #").next().unwrap_or("").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::host::Connection;
    use proptest::prelude::*;

    const INVENTORY: &str = "\
bastion.example.com ansible_host=192.0.2.9

[web] ; the front
web[01:03].example.com ansible_user=deploy
web04.example.com:2222 ansible_host='192.0.2.4' note=\"a b\"

[db]
db-[a:b]

[backend:children]
db

[backend:vars]
ansible_user = ops # everywhere
ansible_port=2200

[db:vars]
ansible_port=\"2201\"

[all:vars]
ansible_user=nobody
";

    fn read(text: &str) -> Result<HostsFile, Problem> {
        parse(&Source::new("hosts.ini", text))
    }

    fn ssh(file: &HostsFile, name: &str) -> (Option<String>, Option<u16>, Option<String>) {
        let host = file.hosts.iter().find(|it| it.name.as_str() == name).unwrap();
        let Connection::Ssh(ssh) = &host.connection else { panic!("over SSH") };
        (ssh.address.clone(), ssh.port, ssh.user.as_ref().map(ToString::to_string))
    }

    #[test]
    fn hosts_inherit_from_their_groups() {
        let file = read(INVENTORY).unwrap();
        assert_eq!(file.hosts.len(), 7);
        let text = |it: &str| Some(it.to_owned());
        assert_eq!(ssh(&file, "bastion.example.com"), (text("192.0.2.9"), None, text("nobody")));
        assert_eq!(ssh(&file, "web02.example.com"), (None, None, text("deploy")));
        assert_eq!(
            ssh(&file, "web04.example.com"),
            (text("192.0.2.4"), Some(2222), text("nobody"))
        );
        assert_eq!(ssh(&file, "db-a"), (None, Some(2201), text("ops")));
        assert_eq!(file.warnings, ["variable `note` of 1 host is not used"]);
    }

    #[test]
    fn groups_become_labels() {
        let file = read(INVENTORY).unwrap();
        let labels = |name: &str| {
            let host = file.hosts.iter().find(|it| it.name.as_str() == name).unwrap();
            let labels = host.labels.iter().map(|(key, value)| format!("{key}={value}"));
            labels.collect::<Vec<_>>()
        };
        assert_eq!(labels("db-a"), ["group=db", "group/backend=true", "group/db=true"]);
        assert_eq!(labels("bastion.example.com"), Vec::<String>::new());
    }

    #[test]
    fn every_complaint_names_line_and_column() {
        for (text, wanted) in [
            ("[web\na", "hosts.ini:1:1: `[` without `]`"),
            ("[web] x\na", "hosts.ini:1:7: "),
            ("[we b]\na", "hosts.ini:1:1: `we b` is not a usable group name"),
            ("[web:things]\na", "hosts.ini:1:1: `:things` is not known"),
            ("[web]\na b", "hosts.ini:2:3: `b` is not KEY=VALUE"),
            ("[web]\na b='c", "hosts.ini:2:5: a quote is never closed"),
            ("[web]\na[1:", "hosts.ini:2:1: `a[1:` is not a host pattern"),
            ("[web]\na ansible_port=0", "hosts.ini:2:3: `0` is not a port"),
            ("[web]\na ansible_host='{{ x }}'", "hosts.ini:2:3: `ansible_host` is a template"),
            ("[web]\na ansible_connection=local", "hosts.ini:2:3: connection `local` is not known"),
            ("[web]\na ansible_user='a b'", "hosts.ini:2:3: `a b` is not a valid account name"),
            ("[web:children]\n  dbs", "hosts.ini:2:3: there is no group `dbs`"),
            (
                "[a:children]\nb\n[b:children]\na\n[c]\nd",
                "hosts.ini:2:1: group `b` cannot be in `a`",
            ),
            ("[web:vars]\nport", "hosts.ini:2:1: expected KEY=VALUE"),
        ] {
            let message = read(text).unwrap_err().message;
            assert!(message.starts_with(wanted), "{message}\n  wanted: {wanted}");
        }
    }

    #[test]
    fn groups_that_nest_without_end_are_refused() {
        let deep: String = (0..100).map(|it| format!("[g{it}:children]\ng{}\n", it + 1)).collect();
        let problem = read(&format!("{deep}[g100]\na\n")).unwrap_err();
        assert!(problem.message.contains("groups nest deeper than 64"), "{problem}");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "[\\PC\n\\[\\]:=']{0,80}", at in 0_usize..INVENTORY.len()) {
            drop(read(&text));
            let mut mixed = INVENTORY.to_owned();
            mixed.insert_str(at, &text);
            drop(read(&mixed));
        }
    }
}
