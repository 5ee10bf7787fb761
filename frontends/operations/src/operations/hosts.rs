use super::{Listed, Operations, expect, put_problem};
use crate::{parse, problem::OrProblem as _};
use deploy_core::{
    access::{Action, Resource},
    backend::{Revision, Versioned},
    error::ErrorKind,
    host::{self, Labels},
    id::HostName,
    spec::Selector,
};
use deploy_wire::{Host, HostSpec, HostsToImport, Import, LabelChanges, Problem, ProblemCode};
use std::collections::BTreeSet;

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
        let put = self.parts().inventory.put(&permit, host.clone(), expect(revision));
        let revision = put.await.map_err(|err| put_problem(err, "host", &name))?;
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
    /// If the principal may not, or a field means nothing: then nothing is written. If a host is changed by somebody else
    /// at the same time, those before it are written.
    pub async fn import_hosts(&self, asked: HostsToImport) -> Result<Import, Problem> {
        let permit = self.permit(Action::HostWrite, Resource::System).await?;
        let mut import = Import { dry_run: asked.dry_run, ..Import::default() };
        let mut wanted = Vec::new();
        for host in wanted_hosts(asked)? {
            let there = match self.parts().inventory.host(&host.name).await {
                Ok(there) => Some(there),
                Err(err) if err.kind() == ErrorKind::NotFound => None,
                Err(err) => return Err(err).or_problem(),
            };
            match there {
                Some(there) if there.value == host => import.unchanged += 1,
                Some(there) => {
                    import.changed.push(host.name.to_string());
                    wanted.push((host, Some(there.revision)));
                }
                None => {
                    import.added.push(host.name.to_string());
                    wanted.push((host, None));
                }
            }
        }
        if !import.dry_run {
            for (host, revision) in wanted {
                let name = host.name.clone();
                let put = self.parts().inventory.put(&permit, host, expect(revision));
                put.await.map_err(|err| put_problem(err, "host", &name))?;
            }
        }
        Ok(import)
    }

    /// Removes a host from the inventory. What runs on it goes on running.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn remove_host(&self, name: &HostName) -> Result<(), Problem> {
        self.platform.remove_host(&self.principal, name).await.or_problem()
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
