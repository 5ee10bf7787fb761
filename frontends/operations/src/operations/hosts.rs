use super::{Listed, Operations, expect, put_problem};
use crate::{parse, problem::OrProblem as _};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{Expect, Revision, Versioned},
    engine::Parts,
    host::{self, Labels},
    id::HostName,
    spec::Selector,
};
use deploy_wire::{
    Host, HostSpec, HostsToImport, HostsToRemove, Import, LabelChanges, Problem, ProblemCode,
    Removed,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many hosts are read at a time.
const PAGE: usize = 1_000;

impl Operations {
    /// Hosts, in the order of their names: those that `selector` selects, or all.
    ///
    /// # Errors
    /// If the inventory cannot be read.
    pub async fn hosts(
        &self,
        selector: Option<&Selector>,
        after: Option<&HostName>,
        limit: usize,
    ) -> Result<Listed<Host>, Problem> {
        let mut selected: Vec<Versioned<host::Host>> = Vec::new();
        let mut last = after.cloned();
        while selected.len() <= limit {
            let page = self.parts().inventory.hosts(last.as_ref(), PAGE).await.or_problem()?;
            let more = page.len() == PAGE;
            last = page.last().map(|it| it.value.name.clone());
            selected.extend(
                page.into_iter().filter(|it| selector.is_none_or(|by| by.matches(&it.value))),
            );
            if !more {
                break;
            }
        }
        let key = |it: &Versioned<host::Host>| it.value.name.to_string();
        Ok(Listed::first(selected, limit, key).map(|it| document(&it)))
    }

    /// One host.
    ///
    /// # Errors
    /// If there is none.
    pub async fn host(&self, name: &HostName) -> Result<Host, Problem> {
        Ok(document(&self.parts().inventory.host(name).await.or_problem()?))
    }

    /// Changes the host at `revision`, or (`None`) adds one.
    ///
    /// # Errors
    /// If the principal may not, a field means nothing, or the host is at another revision.
    pub async fn put_host(
        &self,
        name: HostName,
        asked: &HostSpec,
        revision: Option<Revision>,
    ) -> Result<Host, Problem> {
        let permit = self.permit(Action::HostWrite, Resource::Host(name.clone(), None)).await?;
        let host = parse::host(name.clone(), asked)?;
        let put = self.parts().inventory.put(&permit, host.clone(), expect(revision)).await;
        if put.is_err() && revision.is_none() && self.may_be_done() {
            let there = self.parts().inventory.host(&name).await;
            if let Some(there) = there.ok().filter(|it| it.value == host) {
                return Ok(document(&there));
            }
        }
        let revision = put.map_err(|err| put_problem(err, "host", &name))?;
        Ok(Host::new(&host, revision.get()))
    }

    /// Changes the labels of the host at `revision`.
    ///
    /// # Errors
    /// If the principal may not, a label is none, or the host is at another revision.
    pub async fn label_host(
        &self,
        name: &HostName,
        asked: &LabelChanges,
        revision: Revision,
    ) -> Result<Host, Problem> {
        let permit = self.permit(Action::HostWrite, Resource::Host(name.clone(), None)).await?;
        let mut host = self.parts().inventory.host(name).await.or_problem()?.value;
        relabel(&mut host.labels, asked)?;
        let put = self.parts().inventory.put(&permit, host.clone(), expect(Some(revision)));
        let revision = put.await.map_err(|err| put_problem(err, "host", name))?;
        Ok(Host::new(&host, revision.get()))
    }

    /// Adds all hosts that are asked for, and changes those that are there and otherwise.
    ///
    /// # Errors
    /// If the principal may not for one of them, a field means nothing, or a host is changed by somebody else at the same
    /// time. Then nothing is written, where the backend can write all or nothing; else those before it are.
    pub async fn import_hosts(&self, asked: HostsToImport) -> Result<Import, Problem> {
        let mut import = Import { dry_run: asked.dry_run, ..Import::default() };
        let asked = wanted_hosts(asked)?;
        let known = select(self.parts(), None).await?.into_iter();
        let known: BTreeMap<HostName, _> = known.map(|it| (it.value.name.clone(), it)).collect();
        let mut wanted = Vec::new();
        for host in asked {
            match known.get(&host.name) {
                Some(there) if there.value == host => import.unchanged += 1,
                Some(there) => {
                    import.changed.push(host.name.to_string());
                    wanted.push((host, Expect::At(there.revision)));
                }
                None => {
                    import.added.push(host.name.to_string());
                    wanted.push((host, Expect::Absent));
                }
            }
        }
        let permits = self.host_permits(wanted.iter().map(|(host, _)| &host.name)).await?;
        if !import.dry_run {
            self.put_hosts(&permits, wanted).await?;
        }
        Ok(import)
    }

    async fn put_hosts(
        &self,
        permits: &[Permit],
        wanted: Vec<(host::Host, Expect)>,
    ) -> Result<(), Problem> {
        if let Some(upkeep) = &self.upkeep {
            return upkeep.put_hosts(permits, wanted).await.or_problem();
        }
        for (permit, (host, expect)) in permits.iter().zip(wanted) {
            let name = host.name.clone();
            let put = self.parts().inventory.put(permit, host, expect).await;
            put.map_err(|err| put_problem(err, "host", &name))?;
        }
        Ok(())
    }

    /// The right to change each of the records of these hosts.
    async fn host_permits(
        &self,
        names: impl Iterator<Item = &HostName> + Send,
    ) -> Result<Vec<Permit>, Problem> {
        let mut permits = Vec::new();
        for name in names {
            let resource = Resource::Host(name.clone(), None);
            permits.push(self.permit(Action::HostWrite, resource).await?);
        }
        Ok(permits)
    }

    /// Removes a host from the inventory. What runs on it goes on running.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn remove_host(&self, name: &HostName) -> Result<(), Problem> {
        self.platform.remove_host(&self.principal, name).await.or_problem()
    }

    /// Removes hosts from the inventory: all of these, where the backend can, or none.
    ///
    /// # Errors
    /// If the principal may not for one of them, or there is not one of them.
    pub async fn remove_hosts(&self, asked: &HostsToRemove) -> Result<Removed, Problem> {
        let names = asked.hosts.iter().map(|it| parse::field("hosts", it));
        let names: BTreeSet<HostName> = names.collect::<Result<_, _>>()?;
        let permits = self.host_permits(names.iter()).await?;
        match &self.upkeep {
            Some(upkeep) => upkeep.remove_hosts(&permits, &names).await.or_problem()?,
            None => {
                for (permit, name) in permits.iter().zip(&names) {
                    self.parts().inventory.remove(permit, name).await.or_problem()?;
                }
            }
        }
        Ok(Removed { removed: names.iter().map(ToString::to_string).collect() })
    }
}

