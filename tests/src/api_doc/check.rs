//! Holds values against JSON Schemas: the keywords that the API's document uses, and no others.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

/// What is wrong with `value` by `schema`, whose references lead into `document`; each fault with its place.
///
/// Members that a schema with `properties` says nothing of are faults too: clients have to bear with what a later
/// version adds, but this one has to be documented whole.
///
/// # Panics
/// When the schema has a keyword that isn't known here.
pub fn faults(document: &Json, schema: &Json, value: &Json) -> Vec<String> {
    let mut check = Check { document, faults: Vec::new() };
    check.value(schema, value, "");
    check.faults
}

struct Check<'a> {
    document: &'a Json,
    faults: Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, schema: &Json, value: &Json, at: &str) {
        let keywords = schema.as_object().unwrap_or_else(|| panic!("{at}: no schema: {schema}"));
        for (keyword, what) in keywords {
            self.keyword(keyword, what, schema, value, at);
        }
        if keywords.contains_key("properties") && !keywords.contains_key("additionalProperties") {
            self.keyword("additionalProperties", &Json::Bool(false), schema, value, at);
        }
    }

    fn keyword(&mut self, keyword: &str, what: &Json, schema: &Json, value: &Json, at: &str) {
        match keyword {
            "$ref" => {
                let pointer = what.as_str().and_then(|text| text.strip_prefix('#')).expect("a reference");
                let target = self.document.pointer(pointer);
                self.value(target.unwrap_or_else(|| panic!("{what} leads nowhere")), value, at);
            }
            "allOf" => list(what).iter().for_each(|schema| self.value(schema, value, at)),
            "anyOf" => self.expect(self.fitting(what, value) >= 1, at, value, "is none of what it may be"),
            "oneOf" => self.expect(self.fitting(what, value) == 1, at, value, "is not one of what it may be"),
            "type" => {
                let is = match what {
                    Json::Array(types) => types.iter().any(|one| is_a(value, one)),
                    one => is_a(value, one),
                };
                self.expect(is, at, value, &format!("is not {what}"));
            }
            "const" => self.expect(what == value, at, value, &format!("is not {what}")),
            "enum" => self.expect(list(what).contains(value), at, value, &format!("is not in {what}")),
            "minimum" => {
                let fits = value.as_f64().is_none_or(|number| Some(number) >= what.as_f64());
                self.expect(fits, at, value, "is too small");
            }
            "maximum" => {
                let fits = value.as_f64().is_none_or(|number| Some(number) <= what.as_f64());
                self.expect(fits, at, value, "is too large");
            }
            "contentEncoding" => {
                let fits = value.as_str().is_none_or(|text| STANDARD.decode(text).is_ok());
                self.expect(what == "base64" && fits, at, value, "is not base64");
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.value(what, item, &format!("{at}/{i}"));
                }
            }
            "required" => {
                for name in list(what).iter().filter_map(Json::as_str) {
                    let is_there = value.as_object().is_none_or(|members| members.contains_key(name));
                    self.expect(is_there, at, value, &format!("lacks {name:?}"));
                }
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = what.get(name) {
                        self.value(schema, member, &format!("{at}/{name}"));
                    }
                }
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    let is_known = schema.get("properties").is_some_and(|known| known.get(name).is_some());
                    match what {
                        _ if is_known => {}
                        Json::Bool(false) => {
                            let fault = format!("{at} has {name:?}, which is not documented");
                            self.faults.push(fault);
                        }
                        schema => self.value(schema, member, &format!("{at}/{name}")),
                    }
                }
            }
            "propertyNames" => {
                for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
                    self.value(what, &Json::from(name.as_str()), &format!("{at}/{name}"));
                }
            }
            "description" | "default" => {}
            other => panic!("the checker doesn't know the keyword {other:?}"),
        }
    }

    /// How many of the schemas `value` fits.
    fn fitting(&self, schemas: &Json, value: &Json) -> usize {
        let fits = |schema: &&Json| faults(self.document, schema, value).is_empty();
        list(schemas).iter().filter(fits).count()
    }

    fn expect(&mut self, holds: bool, at: &str, value: &Json, fault: &str) {
        if !holds {
            let shown: String = value.to_string().chars().take(200).collect();
            self.faults.push(format!("{at}: {shown} {fault}"));
        }
    }
}

fn list(value: &Json) -> &Vec<Json> {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

fn is_a(value: &Json, name: &Json) -> bool {
    match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("null") => value.is_null(),
        _ => panic!("the checker doesn't know the type {name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_keyword_finds_its_fault() {
        let document = json!({"a": {"type": "string"}});
        let cases = [
            (json!({"$ref": "#/a"}), json!("x"), json!(1)),
            (json!({"allOf": [{"$ref": "#/a"}], "description": "d", "default": 1}), json!("x"), json!(1)),
            (json!({"anyOf": [{"type": "null"}, {"type": "boolean"}]}), json!(null), json!(1)),
            (json!({"oneOf": [{"const": "a"}, {"const": "b"}]}), json!("b"), json!("c")),
            (json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}), json!(1.5), json!(1)),
            (json!({"type": ["integer", "null"]}), json!(null), json!(1.5)),
            (json!({"enum": [1, 2]}), json!(2), json!(3)),
            (json!({"minimum": 0}), json!(0), json!(-1)),
            (json!({"type": ["integer", "null"], "minimum": 0}), json!(null), json!(-1)),
            (json!({"maximum": 7}), json!(7), json!(8)),
            (json!({"contentEncoding": "base64"}), json!("ZGU="), json!("*")),
            (json!({"items": {"type": "null"}}), json!([null]), json!([null, 1])),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({"b": 1})),
            (json!({"properties": {"a": {"const": 1}}}), json!({"a": 1}), json!({"a": 2})),
            (json!({"properties": {"a": {}}}), json!({"a": 1}), json!({"a": 1, "b": 1})),
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"a": 1, "b": 1}),
            ),
            (json!({"additionalProperties": {"type": "null"}}), json!({"a": null}), json!({"a": 1})),
            (json!({"propertyNames": {"enum": ["a"]}}), json!({"a": 1}), json!({"b": 1})),
        ];
        for (schema, good, bad) in cases {
            assert_eq!(faults(&document, &schema, &good), [""; 0], "{schema}");
            assert_eq!(faults(&document, &schema, &bad).len(), 1, "{schema}: {bad}");
        }
    }
}
