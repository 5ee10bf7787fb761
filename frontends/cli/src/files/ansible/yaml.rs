use super::{Inventory, Position, Source, Var, Vars, groups::GroupName};
use crate::files::hosts::HostsFile;
use deploy_wire::Problem;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// How deep a document may nest.
const DEEPEST: usize = 200;

/// Reads an inventory in YAML. Aliases and several documents are refused, and values of variables stay text.
pub(in crate::files) fn parse(source: &Source) -> Result<HostsFile, Problem> {
    let root = load(source)?;
    let mut reader = Reader { source, inventory: Inventory::default() };
    // Groups that are still to be read, so that nesting costs no stack.
    let mut groups = reader.groups(root, None)?;
    while let Some((name, node)) = groups.pop() {
        groups.extend(reader.group(&name, node)?);
    }
    reader.inventory.into_hosts(source)
}

/// A piece of a document, and where it begins.
#[derive(Debug)]
struct Node {
    at: Position,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Map(Vec<(String, Position, Node)>),
    Null,
    Sequence,
    Text(String),
}

struct Reader<'a> {
    source: &'a Source,
    inventory: Inventory,
}

impl Reader<'_> {
    /// The groups of a map, each of them a child of `parent`.
    fn groups(
        &mut self,
        node: Node,
        parent: Option<&GroupName>,
    ) -> Result<Vec<(GroupName, Node)>, Problem> {
        let mut groups = Vec::new();
        for (key, at, value) in self.map(node, "groups")? {
            let name: GroupName = key.parse().map_err(|err| self.source.problem(Some(at), err))?;
            self.inventory.group(self.source, &name, at)?;
            if let Some(parent) = parent {
                let parent = self.inventory.group(self.source, parent, at)?;
                parent.children.insert(name.clone(), at);
            }
            groups.push((name, value));
        }
        Ok(groups)
    }

    /// Reads a group; gives the groups inside it.
    fn group(&mut self, name: &GroupName, node: Node) -> Result<Vec<(GroupName, Node)>, Problem> {
        let mut children = Vec::new();
        for (key, at, value) in self.map(node, "a group")? {
            match key.as_str() {
                "children" => children.extend(self.groups(value, Some(name))?),
                "hosts" => self.hosts(name, value)?,
                "vars" => {
                    let vars = self.vars(value)?;
                    self.inventory.group(self.source, name, at)?.vars.extend(vars);
                }
                other => {
                    let message = format!(
                        "unknown key `{}` of group `{name}`, expected `hosts`, `children` or `vars`",
                        other.escape_debug()
                    );
                    return Err(self.source.problem(Some(at), message));
                }
            }
        }
        Ok(children)
    }

    fn hosts(&mut self, group: &GroupName, node: Node) -> Result<(), Problem> {
        // Hosts right under `all` are in no group.
        let group = if *group == GroupName::all() { &GroupName::ungrouped() } else { group };
        if let Value::Text(pattern) = &node.value {
            let pattern = (pattern.as_str(), node.at);
            return self.inventory.add_hosts(self.source, group, pattern, &Vars::new());
        }
        for (pattern, at, value) in self.map(node, "hosts")? {
            let vars = self.vars(value)?;
            self.inventory.add_hosts(self.source, group, (&pattern, at), &vars)?;
        }
        Ok(())
    }

    fn vars(&self, node: Node) -> Result<Vars, Problem> {
        let map = self.map(node, "variables")?.into_iter();
        Ok(map
            .map(|(key, _, node)| {
                let text = match node.value {
                    Value::Text(text) => Some(text),
                    Value::Map(_) | Value::Null | Value::Sequence => None,
                };
                (key, Var { text, at: node.at })
            })
            .collect())
    }

    fn map(&self, node: Node, what: &str) -> Result<Vec<(String, Position, Node)>, Problem> {
        match node.value {
            Value::Map(map) => Ok(map),
            Value::Null => Ok(Vec::new()),
            Value::Sequence => Err(self
                .source
                .problem(Some(node.at), format!("{what} must be a map, and this is a list"))),
            Value::Text(_) => Err(self
                .source
                .problem(Some(node.at), format!("{what} must be a map, and this is text"))),
        }
    }
}

/// A collection that is not closed yet.
struct Open {
    at: Position,
    /// The pairs so far; `None` for a sequence.
    map: Option<Vec<(String, Position, Node)>>,
    key: Option<(String, Position)>,
}

