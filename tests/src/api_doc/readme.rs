//! The API for people: `README.md`, made of the text in `wgod/api/doc/`, the documentation of the trait and its
//! types, and the bounds of the sockets.
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use wgo_api::Kind;
use wgo_api::server::{LARGE_REQUEST, Limits, Sockets, sockets_of};

use super::openrpc::{shown_default, summary};
use super::source::{Api, Member, Method, Shape, Value};

/// The document.
pub(super) fn document(api: &Api, folder: &Path) -> String {
    let read = |name: &str| {
        let path = folder.join("doc").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    };
    let mut text = read("frame.md");
    for (place, part) in [
        ("day", read("day.md")),
        ("limits", limits()),
        ("overview", overview(api)),
        ("methods", api.methods.iter().map(|method| describe(api, method)).collect()),
        ("types", types(api)),
        ("kinds", kinds(api)),
    ] {
        let place = format!("{{{{{place}}}}}\n");
        assert!(text.contains(&place), "frame.md has no line {place}");
        text = text.replace(&place, &format!("{}\n", part.trim_end()));
    }
    assert!(!text.contains("{{"), "frame.md has a place that nothing fills");
    text
}

/// The bounds of both sockets.
fn limits() -> String {
    let [full, lookers] = [Limits::default(), Limits::for_lookers()].map(|limits| {
        let Limits {
            connections,
            websockets,
            calls,
            request_bytes,
            large_requests,
            message_bytes,
            answer_bytes,
            batch,
            subscriptions,
            idle,
            spare,
            body,
            stall,
            grace: _,
        } = limits;
        let mib = |bytes: u32| format!("{} MiB", bytes >> 20);
        let secs = |span: Duration| format!("{} s", span.as_secs());
        [
            ("connections", connections.to_string()),
            ("of these, WebSockets", websockets.to_string()),
            ("calls under way", calls.to_string()),
            ("a request by HTTP", mib(request_bytes)),
            (
                "requests above 1 MiB that are read and answered at once; more take turns",
                large_requests.to_string(),
            ),
            ("a message by WebSocket", mib(message_bytes)),
            ("an answer", mib(answer_bytes)),
            ("requests in a batch", batch.to_string()),
            ("subscriptions of a WebSocket", subscriptions.to_string()),
            ("a connection on which nothing moves is closed after", secs(idle)),
            ("and after this long already, if it is no WebSocket and another needs its place", secs(spare)),
            ("a request of which nothing arrives fails after", secs(body)),
            ("a client that doesn't take its answer is dropped after", secs(stall)),
        ]
    });
    const { assert!(LARGE_REQUEST == 1 << 20, "the text above says 1 MiB") };
    let mut text = "| bound | control socket | read-only socket |\n|---|---|---|\n".to_owned();
    for ((what, full), (_, lookers)) in full.iter().zip(&lookers) {
        writeln!(text, "| {what} | {full} | {lookers} |").expect("a string takes it");
    }
    text
}

fn overview(api: &Api) -> String {
    let mut text = "| method | what it does | read-only socket |\n|---|---|---|\n".to_owned();
    for method in &api.methods {
        let doc = summary(&method.doc);
        let doc = doc.split_once("; ").map_or(doc, |(first, _)| first);
        let who = match sockets_of(&method.name) {
            Sockets::All => "yes",
            Sockets::AllToAsk => "if it sets nothing",
            Sockets::FullOnly => "no",
        };
        let anchor = method.name.replace('.', "");
        writeln!(text, "| [`{}`](#{anchor}) | {} | {who} |", method.name, cell(doc))
            .expect("a string takes it");
    }
    text
}

fn describe(api: &Api, method: &Method) -> String {
    let Method { name, doc, params, result, subscription } = method;
    let who = match sockets_of(name) {
        Sockets::All => "Also over the read-only socket.",
        Sockets::AllToAsk => "Also over the read-only socket, if it sets nothing.",
        Sockets::FullOnly => "Not over the read-only socket.",
    };
    let mut text = format!("### `{name}`\n\n{}\n\n{who}\n", paragraphs(doc));
    let members = api.members(params);
    if members.is_empty() {
        text += "\nNo parameters.\n";
    } else {
        let about = about(&api.object(params).doc, "Parameters of ");
        text += &if about.is_empty() { String::new() } else { format!("\n{}\n", capitalised(about)) };
        text += &format!("\n{}", table_of_given(api, "parameter", &members));
    }
    let object = api.object(result);
    text += &match (subscription, &object.shape) {
        (Some((notification, end)), _) => format!(
            "\nThe result is the subscription's id. Then notifications `{notification}` come, with `params` \
             `{{\"subscription\": ID, \"result\": …}}`, where `result` is [`{result}`](#type-{}), until `{end}` is \
             called with `params` `[ID]` or the connection ends.\n",
            result.to_lowercase()
        ),
        (None, Shape::Members { .. }) if is_referred_to(api, method) => {
            format!("\nThe result is [`{result}`](#type-{}).\n", result.to_lowercase())
        }
        (None, Shape::Members { .. }) => {
            let about = match about(&object.doc, "Result of ") {
                "" => "The result:".to_owned(),
                about => format!("The result: {about}"),
            };
            format!("\n{about}\n\n{}", table(api, &api.members(result)))
        }
        (None, _) => format!("\nThe result: {}\n", about(&object.doc, "Result of ")),
    };
    text + "\n"
}

