//! What a server says of its own work, to programs that read it.
use crate::lab::Lab;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Server, server::TcpIncoming},
};

/// How long a collector may wait for spans.
const PATIENCE: Duration = Duration::from_secs(60);

/// Passes on the names of the spans that it is sent.
struct Collector(mpsc::Sender<String>);

#[async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|it| it.scope_spans);
        for span in scopes.flat_map(|it| it.spans) {
            // The test may be over.
            drop(self.0.send(span.name));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector on this machine: its address, and the names of spans.
fn collector(runtime: &Runtime) -> (String, mpsc::Receiver<String>) {
    let (names, received) = mpsc::channel();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(Collector(names));
    let server = Server::builder().add_service(service);
    runtime.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (address, received)
}

/// A server that is up, and its address.
fn serve(lab: &Lab, variables: &[(&str, &str)]) -> (Child, String) {
    let mut command = lab.command(&["serve", "--plain-http", "--listen", "127.0.0.1:0"]);
    command.envs(variables.iter().copied());
    let log = fs::File::create(lab.path("server.log")).unwrap();
    let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address =
        lines.into_iter().find_map(|it| it.strip_prefix("listening on http://").map(str::to_owned));
    let address = address
        .unwrap_or_else(|| panic!("{}", fs::read_to_string(lab.path("server.log")).unwrap()));
    (process, address)
}

fn ask(address: &str, id: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /api/v1/services HTTP/1.1\r\nhost: server\r\nconnection: close\r\nx-request-id: {id}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
}

fn stop(mut process: Child) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_writes_json_and_sends_spans_where_it_is_told_to() {
    let (lab, runtime) = (Lab::new(), Runtime::new().unwrap());
    let (endpoint, spans) = collector(&runtime);
    let variables = [
        ("DEPLOY_SERVE_TELEMETRY_LOG_FORMAT", "json"),
        ("DEPLOY_SERVE_TELEMETRY_OTLP_ENDPOINT", &endpoint),
    ];
    let (process, address) = serve(&lab, &variables);
    ask(&address, "asked-by-a-test");
    stop(process);
    while spans.recv_timeout(PATIENCE).expect("a span of the request") != "request" {}
    let log = fs::read_to_string(lab.path("server.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|it| serde_json::from_str(it).expect(it)).collect();
    let answered = lines.iter().find(|it| it["message"] == "request answered").expect(&log);
    assert_eq!(
        (&answered["status"], &answered["span"]["id"]),
        (&401.into(), &"asked-by-a-test".into())
    );
}

#[test]
fn a_collector_that_is_away_keeps_nobody_waiting() {
    let lab = Lab::new();
    let variables = [("DEPLOY_SERVE_TELEMETRY_OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let (process, address) = serve(&lab, &variables);
    ask(&address, "asked-by-a-test");
    stop(process);
}

#[test]
fn spans_are_sent_to_nobody_in_an_unknown_way() {
    let lab = Lab::new();
    lab.write("server.toml", "[telemetry]\notlp_endpoint = \"https://collector:4317\"\n");
    let problem = lab.refused(&["serve", "--config", "server.toml"], 1);
    assert!(problem["message"].as_str().unwrap().contains("telemetry.otlp_endpoint"), "{problem}");
}