/// Reads the one document of `source`.
fn load(source: &Source) -> Result<Node, Problem> {
    let mut stack: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(source.text()) {
        let (event, span) = event.map_err(|err| {
            let at = Position { line: err.marker().line(), column: err.marker().col() + 1 };
            source.problem(Some(at), format_args!("not YAML: {}", err.info()))
        })?;
        let at = begin(span);
        let node = match event {
            Event::Alias(_) => {
                return Err(source.problem(Some(at), "aliases are not read: write it out"));
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if stack.len() >= DEEPEST {
                    return Err(source.problem(Some(at), format!("it nests deeper than {DEEPEST}")));
                }
                let map = matches!(event, Event::MappingStart(..)).then(Vec::new);
                stack.push(Open { at, map, key: None });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match stack.pop() {
                Some(Open { at, map, .. }) => {
                    Node { at, value: map.map_or(Value::Sequence, Value::Map) }
                }
                None => continue,
            },
            Event::Scalar(text, style, ..) => Node { at, value: scalar(&text, style) },
            Event::DocumentStart(_) if root.is_some() => {
                return Err(source.problem(Some(at), "a second document begins here"));
            }
            _ => continue,
        };
        match stack.last_mut() {
            Some(open) => open.take(node).map_err(|(at, err)| source.problem(Some(at), err))?,
            None => root = Some(node),
        }
    }
    Ok(root.unwrap_or(Node { at: Position { line: 1, column: 1 }, value: Value::Null }))
}

impl Open {
    fn take(&mut self, node: Node) -> Result<(), (Position, String)> {
        let Some(map) = &mut self.map else {
            return Ok(());
        };
        match self.key.take() {
            Some((key, at)) => map.push((key, at, node)),
            None => {
                let Value::Text(key) = node.value else {
                    return Err((node.at, "a key must be plain text".to_owned()));
                };
                if let Some((_, first, _)) = map.iter().find(|(other, ..)| *other == key) {
                    let message =
                        format!("`{}` stands on line {} already", key.escape_debug(), first.line);
                    return Err((node.at, message));
                }
                self.key = Some((key, node.at));
            }
        }
        Ok(())
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" if style == ScalarStyle::Plain => Value::Null,
        _ => Value::Text(text.to_owned()),
    }
}

fn begin(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::host::Connection;
    use proptest::prelude::*;

    const INVENTORY: &str = "\
all:
  hosts:
    bastion:
      ansible_host: 192.0.2.9
  vars:
    ansible_user: nobody
  children:
    web:
      hosts:
        web[01:02]:
        web03:
          ansible_port: 2222
          tags: [a, b]
    backend:
      children:
        db:
          hosts: db-[a:b]
      vars:
        ansible_user: \"ops\"
";

    fn read(text: &str) -> Result<HostsFile, Problem> {
        parse(&Source::new("hosts.yaml", text))
    }

    #[test]
    fn an_inventory_is_read() {
        let file = read(INVENTORY).unwrap();
        let names: Vec<_> = file.hosts.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["bastion", "db-a", "db-b", "web01", "web02", "web03"]);
        let db = file.hosts.get(1).unwrap();
        let Connection::Ssh(ssh) = &db.connection else { panic!("over SSH") };
        assert_eq!(ssh.user.as_ref().unwrap().as_str(), "ops");
        let labels: Vec<_> =
            db.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["group=db", "group/backend=true", "group/db=true"]);
        assert_eq!(file.warnings, ["variable `tags` of 1 host is not used"]);
    }

    #[test]
    fn every_complaint_names_line_and_column() {
        for (text, wanted) in [
            ("- a", "hosts.yaml:1:1: groups must be a map, and this is a list"),
            ("web:\n  hosts: [a]", "hosts.yaml:2:10: hosts must be a map, and this is a list"),
            ("web:\n  machines:\n    a:", "hosts.yaml:2:3: unknown key `machines` of group `web`"),
            ("web:\n  hosts:\n    a:\n    a:", "hosts.yaml:4:5: `a` stands on line 3 already"),
            ("web:\n  hosts:\n    a: &x {}\n    b: *x", "hosts.yaml:4:8: aliases are not read"),
            ("web:\n  hosts:\n    a:\n      ansible_port: x", "hosts.yaml:4:21: `x` is not a port"),
            (
                "web:\n  hosts:\n    a:\n      ansible_host: []",
                "hosts.yaml:4:21: `ansible_host` must be",
            ),
            ("web:\n  hosts: {a: }\n---\nb:", "hosts.yaml:3:1: a second document"),
            ("? {a: b}\n: c", "hosts.yaml:1:3: a key must be plain text"),
            ("web:\n  hosts: [", "hosts.yaml:"),
            ("a: {children: {b: {children: {a: {hosts: {c: }}}}}}", "hosts.yaml:1:"),
        ] {
            let message = read(text).unwrap_err().message;
            assert!(message.starts_with(wanted), "{message}\n  wanted: {wanted}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(read(&"[".repeat(5_000)).is_err());
        let block: String = (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let problem = read(&block).unwrap_err();
        assert!(problem.message.contains("deeper than 200"), "{problem}");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "[\\PC\n \\[\\]{}:&*-]{0,60}", at in 0_usize..INVENTORY.len()) {
            drop(read(&text));
            let mut mixed = INVENTORY.to_owned();
            mixed.insert_str(at, &text);
            drop(read(&mixed));
        }
    }
}
