//! The description of the API as a page for people.
use crate::problem::status;
use deploy_wire::ProblemCode;
use serde_json::Value;
use std::fmt::Write as _;
use utoipa::openapi::OpenApi;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#f4f4f4;padding:.7rem;overflow:auto}\
    h3{margin-bottom:.2rem}b.m{display:inline-block;width:4.5rem;color:#06c}td,th{text-align:left;padding:.1rem 1rem .1rem 0;vertical-align:top}\
    @media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}pre{background:#242424}b.m{color:#6af}}";

/// The description as a page that needs nothing else.
pub(crate) fn render(document: &OpenApi) -> String {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
        <title>deploy: HTTP API</title><style>{STYLE}</style><h1>deploy: HTTP API</h1>\
        <p>Send <code>Authorization: Bearer dpl_…</code>. The same as <a href=openapi.json>OpenAPI 3.1</a>."
    );
    let description = serde_json::to_value(document).unwrap_or_default();
    for (path, item) in entries(description.get("paths")) {
        for (method, operation) in entries(Some(item)) {
            let text = |name: &str| text(operation, name);
            let _ = write!(
                html,
                "<h3><b class=m>{}</b> <code>{}</code></h3><p>{} {}",
                escape(&method.to_uppercase()),
                escape(path),
                text("summary"),
                text("description")
            );
            parameters(&mut html, operation.get("parameters"));
            let body = operation.pointer("/requestBody/content/application~1json/schema/$ref");
            if let Some(name) = body.and_then(Value::as_str).and_then(|it| it.rsplit('/').next()) {
                let name = escape(name);
                let _ = write!(html, "<p>Body: <a href=#schema-{name}>{name}</a>");
            }
        }
    }
    problems(&mut html);
    html.push_str("<h2>Documents</h2>");
    for (name, schema) in entries(description.pointer("/components/schemas")) {
        let text = serde_json::to_string_pretty(schema).unwrap_or_default();
        let (name, text) = (escape(name), escape(&text));
        let _ = write!(html, "<h3 id=schema-{name}>{name}</h3><pre>{text}</pre>");
    }
    html
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn text(value: &Value, name: &str) -> String {
    escape(value.get(name).and_then(Value::as_str).unwrap_or(""))
}

fn parameters(html: &mut String, parameters: Option<&Value>) {
    let Some(parameters) = parameters.and_then(Value::as_array) else { return };
    html.push_str("<table>");
    for parameter in parameters {
        let text = |name| text(parameter, name);
        let _ = write!(
            html,
            "<tr><td><code>{}</code><td>{}<td>{}",
            text("name"),
            text("in"),
            text("description")
        );
    }
    html.push_str("</table>");
}

fn problems(html: &mut String) {
    html.push_str("<h2>Problems</h2><table><tr><th>code<th>status");
    for code in ProblemCode::ALL {
        let status = status(*code).as_u16();
        let _ = write!(html, "<tr id=problem-{code}><td><code>{code}</code><td>{status}");
    }
    html.push_str("</table>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
