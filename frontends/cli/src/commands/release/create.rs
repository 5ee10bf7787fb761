//! Making releases, and what is signed of them.
use super::Parts;
use crate::{
    app::App,
    plane::Plane,
    problem::{chain, invalid, usage},
    signing::{PublishArgs, Publisher, covers_tree, text_of},
};
use clap::{Args, ValueHint};
use deploy_core::{
    id::{ReleaseId, ServiceName, Version},
    spec::ParameterName,
};
use deploy_wire::{Exit, NewRelease, Problem, ProblemCode};
use std::collections::BTreeMap;

/// Makes a release
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy release create web 1.4.2 --package build/srv.tar.gz --descriptor ./descriptor -p PORT=8080\n  \
    deploy release create web 1.4.3 --package 1.4.3 --descriptor 7 --sign-key ~/publisher.key\n  \
    deploy release create web 1.4.4 --package web@stable --descriptor @7\n\n\
    A package or descriptor is a path (which is put into the store first), a digest or its beginning, a version in the store, or\n\
    REPOSITORY@NAME, where NAME is a channel or a version. What a channel leads to is looked up now: moving it later changes no release.\n\
    What is signed is computed here, of the bytes themselves: a package that is in the store is fetched for that."
)]
pub(crate) struct Create {
    #[command(flatten)]
    of: ConsistsArgs,
    #[command(flatten)]
    parameters: ParameterArgs,
    /// The release's name [default: SERVICE-VERSION]
    #[arg(long, value_name = "ID")]
    id: Option<ReleaseId>,
    /// Where it came from: a commit, a build, a note
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    provenance: String,
    #[command(flatten)]
    publish: PublishArgs,
}

/// Prints what publishers sign of a release, for those whose keys are elsewhere
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy release statement web 1.4.2 --package srv.tar.gz --descriptor ./descriptor > statement.json\n  \
    minisign -Sm statement.json\n  deploy release create web 1.4.2 --package srv.tar.gz --descriptor ./descriptor \
    --statement statement.json --signature statement.json.minisig"
)]
pub(crate) struct StatementCommand {
    #[command(flatten)]
    of: ConsistsArgs,
}

/// Which release it is, and what it consists of.
#[derive(Debug, Args)]
struct ConsistsArgs {
    /// Of which service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The version people know it by
    #[arg(value_name = "VERSION")]
    release_version: Version,
    /// What runs: a path, a digest, a version, or a channel such as `web@stable`
    #[arg(long, value_name = "PACKAGE", value_hint = ValueHint::AnyPath)]
    package: String,
    /// How it is put on hosts: a path, a digest, a version, or a channel
    #[arg(long, value_name = "DESCRIPTOR", value_hint = ValueHint::AnyPath)]
    descriptor: String,
}

impl ConsistsArgs {
    fn parts<'a>(&'a self, app: &'a App, plane: &'a dyn Plane) -> Parts<'a> {
        Parts { plane, output: &app.output, service: &self.service, version: &self.release_version }
    }
}

/// What scripts are given.
#[derive(Debug, Args)]
pub(crate) struct ParameterArgs {
    /// A parameter that scripts see as `P_<NAME>`; may be given again. Not for secrets
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    parameters: Vec<(ParameterName, String)>,
}

impl ParameterArgs {
    pub(crate) const fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// The values, by name.
    pub(crate) fn given(&self) -> BTreeMap<ParameterName, String> {
        self.parameters.iter().cloned().collect()
    }

    /// The values, as they are sent.
    pub(crate) fn sent(&self) -> BTreeMap<String, String> {
        self.parameters.iter().map(|(name, it)| (name.to_string(), it.clone())).collect()
    }
}

fn parse_parameter(text: &str) -> Result<(ParameterName, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter is NAME=VALUE")?;
    Ok((name.parse().map_err(|err| format!("{err}"))?, value.to_owned()))
}

impl Create {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let (service, version) = (&self.of.service, &self.of.release_version);
        let id = match &self.id {
            Some(id) => id.clone(),
            None => format!("{service}-{version}").parse().map_err(usage)?,
        };
        plane.service(service).await?;
        let parts = self.of.parts(app, &*plane);
        // All is judged before anything is put: a release that is refused leaves nothing behind.
        let (descriptor, described) = parts.descriptor(&self.of.descriptor).await?;
        let mut package = parts.package(&self.of.package).await?;
        described.resolve(&self.parameters.given()).map_err(|err| {
            invalid(chain(&err)).with_hint("`--parameter NAME=VALUE` gives a parameter its value")
        })?;
        let asked = NewRelease {
            id: Some(id.to_string()),
            service: service.to_string(),
            version: version.to_string(),
            package: package.digest.clone(),
            descriptor: descriptor.digest.clone(),
            parameters: self.parameters.sent(),
            provenance: self.provenance,
            signed: None,
        };
        differs(&*plane, &id, &asked).await?;
        let signed = match self.publish.open()? {
            Some(Publisher::Here(signers)) => {
                Some(signers.sign(&parts.statement(&descriptor, &mut package).await?)?)
            }
            Some(Publisher::Elsewhere(signed)) => Some(signed),
            None => None,
        };
        if signed.as_ref().is_some_and(|it| !covers_tree(it)) {
            app.output.warn("the statement says nothing of the tree in the package: hosts that ask for signatures fetch it whole");
        }
        let asked = NewRelease { signed, ..asked };
        let meant = [
            (&self.of.package, package.meant.clone()),
            (&self.of.descriptor, descriptor.meant.clone()),
        ];
        parts.put([package, descriptor]).await?;
        let release = plane.create_release(&asked).await?;
        app.output.result(&release, |output| {
            for (named, version) in &meant {
                if let Some(version) = version {
                    output.line(format_args!("{named} is {version}"));
                }
            }
            output.line(format_args!("release {} is made", release.id));
        });
        Ok(Exit::Succeeded)
    }
}

impl StatementCommand {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let parts = self.of.parts(app, &*plane);
        let (descriptor, _) = parts.descriptor(&self.of.descriptor).await?;
        let mut package = parts.package(&self.of.package).await?;
        let statement = parts.statement(&descriptor, &mut package).await?;
        app.output.raw(format_args!("{}", text_of(&statement)?));
        Ok(Exit::Succeeded)
    }
}

/// Refuses a release of a name that one with other artifacts has already.
async fn differs(plane: &dyn Plane, id: &ReleaseId, asked: &NewRelease) -> Result<(), Problem> {
    let there = match plane.release(id).await {
        Ok(there) => there,
        Err(problem) if problem.code == ProblemCode::NotFound => return Ok(()),
        Err(problem) => return Err(problem),
    };
    let same = there.descriptor == asked.descriptor
        && there.package.as_ref() == Some(&asked.package)
        && there.service == asked.service;
    if same {
        return Ok(());
    }
    let message = format!("release `{id}` is there already, and is another one");
    let hint =
        "a release never changes: give the new one a new version, or another name with `--id`";
    Err(Problem::new(ProblemCode::AlreadyExists, message)
        .with_hint(hint)
        .with_context("release", id))
}
