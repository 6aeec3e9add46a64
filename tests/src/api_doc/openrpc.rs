//! The API for programs: an OpenRPC document (<https://spec.open-rpc.org>, 1.3.2).
use serde_json::{Value as Json, json};
use wgo_api::Kind;
use wgo_api::server::{Sockets, sockets_of};

use super::schema::{Schemas, Way, default_of};
use super::source::{Api, Method, Value};

/// What the document says of the API as a whole.
const ABOUT: &str = "wgod, a BitTorrent daemon, over its control socket: JSON-RPC 2.0 by HTTP POST or WebSocket on a \
                     Unix socket. Parameters are named. Sizes are in bytes, rates in bytes/s, times in seconds; `null` \
                     is unknown. See README.md beside this document.";

/// The document.
pub(super) fn document(api: &Api) -> Json {
    let mut schemas = Schemas::of(api);
    let mut methods = Vec::new();
    for method in &api.methods {
        methods.push(describe(api, &mut schemas, method));
        if let Some((_, end)) = &method.subscription {
            methods.push(describe_end(method, end));
        }
    }
    schemas.named("ErrorData", Way::Out);
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "wgod",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{
            "name": "the control socket",
            "url": "http://localhost/",
            "description": "HTTP over a Unix socket, /run/wgod/wgod.sock of the packaged service",
        }],
        "methods": methods,
        "components": {"schemas": schemas.finish(), "errors": errors(), "tags": tags()},
    })
}

fn describe(api: &Api, schemas: &mut Schemas<'_>, method: &Method) -> Json {
    let params: Vec<Json> = api
        .members(&method.params)
        .iter()
        .map(|member| {
            json!({
                "name": member.name,
                "description": member.doc,
                "required": !member.has_default,
                "schema": without_description(schemas.member(member, Way::In)),
            })
        })
        .collect();
    let item = schemas.named(&method.result, Way::Out);
    let mut described = json!({
        "name": method.name,
        "summary": summary(&method.doc),
        "description": format!("{}\n{}", method.doc, api.object(&method.params).doc),
        "tags": [{"$ref": format!("#/components/tags/{}", tag(&method.name))}],
        "paramStructure": "by-name",
        "params": params,
        "result": {"name": method.result, "schema": item},
        "errors": [{"$ref": "#/components/errors/Failed"}, {"$ref": "#/components/errors/Refused"}],
    });
    if let Some((notification, _)) = &method.subscription {
        described["result"] = json!({"name": "subscription", "schema": {"type": ["integer", "string"]}});
        described["x-notification"] = json!({"method": notification, "result": item});
    }
    described
}

/// The method that ends a subscription, which takes what jsonrpsee takes.
fn describe_end(method: &Method, end: &str) -> Json {
    json!({
        "name": end,
        "summary": format!("Ends what `{}` began", method.name),
        "tags": [{"$ref": format!("#/components/tags/{}", tag(end))}],
        "paramStructure": "by-position",
        "params": [{"name": "subscription", "required": true, "schema": {"type": ["integer", "string"]}}],
        "result": {"name": "ended", "schema": {"type": "boolean"}},
    })
}

/// The content descriptor has it already.
fn without_description(mut schema: Json) -> Json {
    if let Some(members) = schema.as_object_mut() {
        members.remove("description");
    }
    schema
}

/// The first sentence, without its full stop.
pub(super) fn summary(doc: &str) -> &str {
    let first = doc.lines().next().unwrap_or_default();
    first.split_once(". ").map_or(first.trim_end_matches('.'), |(sentence, _)| sentence)
}

fn tag(method: &str) -> &'static str {
    match sockets_of(method) {
        Sockets::All => "looks",
        Sockets::AllToAsk => "asks-or-changes",
        Sockets::FullOnly => "changes",
    }
}

fn tags() -> Json {
    json!({
        "looks": {"name": "looks", "description": "Can be called over the read-only socket too."},
        "asks-or-changes": {
            "name": "asks-or-changes",
            "description": "Can be called over the read-only socket too, as long as it sets nothing.",
        },
        "changes": {"name": "changes", "description": "Refused over the read-only socket."},
    })
}

/// Two codes, which OpenRPC tells errors apart by; `kind` in the data is what callers decide by.
fn errors() -> Json {
    let data = json!({"$ref": "#/components/schemas/ErrorData"});
    json!({
        "Failed": {"code": Kind::Disk.code(), "message": "It failed; `data.kind` says how.", "data": data},
        "Refused": {
            "code": Kind::BadRequest.code(),
            "message": "A parameter is missing, unknown, of the wrong type or out of range.",
            "data": data,
        },
    })
}

/// The schema of all parameters of a method together, with references into `document`; for checking requests.
pub fn request_schema(document: &Json, method: &str) -> Json {
    let methods = document["methods"].as_array().expect("a document has methods");
    let method = methods
        .iter()
        .find(|known| known["name"] == method)
        .unwrap_or_else(|| panic!("the document has no method {method}"));
    let params = method["params"].as_array().expect("a method has parameters");
    let name = |param: &Json| param["name"].as_str().expect("a parameter has a name").to_owned();
    let properties: serde_json::Map<_, _> =
        params.iter().map(|param| (name(param), param["schema"].clone())).collect();
    let required: Vec<String> = params.iter().filter(|param| param["required"] == true).map(name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A default as it stands in a table.
pub(super) fn shown_default(api: &Api, value: &Value) -> String {
    default_of(api, value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_a_sentence() {
        assert_eq!(summary("Adds it. Then more."), "Adds it");
        assert_eq!(summary("All of it; kind `a.b` too."), "All of it; kind `a.b` too");
    }
}
