//! The description of the API, made from the routes.
use crate::{api, idempotency};
use deploy_wire::{PROBLEM_JSON, ProblemCode, ProblemDetails};
use utoipa::{
    PartialSchema as _,
    openapi::{
        ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref,
        RefOr, Required, ResponseBuilder, SecurityRequirement,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Schema, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// The name of the one way to prove who one is.
const BEARER: &str = "token";

/// What the description begins with, before there are routes.
pub(crate) fn empty() -> OpenApi {
    let info = InfoBuilder::new().title("deploy").version(env!("CARGO_PKG_VERSION")).description(
        Some("Rolls releases out to fleets of hosts. Every error is a problem (RFC 9457)."),
    );
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("dpl_ID_SECRET");
    let components = ComponentsBuilder::new()
        .security_scheme(BEARER, SecurityScheme::Http(bearer.build()))
        .schema("ProblemDetails", ProblemDetails::schema())
        .schema("ProblemCode", ProblemCode::schema());
    OpenApiBuilder::new().info(info).components(Some(components.build())).build()
}

/// The description of the API, OpenAPI 3.1.
#[must_use]
pub fn document() -> OpenApi {
    finish(api::routes().split_for_parts().1)
}

/// Adds what all operations have in common: who may call them, and how they fail.
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        for operation in operations_of(item) {
            operation.security = Some(vec![SecurityRequirement::new(BEARER, [""; 0])]);
            let problem = ResponseBuilder::new().description("What went wrong").content(
                PROBLEM_JSON,
                ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDetails"))).build(),
            );
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem.build()));
            for parameter in operation.parameters.iter_mut().flatten() {
                describe(parameter);
            }
        }
        if let Some(post) = &mut item.post {
            let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(255));
            let key = ParameterBuilder::new()
                .name(idempotency::KEY.as_str())
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(
                    "Names the request: one that comes twice under a name is done once, and gets the same answer.",
                ))
                .schema(Some(Schema::Object(text.build())));
            post.parameters.get_or_insert_default().push(RefOr::T(key.build()));
        }
    }
    document
}

/// What the parts of paths look like, as far as a pattern can say it.
const PARTS: [(&str, &str); 12] = [
    ("build", "^b[0-9]+$"),
    ("channel", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
    ("digest", "^sha256:[0-9a-f]{64}$"),
    ("host", "^[A-Za-z0-9]([A-Za-z0-9._:@-]{0,251}[A-Za-z0-9_])?$"),
    ("kind", "^(descriptor|package|provenance)$"),
    ("other", "^[A-Za-z0-9]([A-Za-z0-9._+-]{0,125}[A-Za-z0-9_])?$"),
    ("release", "^[A-Za-z0-9]([A-Za-z0-9._+-]{0,125}[A-Za-z0-9_])?$"),
    ("repository", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
    ("rollout", "^[A-Za-z0-9]([A-Za-z0-9._+-]{0,125}[A-Za-z0-9_])?$"),
    (
        "scope",
        "^(origin|(zone|rollout)=[A-Za-z0-9]([A-Za-z0-9._+/-]{0,61}[A-Za-z0-9_])?|host=[A-Za-z0-9]([A-Za-z0-9._:@-]{0,251}[A-Za-z0-9_])?)$",
    ),
    ("service", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
    ("token", "^[0-9a-f]{16}$"),
];

fn describe(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(parameter) = parameter else { return };
    let part = PARTS.iter().find(|(name, _)| *name == parameter.name);
    if let (ParameterIn::Path, Some((_, pattern))) = (&parameter.parameter_in, part) {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(*pattern));
        parameter.schema = Some(RefOr::T(Schema::Object(text.build())));
    }
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
        .into_iter()
        .filter_map(Option::as_mut)
}
