//! From Kubernetes' dialect of OpenAPI v3 schemas to JSON Schema 2020-12, the dialect of OpenAPI 3.1.
//!
//! Owns what each keyword becomes, and how a schema differs between reading, writing and patching. Knows nothing of
//! entities; called by `entity` alone.

use serde_json::{Map, Value, json};

/// What the schema is to describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// What an answer holds: a field with a default is always there.
    Read,
    /// What a write may hold: a field that is not declared is refused.
    Write,
    /// What a merge patch (RFC 7396) may hold: nothing is required, null removes, arrays are replaced as a whole.
    Patch,
}

/// Keywords that mean the same in both dialects and in every shape.
const SAME: [&str; 12] = [
    "enum",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "readOnly",
    "title",
    "type",
    "uniqueItems",
];

/// The schema in JSON Schema 2020-12.
pub(super) fn convert(schema: &Value, shape: Shape) -> Value {
    match schema {
        Value::Object(members) => Value::Object(structure(members, shape)),
        other => other.clone(),
    }
}

/// A schema that describes the structure of a value, as opposed to one within `allOf`, `anyOf`, `oneOf` or `not`.
fn structure(source: &Map<String, Value>, shape: Shape) -> Map<String, Value> {
    let mut target = constraints(source, shape);
    let mut remarks = remarks(source, shape);
    // The API server's integers have 64 bits unless it says 32.
    let implied = (text(source, "type") == Some("integer")).then_some("int64");
    if let Some(format) = text(source, "format").or(implied) {
        remarks.extend(put_format(&mut target, format));
    }
    if let Some(pattern) = text(source, "pattern") {
        if portable(pattern) {
            target.insert("pattern".to_owned(), json!(pattern));
        } else {
            remarks.push(format!("Must match the regular expression `{pattern}` (RE2 syntax)."));
        }
    }
    put_members(&mut target, source, shape);
    put_int_or_string(&mut target, source);
    // Beside an `enum` that does not list it, the API server refuses null all the same.
    let listed = source.get("enum").and_then(Value::as_array).is_none_or(|values| values.contains(&Value::Null));
    if flag(source, "nullable") && listed {
        allow_null(&mut target);
    }
    if text(source, "x-kubernetes-list-type") == Some("set") {
        target.insert("uniqueItems".to_owned(), json!(true));
    }
    let described = text(source, "description").map(str::to_owned).into_iter().chain(remarks).collect::<Vec<_>>();
    if !described.is_empty() {
        target.insert("description".to_owned(), json!(described.join("\n\n")));
    }
    target
}

/// The keywords that constrain a value but do not say how it is built.
fn constraints(source: &Map<String, Value>, shape: Shape) -> Map<String, Value> {
    let mut target = Map::new();
    for keyword in SAME {
        if let Some(value) = source.get(keyword) {
            target.insert(keyword.to_owned(), value.clone());
        }
    }
    if let Some(example) = source.get("example") {
        target.insert("examples".to_owned(), json!([example]));
    }
    for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        // OpenAPI 3.0: a flag beside the bound. JSON Schema 2020-12: the bound itself.
        if flag(source, exclusive)
            && let Some(limit) = target.remove(bound)
        {
            target.insert(exclusive.to_owned(), limit);
        }
    }
    if shape == Shape::Patch {
        return target;
    }
    // In an answer a default is never needed: the field is there.
    if let (Shape::Write, Some(default)) = (shape, default(source))
        && !compound(default)
    {
        target.insert("default".to_owned(), default.clone());
    }
    for keyword in ["minProperties", "maxProperties", "required"] {
        if let Some(value) = source.get(keyword) {
            target.insert(keyword.to_owned(), value.clone());
        }
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(schemas)) = source.get(keyword) {
            target.insert(keyword.to_owned(), schemas.iter().map(junction).collect());
        }
    }
    if let Some(refused) = source.get("not") {
        target.insert("not".to_owned(), junction(refused));
    }
    target
}

/// A schema within `allOf`, `anyOf`, `oneOf` or `not`: it only adds conditions on fields that are declared outside of it, so it
/// says nothing about other fields and makes none present.
fn junction(schema: &Value) -> Value {
    let Value::Object(source) = schema else { return schema.clone() };
    let mut target = constraints(source, Shape::Write);
    if let Some(format) = text(source, "format") {
        put_format(&mut target, format);
    }
    for keyword in ["pattern", "description"] {
        match text(source, keyword) {
            Some(value) if keyword != "pattern" || portable(value) => {
                target.insert(keyword.to_owned(), json!(value));
            }
            _ => {}
        }
    }
    if let Some(Value::Object(properties)) = source.get("properties") {
        let properties = properties.iter().map(|(name, schema)| (name.clone(), junction(schema)));
        target.insert("properties".to_owned(), Value::Object(properties.collect()));
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(schema) = source.get(keyword) {
            target.insert(keyword.to_owned(), junction(schema));
        }
    }
    Value::Object(target)
}