/// What a documentation says behind "Parameters of `method`" or "Result of `method`".
fn about<'a>(doc: &'a str, of: &str) -> &'a str {
    let Some(rest) = doc.strip_prefix(of) else { return doc };
    let ends = [rest.find(": "), rest.find(". ")];
    ends.into_iter().flatten().min().map_or("", |end| &rest[end + 2..])
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// Members of an object in an answer.
fn table(api: &Api, members: &[Member]) -> String {
    let mut text = "| member | type | |\n|---|---|---|\n".to_owned();
    for Member { name, doc, value, skipped, .. } in members {
        let value = match value {
            Value::Maybe(value) if *skipped => format!("{}; absent if there is none", shown(api, value)),
            value => shown(api, value),
        };
        writeln!(text, "| `{name}` | {value} | {} |", cell(doc)).expect("a string takes it");
    }
    text
}

/// Members of an object in a call.
fn table_of_given(api: &Api, what: &str, members: &[Member]) -> String {
    let mut text = format!("| {what} | type | default | |\n|---|---|---|---|\n");
    for Member { name, doc, value, has_default, .. } in members {
        let default = match has_default {
            true => format!("`{}`", shown_default(api, value)),
            false => "needed".to_owned(),
        };
        let row = format!("| `{name}` | {} | {default} | {} |\n", shown(api, value), cell(doc));
        text += &row;
    }
    text
}

/// Every type that something else refers to; that of kinds stands with the errors.
fn types(api: &Api) -> String {
    let given = reached(api, api.methods.iter().map(|method| &method.params));
    let mut used = reached(api, api.methods.iter().map(|method| &method.result));
    used.extend(given.iter().cloned());
    used.extend(api.methods.iter().filter(|method| is_referred_to(api, method)).map(|m| m.result.clone()));
    used.insert("ErrorData".to_owned());
    used.remove("Kind");
    let mut text = String::new();
    for name in used {
        let object = api.object(&name);
        let doc = match about(&object.doc, "Result of ") {
            "" => object.doc.clone(),
            about => capitalised(about),
        };
        write!(text, "### Type `{name}`\n\n{}\n\n", paragraphs(&doc)).expect("a string takes it");
        text += &shape(api, &name, given.contains(&name));
        text.push('\n');
    }
    text
}

fn shape(api: &Api, name: &str, is_given: bool) -> String {
    let mut text = String::new();
    match &api.object(name).shape {
        Shape::Members { .. } if is_given => text += &table_of_given(api, "member", &api.members(name)),
        Shape::Members { members, .. } => {
            let (flat, own): (Vec<_>, Vec<_>) = members.iter().cloned().partition(|member| member.flat);
            for Member { value, .. } in &flat {
                writeln!(text, "All members of {}, and:\n", shown(api, value)).expect("a string takes it");
            }
            text += &table(api, &own);
        }
        Shape::OneMember(members) => {
            text += "Exactly one of these:\n\n";
            text += &table(api, members);
        }
        Shape::Words(words) => {
            text += "| word | |\n|---|---|\n";
            for word in words {
                writeln!(text, "| `\"{}\"` | {} |", word.word, cell(&word.doc)).expect("a string takes it");
            }
        }
        Shape::AnyOf(choices) => {
            for (doc, value) in choices {
                writeln!(text, "- {}: {doc}", shown(api, value)).expect("a string takes it");
            }
        }
        Shape::Base64 => text += "A string.\n",
        Shape::FieldNames => text += "A list of names of members of [`Torrent`](#type-torrent).\n",
        Shape::Row => text += "An object with members of [`Torrent`](#type-torrent).\n",
        Shape::Free => text += "An object.\n",
    }
    text
}

