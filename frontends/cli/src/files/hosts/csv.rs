use super::{HostsFile, MOST_HOSTS, check_address, too_many};
use crate::files::{Position, Source};
use csv::{ReaderBuilder, StringRecord, Trim};
use deploy_core::{
    host::{Connection, Host, Labels, SshConnection},
    id::{HostName, LabelKey},
    spec::AbsolutePath,
};
use deploy_wire::Problem;
use std::{collections::BTreeMap, fmt, num::NonZeroU16, str::FromStr};

/// What a column of the table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Address,
    Label(LabelKey),
    Labels,
    Local,
    Name,
    Port,
    Root,
    User,
}

/// Reads a table with a header row.
pub(super) fn parse(source: &Source) -> Result<HostsFile, Problem> {
    check_quotes(source)?;
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .comment(Some(b'#'))
        .from_reader(source.text().as_bytes());
    let header = reader.headers().map_err(|err| refuse(source, &err))?.clone();
    let columns = columns(source, &header)?;
    let mut seen = BTreeMap::new();
    let mut hosts = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|err| refuse(source, &err))?;
        let row = Row { source, line: line_of(&record) };
        if hosts.len() >= MOST_HOSTS {
            return Err(row.problem(0, too_many()));
        }
        let host = row.host(&columns, &record)?;
        if let Some(line) = seen.insert(host.name.clone(), row.line) {
            return Err(
                row.problem(0, format!("host `{}` stands on line {line} already", host.name))
            );
        }
        hosts.push(host);
    }
    Ok(HostsFile { hosts, warnings: Vec::new() })
}

/// The parser takes the rest of the file for a field whose quote is never closed.
fn check_quotes(source: &Source) -> Result<(), Problem> {
    let mut opened = None;
    for (line, text) in (1..).zip(source.text().lines()) {
        if opened.is_none() && text.starts_with('#') {
            continue;
        }
        for (at, _) in text.chars().enumerate().filter(|(_, c)| *c == '"') {
            opened = match opened {
                None => Some(Position { line, column: at + 1 }),
                Some(_) => None,
            };
        }
    }
    match opened {
        Some(at) => Err(source.problem(Some(at), "a quote is never closed")),
        None => Ok(()),
    }
}

fn columns(source: &Source, header: &StringRecord) -> Result<Vec<Column>, Problem> {
    let row = Row { source, line: line_of(header) };
    let mut columns = Vec::new();
    for (at, name) in header.iter().enumerate() {
        let column = match name {
            "address" => Column::Address,
            "labels" => Column::Labels,
            "local" => Column::Local,
            "name" => Column::Name,
            "port" => Column::Port,
            "root" => Column::Root,
            "user" => Column::User,
            _ => match name.strip_prefix("label.") {
                Some(key) => Column::Label(row.parse(at, key)?),
                None => return Err(row.problem(at, unknown_column(name))),
            },
        };
        if columns.contains(&column) {
            return Err(row.problem(at, format!("column `{name}` stands there twice")));
        }
        columns.push(column);
    }
    if columns.contains(&Column::Name) {
        Ok(columns)
    } else {
        Err(row.problem(0, "the first line must name the columns, and one of them must be `name`"))
    }
}

fn unknown_column(name: &str) -> String {
    format!(
        "unknown column `{}`, expected `name`, `address`, `port`, `user`, `root`, `local`, `labels` or `label.KEY`",
        name.escape_debug()
    )
}

struct Row<'a> {
    source: &'a Source,
    line: usize,
}