/// Puts properties, items and what is known of undeclared members.
fn put_members(target: &mut Map<String, Value>, source: &Map<String, Value>, shape: Shape) {
    let required: Vec<&str> = strings(source.get("required"));
    if let Some(Value::Object(properties)) = source.get("properties") {
        let converted = properties.iter().map(|(name, schema)| {
            let mut schema_here = convert(schema, shape);
            let removable = !required.contains(&name.as_str()) || has_default(schema);
            if let (Shape::Patch, true, Value::Object(members)) = (shape, removable, &mut schema_here) {
                allow_null(members);
            }
            (name.clone(), schema_here)
        });
        target.insert("properties".to_owned(), Value::Object(converted.collect()));
        if shape == Shape::Write {
            // Defaults are filled in before the schema is looked at. An empty text is also how a built-in kind tells that there is none.
            let relieved = |name: &&str| {
                properties
                    .get(*name)
                    .and_then(Value::as_object)
                    .and_then(default)
                    .is_some_and(|default| *default != json!(""))
            };
            let demanded: Vec<&str> = required.iter().copied().filter(|name| !relieved(name)).collect();
            put_required(target, demanded);
        }
        if shape == Shape::Read {
            // The API server fills defaults in whenever it reads, also into objects that are older than the default.
            let filled = properties.iter().filter(|(_, schema)| has_default(schema));
            put_required(target, required.into_iter().chain(filled.map(|(name, _)| name.as_str())).collect());
        }
    }
    if let Some(items) = source.get("items") {
        // A merge patch replaces an array as a whole, so its items are written, not patched.
        let shape = if shape == Shape::Patch { Shape::Write } else { shape };
        target.insert("items".to_owned(), convert(items, shape));
    }
    if let Some(members) = source.get("additionalProperties") {
        let mut members = convert(members, shape);
        if let (Shape::Patch, Value::Object(schema)) = (shape, &mut members) {
            allow_null(schema);
        }
        target.insert("additionalProperties".to_owned(), members);
    } else if flag(source, "x-kubernetes-preserve-unknown-fields") {
        if text(source, "type") == Some("object") || source.contains_key("properties") {
            target.insert("additionalProperties".to_owned(), json!(true));
        }
    } else if shape != Shape::Read && target.contains_key("properties") {
        target.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// `required` with these names; without any it is left out.
fn put_required(target: &mut Map<String, Value>, mut names: Vec<&str>) {
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => target.remove("required"),
        names => target.insert("required".to_owned(), json!(names)),
    };
}

fn compound(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

fn has_default(schema: &Value) -> bool {
    schema.as_object().and_then(default).is_some()
}

/// The default, if it is one: a built-in kind's schema also tells the zero values of the code that it was made from, such as an empty
/// text for one of three words.
fn default(source: &Map<String, Value>) -> Option<&Value> {
    let default = source.get("default")?;
    let fits = source.get("enum").and_then(Value::as_array).is_none_or(|values| values.contains(default));
    fits.then_some(default)
}

/// `x-kubernetes-int-or-string` has no `type` of its own: it becomes a choice, unless the choice is written beside it.
fn put_int_or_string(target: &mut Map<String, Value>, source: &Map<String, Value>) {
    let marked = flag(source, "x-kubernetes-int-or-string") || text(source, "format") == Some("int-or-string");
    let spelt = ["anyOf", "oneOf"].iter().any(|keyword| target.contains_key(*keyword));
    if marked {
        target.remove("type");
        if !spelt {
            target.insert("anyOf".to_owned(), json!([{ "type": "integer" }, { "type": "string" }]));
        }
    }
}

/// Makes null a value that fits.
fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(only @ Value::String(_)) = schema.get("type") {
        let types = json!([only, "null"]);
        schema.insert("type".to_owned(), types);
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    if schema.contains_key("type") {
        return;
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = schema.get_mut(keyword) {
            let null = json!({ "type": "null" });
            if !choices.contains(&null) {
                choices.push(null);
            }
        }
    }
}

/// Puts the format, or says in words what JSON Schema has no name for, or another meaning.
fn put_format(target: &mut Map<String, Value>, format: &str) -> Option<String> {
    let (keyword, value) = match format {
        "int-or-string" => return None,
        "duration" => return Some("A duration as Go writes it, e.g. `1h30m`.".to_owned()),
        "byte" => ("contentEncoding", "base64"),
        "datetime" => ("format", "date-time"),
        other => ("format", other),
    };
    target.insert(keyword.to_owned(), json!(value));
    None
}

/// What can only be said in words.
fn remarks(source: &Map<String, Value>, shape: Shape) -> Vec<String> {
    let mut remarks = Vec::new();
    if let (Shape::Write, Some(default)) = (shape, default(source).filter(|default| compound(default))) {
        // Not as a keyword: it need not fit its own schema before the defaults within it are filled in.
        remarks.push(format!("When absent: `{default}`."));
    }
    let keys = strings(source.get("x-kubernetes-list-map-keys"));
    if !keys.is_empty() {
        let keys = keys.into_iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ");
        remarks.push(format!("No two items have the same {keys}."));
    }
    let rules: Vec<String> = source
        .get("x-kubernetes-validations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(rule)
        .collect();
    if shape != Shape::Read && !rules.is_empty() {
        remarks.push(format!("Rules (CEL) that hold for every write:\n{}", rules.join("\n")));
    }
    remarks
}

/// One entry of `x-kubernetes-validations`, as a line of a list.
fn rule(validation: &Value) -> Option<String> {
    let rule = validation.get("rule")?.as_str()?.trim();
    let message = validation.get("message").and_then(Value::as_str).map(str::trim);
    Some(match message {
        Some(message) => format!("- {message}: `{rule}`"),
        None => format!("- `{rule}`"),
    })
}

/// Whether a regular expression of Go's RE2 is likely to mean the same in ECMA-262, the language of JSON Schema.
fn portable(pattern: &str) -> bool {
    let foreign = [r"\A", r"\z", r"\Q", r"\C", r"\a", "[[:", "(?P<", r"\pL", r"\pN", r"\x{"];
    let flags = pattern.match_indices("(?").any(|(at, _)| {
        pattern
            .get(at + 2..)
            .and_then(|rest| rest.chars().next())
            .is_some_and(|next| next.is_ascii_alphabetic() || next == '-')
    });
    !flags && !foreign.iter().any(|syntax| pattern.contains(syntax))
}

fn flag(source: &Map<String, Value>, keyword: &str) -> bool {
    source.get(keyword).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(source: &'a Map<String, Value>, keyword: &str) -> Option<&'a str> {
    source.get(keyword).and_then(Value::as_str)
}

/// The strings of an array; none when it is absent.
pub(super) fn strings(array: Option<&Value>) -> Vec<&str> {
    array.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(schema: Value) -> Value {
        convert(&schema, Shape::Read)
    }

    #[test]
    fn each_keyword_of_the_dialect_becomes_json_schema() {
        let table = [
            (json!({ "type": "string", "nullable": true }), json!({ "type": ["string", "null"] })),
            (
                json!({ "type": "string", "nullable": true, "enum": ["a", null] }),
                json!({ "type": ["string", "null"], "enum": ["a", null] }),
            ),
            (json!({ "type": "string", "nullable": true, "enum": ["a"] }), json!({ "type": "string", "enum": ["a"] })),
            (json!({ "type": "integer" }), json!({ "type": "integer", "format": "int64" })),
            (
                json!({ "x-kubernetes-int-or-string": true }),
                json!({ "anyOf": [{ "type": "integer" }, { "type": "string" }] }),
            ),
            (
                json!({ "x-kubernetes-int-or-string": true, "nullable": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] }),
                json!({ "anyOf": [{ "type": "integer" }, { "type": "string" }, { "type": "null" }] }),
            ),
            (
                json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
                json!({ "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
            ),
            (
                json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
                json!({ "type": "object", "additionalProperties": true }),
            ),
            (json!({ "x-kubernetes-preserve-unknown-fields": true }), json!({})),
            (
                json!({ "type": "number", "minimum": 0, "exclusiveMinimum": true }),
                json!({ "type": "number", "exclusiveMinimum": 0 }),
            ),
            (
                json!({ "type": "number", "maximum": 9, "exclusiveMaximum": false }),
                json!({ "type": "number", "maximum": 9 }),
            ),
            (json!({ "type": "string", "example": "x" }), json!({ "type": "string", "examples": ["x"] })),
            (json!({ "type": "string", "format": "byte" }), json!({ "type": "string", "contentEncoding": "base64" })),
            (json!({ "type": "string", "format": "date-time" }), json!({ "type": "string", "format": "date-time" })),
            (
                json!({ "type": "string", "format": "duration" }),
                json!({ "type": "string", "description": "A duration as Go writes it, e.g. `1h30m`." }),
            ),
            (
                json!({ "type": "string", "pattern": "^a(?:b|c)$" }),
                json!({ "type": "string", "pattern": "^a(?:b|c)$" }),
            ),
            (
                json!({ "type": "string", "pattern": "(?i)^a" }),
                json!({ "type": "string", "description": "Must match the regular expression `(?i)^a` (RE2 syntax)." }),
            ),
            (
                json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" }),
                json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true }),
            ),
        ];
        for (kubernetes, expected) in table {
            assert_eq!(read(kubernetes.clone()), expected, "from {kubernetes}");
        }
    }

    #[test]
    fn a_field_with_a_default_is_always_there_in_an_answer_and_never_demanded_in_a_write() {
        let schema = json!({ "type": "object", "required": ["a", "c"], "properties": {
            "a": { "type": "string" }, "b": { "type": "boolean", "default": false }, "c": { "type": "object", "default": {} }
        } });
        assert_eq!(read(schema.clone()).get("required"), Some(&json!(["a", "b", "c"])));
        assert_eq!(convert(&schema, Shape::Write).get("required"), Some(&json!(["a"])));
        assert_eq!(read(schema.clone()).pointer("/properties/b"), Some(&json!({ "type": "boolean" })));
        assert_eq!(
            convert(&schema, Shape::Write).pointer("/properties/b"),
            Some(&json!({ "type": "boolean", "default": false }))
        );
        assert_eq!(
            convert(&schema, Shape::Write).pointer("/properties/c"),
            Some(&json!({ "type": "object", "description": "When absent: `{}`." }))
        );
    }

    #[test]
    fn a_zero_value_that_the_field_cannot_have_is_no_default() {
        let schema =
            json!({ "type": "object", "properties": { "a": { "type": "string", "enum": ["x"], "default": "" } } });
        assert_eq!(read(schema.clone()).get("required"), None);
        assert_eq!(convert(&schema, Shape::Write).pointer("/properties/a/default"), None);
    }

    #[test]
    fn a_write_takes_no_undeclared_field_and_says_the_rules() {
        let schema = json!({ "type": "object", "description": "A span.", "properties": { "low": { "type": "number" } },
            "x-kubernetes-validations": [{ "rule": "self.low > 0", "message": "low is positive" }, { "rule": "true" }] });
        let expected = json!({ "type": "object", "properties": { "low": { "type": "number" } }, "additionalProperties": false,
            "description": "A span.\n\nRules (CEL) that hold for every write:\n- low is positive: `self.low > 0`\n- `true`" });
        assert_eq!(convert(&schema, Shape::Write), expected);
    }

    #[test]
    fn a_patch_requires_nothing_and_null_removes_what_may_be_absent() {
        let schema = json!({ "type": "object", "required": ["a", "d"], "minProperties": 1, "properties": {
            "a": { "type": "string" },
            "b": { "type": "object", "required": ["x"], "properties": { "x": { "type": "number" } } },
            "c": { "type": "array", "items": { "type": "object", "required": ["k"], "properties": { "k": { "type": "string" } } } },
            "d": { "type": "string", "default": "x", "enum": ["x", "y"] },
            "e": { "type": "object", "additionalProperties": { "type": "string" } }
        } });
        let expected = json!({ "type": "object", "additionalProperties": false, "properties": {
            "a": { "type": "string" },
            "b": { "type": ["object", "null"], "additionalProperties": false, "properties": { "x": { "type": "number" } } },
            "c": { "type": ["array", "null"], "items": { "type": "object", "required": ["k"], "additionalProperties": false,
                "properties": { "k": { "type": "string" } } } },
            "d": { "type": ["string", "null"], "enum": ["x", "y", null] },
            "e": { "type": ["object", "null"], "additionalProperties": { "type": ["string", "null"] } }
        } });
        assert_eq!(convert(&schema, Shape::Patch), expected);
    }

    #[test]
    fn a_junction_adds_conditions_and_closes_nothing() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } },
            "oneOf": [{ "required": ["a"] }, { "required": ["b"], "properties": { "b": { "minLength": 3 } } }] });
        assert_eq!(convert(&schema, Shape::Write).get("oneOf"), schema.get("oneOf"));
        assert_eq!(convert(&schema, Shape::Patch).get("oneOf"), None);
    }
}
