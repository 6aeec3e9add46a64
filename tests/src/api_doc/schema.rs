//! JSON Schemas (draft 7, which OpenRPC asks for) of the API's types.
//!
//! Parameters are as the daemon reads them, results as it writes them: there everything that isn't left out on
//! purpose is required. They don't say that nothing else is there, since a later version may add something; the
//! checker holds this version to it.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::source::{Api, Member, Shape, TORRENT, Value};

/// Which way a type goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// To the daemon.
    In,
    /// From it.
    Out,
}

/// The schemas of named types, made as they are referred to.
#[derive(Debug)]
pub(super) struct Schemas<'a> {
    api: &'a Api,
    made: BTreeMap<String, Json>,
    begun: BTreeSet<(String, Way)>,
}

impl<'a> Schemas<'a> {
    /// None yet.
    pub(super) fn of(api: &'a Api) -> Schemas<'a> {
        Schemas { api, made: BTreeMap::new(), begun: BTreeSet::new() }
    }

    /// Those of all types that were referred to.
    pub(super) fn finish(self) -> BTreeMap<String, Json> {
        self.made
    }

    /// The schema of a member, with what it means and, on its way in, its default.
    pub(super) fn member(&mut self, member: &Member, way: Way) -> Json {
        let mut schema = match (&member.value, way) {
            (Value::Maybe(value), Way::Out) if member.skipped => self.value(value, way),
            (value, _) => self.value(value, way),
        };
        // In draft 7 nothing beside `$ref` counts.
        if schema.get("$ref").is_some() {
            schema = json!({"allOf": [schema]});
        }
        schema["description"] = member.doc.clone().into();
        if way == Way::In && member.has_default {
            schema["default"] = default_of(self.api, &member.value);
        }
        schema
    }

    /// The schema of a value.
    pub(super) fn value(&mut self, value: &Value, way: Way) -> Json {
        match value {
            Value::Text => json!({"type": "string"}),
            Value::Flag => json!({"type": "boolean"}),
            Value::Count(u64::MAX) => json!({"type": "integer", "minimum": 0}),
            Value::Count(most) => json!({"type": "integer", "minimum": 0, "maximum": most}),
            Value::Whole => json!({"type": "integer"}),
            Value::Number => json!({"type": "number"}),
            Value::Any => json!({}),
            Value::List(item) => json!({"type": "array", "items": self.value(item, way)}),
            Value::Map(key, value) => json!({
                "type": "object",
                "propertyNames": self.value(key, way),
                "additionalProperties": self.value(value, way),
            }),
            Value::Maybe(value) => {
                let mut schema = self.value(value, way);
                match schema.get("type").cloned() {
                    Some(one) => {
                        schema["type"] = json!([one, "null"]);
                        schema
                    }
                    None => json!({"anyOf": [schema, {"type": "null"}]}),
                }
            }
            Value::Named(name) => self.named(name, way),
            Value::Of(name, argument) => {
                let Shape::AnyOf(choices) = &self.api.object(name).shape else {
                    panic!("{name} is generic and no choice")
                };
                let any: Vec<Json> = choices
                    .iter()
                    .map(|(_, choice)| match choice {
                        Value::Parameter => self.value(argument, way),
                        other => self.value(other, way),
                    })
                    .collect();
                json!({"anyOf": any})
            }
            Value::Parameter => panic!("a generic type is used without an argument"),
        }
    }

    /// A reference to the schema of a named type, which is made.
    pub(super) fn named(&mut self, name: &str, way: Way) -> Json {
        if self.begun.insert((name.to_owned(), way)) {
            let schema = self.object(name, way);
            let other = self.made.insert(name.to_owned(), schema.clone());
            assert!(
                other.is_none_or(|other| other == schema),
                "{name} goes in and out and isn't the same both ways: make two types of it"
            );
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn object(&mut self, name: &str, way: Way) -> Json {
        let object = self.api.object(name);
        let mut schema = match &object.shape {
            Shape::Members { closed, .. } => {
                let members = self.api.members(name);
                let required = |member: &Member| match way {
                    Way::In => !member.has_default,
                    Way::Out => !member.skipped,
                };
                self.members(&members, required, *closed, way)
            }
            Shape::Row => {
                let members = self.api.members(TORRENT);
                self.members(&members, |member| member.name == "info_hash", false, way)
            }
            Shape::OneMember(members) => {
                let one = |member: &Member| self.members(std::slice::from_ref(member), |_| true, true, way);
                json!({"oneOf": members.iter().map(one).collect::<Vec<_>>()})
            }
            Shape::Words(words) => {
                let one = |word: &super::source::Word| json!({"const": word.word, "description": word.doc});
                json!({"type": "string", "oneOf": words.iter().map(one).collect::<Vec<_>>()})
            }
            Shape::AnyOf(choices) => {
                let any: Vec<Json> = choices.iter().map(|(_, choice)| self.value(choice, way)).collect();
                json!({"anyOf": any})
            }
            Shape::Base64 => json!({"type": "string", "contentEncoding": "base64"}),
            Shape::FieldNames => {
                let names: Vec<String> = self.api.members(TORRENT).into_iter().map(|m| m.name).collect();
                json!({"type": "array", "items": {"type": "string", "enum": names}})
            }
            Shape::Free => json!({"type": "object"}),
        };
        schema["description"] = object.doc.clone().into();
        schema
    }

    fn members(
        &mut self,
        members: &[Member],
        is_required: impl Fn(&Member) -> bool,
        closed: bool,
        way: Way,
    ) -> Json {
        let required: Vec<&str> =
            members.iter().filter(|member| is_required(member)).map(|member| member.name.as_str()).collect();
        let properties: Map<String, Json> =
            members.iter().map(|member| (member.name.clone(), self.member(member, way))).collect();
        let mut schema = json!({"type": "object", "properties": properties, "required": required});
        if closed {
            schema["additionalProperties"] = false.into();
        }
        schema
    }
}

/// What an absent parameter means.
pub(super) fn default_of(api: &Api, value: &Value) -> Json {
    match value {
        Value::Text => "".into(),
        Value::Flag => false.into(),
        Value::Count(_) | Value::Whole => 0.into(),
        Value::Number => 0.0.into(),
        Value::Any | Value::Maybe(_) => Json::Null,
        Value::List(_) => json!([]),
        Value::Map(..) => json!({}),
        Value::Named(name) => match &api.object(name).shape {
            Shape::Members { .. } => json!({}),
            Shape::Words(words) => {
                let default = words.iter().find(|word| word.is_default);
                default.unwrap_or_else(|| panic!("{name} has no default")).word.as_str().into()
            }
            shape => panic!("{name} has no default that api_doc knows: {shape:?}"),
        },
        Value::Of(..) | Value::Parameter => panic!("a choice has no default"),
    }
}
