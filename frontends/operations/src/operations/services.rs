use super::{Listed, Operations, expect, put_problem};
use crate::{parse, problem::OrProblem as _};
use deploy_core::{
    access::{Action, Resource},
    backend::{Revision, Versioned},
    id::ServiceName,
    spec,
};
use deploy_wire::{Problem, Service, ServiceSpec};

impl Operations {
    /// Services, in the order of their names.
    ///
    /// # Errors
    /// If the registry cannot be read.
    pub async fn services(
        &self,
        after: Option<&ServiceName>,
        limit: usize,
    ) -> Result<Listed<Service>, Problem> {
        let services = self.parts().registry.services(after, limit.saturating_add(1)).await;
        let key = |it: &Versioned<spec::Service>| it.value.name.to_string();
        Ok(Listed::first(services.or_problem()?, limit, key).map(|it| document(&it)))
    }

    /// One service.
    ///
    /// # Errors
    /// If there is none.
    pub async fn service(&self, name: &ServiceName) -> Result<Service, Problem> {
        Ok(document(&self.parts().registry.service(name).await.or_problem()?))
    }

    /// What a service was, newest first.
    ///
    /// # Errors
    /// If there is none.
    pub async fn history(&self, name: &ServiceName, limit: usize) -> Result<Vec<Service>, Problem> {
        let history = self.parts().registry.history(name, limit).await.or_problem()?;
        Ok(history.iter().map(document).collect())
    }

    /// Changes the service at `revision`, or (`None`) adds one.
    ///
    /// # Errors
    /// If the principal may not, a field means nothing, or the service is at another revision.
    pub async fn put_service(
        &self,
        name: ServiceName,
        asked: &ServiceSpec,
        revision: Option<Revision>,
    ) -> Result<Service, Problem> {
        let permit = self.permit(Action::ServiceWrite, Resource::Service(name.clone())).await?;
        let service = parse::service(name.clone(), asked)?;
        let put = self.parts().registry.put_service(&permit, service.clone(), expect(revision));
        let revision = put.await.map_err(|err| put_problem(err, "service", &name))?;
        Ok(Service::new(&service, revision.get()))
    }
}

fn document(service: &Versioned<spec::Service>) -> Service {
    Service::new(&service.value, service.revision.get())
}