/// All hosts that `selector` selects, or all there are, in the order of their names.
pub(super) async fn select(
    parts: &Parts,
    selector: Option<&Selector>,
) -> Result<Vec<Versioned<host::Host>>, Problem> {
    let (mut selected, mut last) = (Vec::new(), None);
    loop {
        let page = parts.inventory.hosts(last.as_ref(), PAGE).await.or_problem()?;
        let more = page.len() == PAGE;
        last = page.last().map(|it| it.value.name.clone());
        let fits = |it: &Versioned<host::Host>| selector.is_none_or(|by| by.matches(&it.value));
        selected.extend(page.into_iter().filter(fits));
        if !more {
            return Ok(selected);
        }
    }
}

fn document(host: &Versioned<host::Host>) -> Host {
    Host::new(&host.value, host.revision.get())
}

/// The hosts that are to be there: each parsed before any is written.
fn wanted_hosts(asked: HostsToImport) -> Result<Vec<host::Host>, Problem> {
    let mut names = BTreeSet::new();
    let mut wanted = Vec::new();
    for new in asked.hosts {
        let name: HostName = parse::field("name", &new.name)?;
        if !names.insert(name.clone()) {
            let message = format!("host `{name}` is named twice");
            return Err(Problem::new(ProblemCode::InvalidInput, message).with_context("host", name));
        }
        let spec = HostSpec { connection: new.connection, labels: new.labels };
        let in_host = |problem: Problem| problem.with_context("host", &name);
        wanted.push(parse::host(name.clone(), &spec).map_err(in_host)?);
    }
    Ok(wanted)
}

fn relabel(labels: &mut Labels, asked: &LabelChanges) -> Result<(), Problem> {
    for (key, value) in &asked.labels {
        let name = parse::field("labels", key)?;
        match value {
            Some(value) => {
                drop(labels.insert(name, parse::field(&format!("labels.{key}"), value)?));
            }
            None => drop(labels.remove(&name)),
        }
    }
    Ok(())
}