/// Whether the description of a method refers to its result instead of showing it.
fn is_referred_to(api: &Api, method: &Method) -> bool {
    method.subscription.is_some()
        || api.methods.iter().filter(|other| other.result == method.result).count() > 1
}

/// The types of all members of these objects, and of theirs.
fn reached<'a>(api: &Api, objects: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for name in objects {
        members_of(api, name).iter().for_each(|member| refer(api, &member.value, &mut reached));
    }
    reached
}

fn members_of(api: &Api, name: &str) -> Vec<Member> {
    match &api.object(name).shape {
        Shape::Members { .. } => api.members(name),
        Shape::OneMember(members) => members.clone(),
        _ => Vec::new(),
    }
}

/// Notes the named types of a value and of their members.
fn refer(api: &Api, value: &Value, used: &mut BTreeSet<String>) {
    match value {
        Value::List(value) | Value::Maybe(value) => refer(api, value, used),
        Value::Of(_, value) => refer(api, value, used),
        Value::Map(key, value) => [key, value].into_iter().for_each(|value| refer(api, value, used)),
        Value::Named(name) => {
            if used.insert(name.clone()) {
                members_of(api, name).iter().for_each(|member| refer(api, &member.value, used));
                match &api.object(name).shape {
                    Shape::AnyOf(choices) => {
                        choices.iter().for_each(|(_, choice)| refer(api, choice, used));
                    }
                    Shape::Row => {
                        refer(api, &Value::Named(super::source::TORRENT.to_owned()), used);
                    }
                    _ => {}
                }
            }
        }
        Value::Text | Value::Flag | Value::Count(_) | Value::Whole | Value::Number | Value::Any => {}
        Value::Parameter => {}
    }
}

/// A type in a table.
fn shown(api: &Api, value: &Value) -> String {
    match value {
        Value::Text => "string".to_owned(),
        Value::Flag => "boolean".to_owned(),
        Value::Count(_) => "integer from 0".to_owned(),
        Value::Whole => "integer".to_owned(),
        Value::Number => "number".to_owned(),
        Value::Any => "any".to_owned(),
        Value::List(item) if matches!(**item, Value::Maybe(_)) => format!("list of ({})", shown(api, item)),
        Value::List(item) => format!("list of {}", shown(api, item)),
        Value::Map(key, value) => format!("object: {} to {}", shown(api, key), shown(api, value)),
        Value::Maybe(value) if matches!(**value, Value::List(_)) => {
            format!("{}, or `null`", shown(api, value))
        }
        Value::Maybe(value) => format!("{} or `null`", shown(api, value)),
        Value::Of(name, argument) => {
            let Shape::AnyOf(choices) = &api.object(name).shape else {
                panic!("{name} is generic and no choice")
            };
            let choices = choices.iter().map(|(_, choice)| match choice {
                Value::Parameter => shown(api, argument),
                other => shown(api, other),
            });
            choices.collect::<Vec<_>>().join(" or ")
        }
        // The word itself says more than its type.
        Value::Named(name) => match &api.object(name).shape {
            Shape::Words(words) if words.len() == 1 => format!("`\"{}\"`", words[0].word),
            _ => format!("[`{name}`](#type-{})", name.to_lowercase()),
        },
        Value::Parameter => panic!("a generic type is used without an argument"),
    }
}

/// Kinds of failure, with their codes.
fn kinds(api: &Api) -> String {
    let object = api.object("Kind");
    let Shape::Words(words) = &object.shape else { panic!("`Kind` is no enum of words") };
    let mut text = format!(
        "### Type `Kind`\n\n{}\n\n| `kind` | what it means | `code` | exit code of wgoctl |\n|---|---|---|---|\n",
        paragraphs(&object.doc)
    );
    for word in words {
        let kind: Kind = serde_json::from_value(word.word.clone().into()).expect("it is one of the words");
        let (code, exit) = (kind.code(), kind.exit_code());
        writeln!(text, "| `{kind}` | {} | {code} | {exit} |", cell(&word.doc)).expect("a string takes it");
    }
    text
}

fn paragraphs(doc: &str) -> String {
    doc.replace('\n', "\n\n")
}

/// Text as it can stand in a table.
fn cell(doc: &str) -> String {
    doc.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_a_method_goes_without_its_name() {
        for (doc, want) in [
            ("Parameters of `a`.", ""),
            ("Parameters of `a`: either. Or.", "either. Or."),
            ("Parameters of `a`. Only `b` is needed: now.", "Only `b` is needed: now."),
            ("Parameters of `a.b`: none.", "none."),
            ("The limits.", "The limits."),
        ] {
            assert_eq!(about(doc, "Parameters of "), want, "{doc}");
        }
    }
}
