//! What the program says of its own work: on standard error, and, where a server is told to, to a collector of traces.
use crate::problem::invalid;
use deploy_wire::Problem;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use serde::Deserialize;
use std::io::{IsTerminal as _, stderr};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, layer::SubscriberExt as _, registry::LookupSpan, util::SubscriberInitExt as _,
};

/// What traces are filed under.
const SERVICE: &str = "deploy-server";

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One JSON object a line, for programs.
    Json,
    #[default]
    Text,
}

/// What a server says, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) log_format: LogFormat,
    /// Where spans are sent to, by OTLP over gRPC; `None` sends none.
    pub(crate) otlp_endpoint: Option<String>,
}

/// The log of a command: its lines are for people.
pub(crate) fn log(verbose: u8) {
    let lines = lines(LogFormat::Text);
    // Where a subscriber is there already, that one stays.
    drop(tracing_subscriber::registry().with(filter(verbose)).with(lines).try_init());
}

/// The telemetry of a server, for as long as it runs.
pub(crate) struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Has to be called where tasks can be spawned.
    pub(crate) fn start(verbose: u8, settings: &Settings) -> Result<Self, Problem> {
        let endpoint = settings.otlp_endpoint.as_deref();
        let provider = endpoint.map(provider).transpose()?;
        let spans = provider
            .as_ref()
            .map(|it| tracing_opentelemetry::layer().with_tracer(it.tracer(SERVICE)));
        let lines = lines(settings.log_format);
        let subscriber = tracing_subscriber::registry().with(filter(verbose)).with(lines);
        drop(subscriber.with(spans).try_init());
        Ok(Self(provider))
    }

    /// Sends what was not sent yet, within a few seconds.
    pub(crate) async fn stop(self) {
        let Some(provider) = self.0 else { return };
        let stopped = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        if let Ok(Err(err)) = stopped {
            tracing::warn!(%err, "the last traces could not be sent");
        }
    }
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, Problem> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
    let exporter = exporter
        .map_err(|err| invalid(format!("`telemetry.otlp_endpoint` cannot be used: {err}")))?;
    let resource = Resource::builder().with_service_name(SERVICE).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

fn filter(verbose: u8) -> EnvFilter {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    EnvFilter::try_from_env("DEPLOY_LOG").unwrap_or_else(|_| EnvFilter::new(level))
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(
    format: LogFormat,
) -> Box<dyn Layer<S> + Send + Sync> {
    // A log that goes to a file or to the journal is read by programs.
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr);
    match format {
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
        LogFormat::Text => Box::new(lines),
    }
}
