//! What a release puts into the environment of its steps.
use super::failure::invalid;
use crate::{
    descriptor::{Descriptor, HttpCheck, Start, Template, Values},
    duration::whole_seconds,
};
use deploy_core::{backend::AttemptRequest, error::BackendResult};

/// What the steps of an attempt find in their environment beside the variables that are the host's to set: `P_…` for each parameter of
/// the release, and `D_…` for each option of the default steps.
///
/// # Errors
/// `InvalidInput` if a value cannot stand in an environment, or an option that is to be one word is none.
pub fn environment(
    request: &AttemptRequest,
    descriptor: &Descriptor,
) -> BackendResult<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for (name, value) in &request.release.parameters {
        if value.contains('\0') {
            return Err(invalid("executor.run")
                .with("parameter", name)
                .because("a parameter holds a NUL"));
        }
        variables.push((format!("P_{name}"), value.clone()));
    }
    let values = Values {
        parameters: &request.release.parameters,
        host: request.on.host.name.as_str(),
        release: request.release.id.as_str(),
        service: request.on.service.as_str(),
        version: request.release.version.as_str(),
    };
    variables.extend(options(values, descriptor)?);
    Ok(variables)
}

/// `D_…` for each option of the default steps, as `descriptor` says it, with `values` in it.
///
/// # Errors
/// `InvalidInput` if an option that is to be one word is none.
pub fn options(
    values: Values<'_>,
    descriptor: &Descriptor,
) -> BackendResult<Vec<(String, String)>> {
    let mut variables = Vec::new();
    Options { variables: &mut variables, values }.all(descriptor)?;
    Ok(variables)
}

/// Writes the options of default steps.
struct Options<'a> {
    variables: &'a mut Vec<(String, String)>,
    values: Values<'a>,
}

impl Options<'_> {
    fn all(&mut self, descriptor: &Descriptor) -> BackendResult<()> {
        match &descriptor.start {
            Some(Start::Command(command)) => self.plain("D_START_COMMAND", command),
            Some(Start::Unit(unit)) => self.word("D_START_UNIT", unit)?,
            None => {}
        }
        self.plain("D_STOP_TIMEOUT", &whole_seconds(descriptor.stop.timeout).to_string());
        if let Some(command) = &descriptor.stop.command {
            self.plain("D_STOP_COMMAND", command);
        }
        if let Some(http) = &descriptor.verify.http {
            self.http(http)?;
        }
        if let Some(tcp) = &descriptor.verify.tcp {
            self.word("D_VERIFY_TCP", tcp)?;
        }
        if let Some(command) = &descriptor.verify.command {
            self.plain("D_VERIFY_COMMAND", command);
        }
        if let Some(unit) = &descriptor.verify.unit {
            self.word("D_VERIFY_UNIT", unit)?;
        }
        self.plain("D_KEEP_RELEASES", &descriptor.keep_releases.to_string());
        Ok(())
    }

    fn http(&mut self, http: &HttpCheck) -> BackendResult<()> {
        self.word("D_VERIFY_HTTP", &http.url)?;
        self.plain("D_VERIFY_STATUS", &http.status.to_string());
        if let Some(contains) = &http.contains {
            self.plain("D_VERIFY_CONTAINS", &contains.fill(&self.values));
        }
        Ok(())
    }

    /// A text that is to stay one word of one line, whatever the parameters in it hold.
    fn word(&mut self, name: &'static str, template: &Template) -> BackendResult<()> {
        let value = template.fill(&self.values);
        if value.is_empty()
            || value.starts_with('-')
            || value.chars().any(|it| it.is_whitespace() || it.is_control())
        {
            return Err(invalid("executor.run").with("option", template).because(
                "with the release's parameters it is empty, begins with `-` or holds a space",
            ));
        }
        self.plain(name, &value);
        Ok(())
    }

    fn plain(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }
}
