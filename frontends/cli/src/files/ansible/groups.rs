use super::{Group, Source};
use deploy_core::id::HostName;
use deploy_wire::Problem;
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    str::FromStr,
};

/// How deep groups may nest.
const DEEPEST: usize = 64;

/// The name of a group; it can stand in a label key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupName(String);

impl GroupName {
    pub(super) fn all() -> Self {
        Self("all".to_owned())
    }

    pub(super) fn ungrouped() -> Self {
        Self("ungrouped".to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether Ansible itself makes the group, so that it says nothing.
    fn is_built_in(&self) -> bool {
        matches!(self.as_str(), "all" | "ungrouped")
    }
}

impl FromStr for GroupName {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let valid = input.chars().all(inner)
            && input.starts_with(|c: char| c.is_ascii_alphanumeric())
            && input.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && input.len() <= 57;
        if valid {
            return Ok(Self(input.to_owned()));
        }
        let shown: String = input.chars().take(80).collect();
        Err(format!(
            "`{}` is not a usable group name: only letters, digits, `_`, `-` and `.` may appear, at most 57 of them",
            shown.escape_debug()
        ))
    }
}

impl Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which groups a host is in, and which groups those are in.
pub(super) struct Lineage<'a> {
    /// The groups that name a host themselves.
    direct: BTreeMap<&'a HostName, Vec<&'a GroupName>>,
    /// How deep each group lies.
    depth: BTreeMap<&'a GroupName, usize>,
    /// Each group and all it is in.
    ancestry: BTreeMap<&'a GroupName, BTreeSet<&'a GroupName>>,
}

impl<'a> Lineage<'a> {
    pub(super) fn of(
        groups: &'a BTreeMap<GroupName, Group>,
        source: &Source,
    ) -> Result<Self, Problem> {
        let mut lineage =
            Self { direct: BTreeMap::new(), depth: BTreeMap::new(), ancestry: BTreeMap::new() };
        for (name, group) in groups.iter().filter(|(name, _)| !name.is_built_in()) {
            for host in &group.hosts {
                lineage.direct.entry(host).or_default().push(name);
            }
        }
        lineage.descend(groups, source)?;
        Ok(lineage)
    }

    /// Visits every group after all groups it is in. No recursion: files nest as deep as they like.
    fn descend(
        &mut self,
        groups: &'a BTreeMap<GroupName, Group>,
        source: &Source,
    ) -> Result<(), Problem> {
        let mut waiting: BTreeMap<&GroupName, usize> =
            groups.keys().map(|name| (name, 0)).collect();
        for child in groups.values().flat_map(|it| it.children.keys()) {
            *waiting.entry(child).or_default() += 1;
        }
        let roots = waiting.iter().filter(|(_, parents)| **parents == 0);
        let mut ready: VecDeque<&GroupName> = roots.map(|(name, _)| *name).collect();
        let mut visited = 0;
        while let Some(name) = ready.pop_front() {
            visited += 1;
            let depth = *self.depth.entry(name).or_default();
            let above = self.ancestry.entry(name).or_default();
            if !name.is_built_in() {
                above.insert(name);
            }
            let above = above.clone();
            let children = groups.get(name).into_iter().flat_map(|it| &it.children);
            for (child, at) in children {
                if depth >= DEEPEST {
                    return Err(
                        source.problem(Some(*at), format!("groups nest deeper than {DEEPEST}"))
                    );
                }
                let child_depth = self.depth.entry(child).or_default();
                *child_depth = (*child_depth).max(depth + 1);
                self.ancestry.entry(child).or_default().extend(&above);
                if let Some(left) = waiting.get_mut(child) {
                    *left -= 1;
                    if *left == 0 {
                        ready.push_back(child);
                    }
                }
            }
        }
        if visited == waiting.len() { Ok(()) } else { Err(circle(groups, &waiting, source)) }
    }

    /// The groups that name `host` themselves.
    pub(super) fn direct(&self, host: &HostName) -> &[&'a GroupName] {
        self.direct.get(host).map_or(&[], Vec::as_slice)
    }

    /// All groups `host` is in, the outermost first: the order in which their variables count.
    pub(super) fn of_host(&self, host: &HostName) -> Vec<&'a GroupName> {
        let above = self.direct(host).iter().filter_map(|group| self.ancestry.get(*group));
        let mut groups: Vec<_> = above.flatten().copied().collect();
        groups.sort_unstable_by_key(|group| (self.depth.get(*group).copied(), *group));
        groups.dedup();
        groups
    }
}

/// Names a place in the circle that keeps the groups in `waiting` from being visited.
fn circle(
    groups: &BTreeMap<GroupName, Group>,
    waiting: &BTreeMap<&GroupName, usize>,
    source: &Source,
) -> Problem {
    let stuck = |name: &GroupName| waiting.get(name).is_some_and(|left| *left > 0);
    let inside = groups.iter().filter(|(name, _)| stuck(name));
    let edge = inside
        .flat_map(|(name, group)| group.children.iter().map(move |(child, at)| (name, child, *at)))
        .find(|(_, child, _)| stuck(child));
    match edge {
        Some((name, child, at)) => {
            let message = format!("group `{child}` cannot be in `{name}`: they are in each other");
            source.problem(Some(at), message)
        }
        None => source.problem(None, "groups are in each other"),
    }
}