impl Row<'_> {
    fn host(&self, columns: &[Column], record: &StringRecord) -> Result<Host, Problem> {
        let mut name = None;
        let mut ssh = SshConnection::new();
        let mut local = None;
        let mut labels = Labels::new();
        for (at, (column, value)) in columns.iter().zip(record).enumerate() {
            if value.is_empty() {
                continue;
            }
            match column {
                Column::Address => {
                    check_address(value).map_err(|err| self.problem(at, err))?;
                    ssh.address = Some(value.to_owned());
                }
                Column::Label(key) => drop(labels.insert(key.clone(), self.parse(at, value)?)),
                Column::Labels => self.labels(at, value, &mut labels)?,
                Column::Local => local = Some(self.parse::<AbsolutePath>(at, value)?),
                Column::Name => name = Some(self.parse::<HostName>(at, value)?),
                Column::Port => ssh.port = Some(self.port(at, value)?),
                Column::Root => ssh.root = Some(self.parse::<AbsolutePath>(at, value)?.into()),
                Column::User => ssh.user = Some(self.parse(at, value)?),
            }
        }
        let name = name.ok_or_else(|| self.problem(0, "the host has no name"))?;
        let connection = match local {
            Some(_) if ssh != SshConnection::new() => {
                let message = "`local` does not go with `address`, `port`, `user` or `root`";
                return Err(self.problem(0, message));
            }
            Some(root) => Connection::Local { root: root.into() },
            None => Connection::Ssh(ssh),
        };
        Ok(Host::new(name, connection).with_labels(labels))
    }

    /// Reads `zone=a;role=web`.
    fn labels(&self, at: usize, value: &str, labels: &mut Labels) -> Result<(), Problem> {
        for pair in value.split(';').map(str::trim).filter(|it| !it.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                self.problem(at, format!("`{}` is not KEY=VALUE", pair.escape_debug()))
            })?;
            labels.insert(self.parse(at, key.trim())?, self.parse(at, value.trim())?);
        }
        Ok(())
    }

    /// Where the field number `at` begins.
    fn column_of(&self, at: usize) -> usize {
        let line = self.source.text().lines().nth(self.line - 1).unwrap_or("");
        let (mut quoted, mut fields) = (false, 0);
        let begins = |(_, c): &(usize, char)| {
            let begins = fields == at && !c.is_whitespace();
            quoted ^= *c == '"';
            fields += usize::from(*c == ',' && !quoted);
            begins
        };
        (1..).zip(line.chars()).find(begins).map_or(1, |(column, _)| column)
    }

    fn port(&self, at: usize, value: &str) -> Result<u16, Problem> {
        let port = value.parse::<NonZeroU16>().map_err(|_| {
            self.problem(
                at,
                format!("`{}` is not a port: it must be 1 to 65535", value.escape_debug()),
            )
        })?;
        Ok(port.get())
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&self, at: usize, value: &str) -> Result<T, Problem> {
        value.parse().map_err(|err| self.problem(at, err))
    }

    fn problem(&self, at: usize, message: impl fmt::Display) -> Problem {
        let column = self.column_of(at);
        self.source.problem(Some(Position { line: self.line, column }), message)
    }
}

fn line_of(record: &StringRecord) -> usize {
    record.position().and_then(|it| usize::try_from(it.line()).ok()).unwrap_or(1)
}

fn refuse(source: &Source, err: &csv::Error) -> Problem {
    let line = err.position().and_then(|it| usize::try_from(it.line()).ok());
    let at = Position { line: line.unwrap_or(1), column: 1 };
    match err.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let message = format!("{len} fields, where the first line has {expected_len}");
            source.problem(Some(at), message)
        }
        _ => source.problem(Some(at), err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<HostsFile, Problem> {
        parse(&Source::new("hosts.csv", text))
    }

    #[test]
    fn rows_are_hosts() {
        let file = read(
            "name,address,port,user,labels,label.rack\n\
             # a comment\n\
             web-1,192.0.2.1,2222,deploy,zone=a; role=web,r1\n\
             \"web-2\", ,,,,\n",
        )
        .unwrap();
        let [one, two] = file.hosts.as_slice() else { panic!("two hosts") };
        assert_eq!(one.labels.len(), 3);
        assert_eq!(one.labels.get("role").unwrap().as_str(), "web");
        assert!(matches!(&one.connection, Connection::Ssh(ssh) if ssh.port == Some(2222)));
        assert_eq!(two.connection, Connection::Ssh(SshConnection::new()));
    }

    #[test]
    fn every_complaint_names_line_and_column() {
        for (text, wanted) in [
            ("", "hosts.csv:1:1: the first line must name the columns"),
            ("name,colour\na,b", "hosts.csv:1:6: unknown column `colour`"),
            ("name,name\na,b", "hosts.csv:1:6: column `name` stands there twice"),
            ("address\na", "hosts.csv:1:1: the first line"),
            ("name,label.a b\na,b", "hosts.csv:1:6: `a b` is not a valid label key"),
            ("name,port\na,22\n\"b\", x", "hosts.csv:3:6: `x` is not a port"),
            ("name,port\na,0", "hosts.csv:2:3: `0` is not a port"),
            ("name,port\na", "hosts.csv:2:1: 1 fields, where the first line has 2"),
            ("name,labels\na,zone", "hosts.csv:2:3: `zone` is not KEY=VALUE"),
            ("name\na\na", "hosts.csv:3:1: host `a` stands on line 2 already"),
            ("name,local,user\na,/x,b", "hosts.csv:2:1: `local` does not go"),
            ("name,user\na,b\nc,\"d\n", "hosts.csv:3:3: a quote is never closed"),
            ("name,address\n,b", "hosts.csv:2:1: the host has no name"),
        ] {
            let message = read(text).unwrap_err().message;
            assert!(message.starts_with(wanted), "{message}\n  wanted: {wanted}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "[\\PC\n,\"]{0,80}") {
            drop(read(&text));
            drop(read(&format!("name,port,labels\n{text}")));
        }
    }
}
