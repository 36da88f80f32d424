//! What lists may ask of a kind: its top-level fields, how a JSON value of each becomes a value that compares, and which fields are indexed.
//!
//! Made once per kind from its schema, read by `filter`, `order` and `index`. Knows nothing of entities.

use std::collections::BTreeMap;

use contract::entity::RESERVED_FIELDS;
use serde_json::Value;

use crate::schema::Schema;

/// Schemas of built-in kinds may refer to themselves; what lies deeper is taken as it stands in JSON.
const MAX_DEPTH: usize = 16;
/// A CRD may declare at most eight selectable fields; a longer list is cut.
const MAX_INDEXED: usize = 8;

/// How a JSON value is understood where the schema says more than JSON does. The same as in the CEL rules of a CRD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// As in JSON.
    #[default]
    Plain,
    /// A string of format `date-time` (RFC 3339): a timestamp.
    DateTime,
    /// A string of format `date`: a timestamp at midnight, UTC.
    Date,
    /// A string of format `duration` (`1h30m`): a duration.
    Duration,
    /// A string of format `byte` (base64): bytes.
    Bytes,
    /// A `number`: a double, even where the JSON text has no fraction.
    Double,
}

/// What the schema says of one place in an entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// How a scalar here is understood.
    pub form: Form,
    /// Whether an object stands here.
    pub object: bool,
    /// Whether a boolean may stand here (also where the schema does not say).
    pub boolean: bool,
    /// The declared members.
    members: BTreeMap<Box<str>, Shape>,
    /// What each member of a map, or each item of a list, looks like.
    each: Option<Box<Shape>>,
}

impl Shape {
    /// The shape of a member, if the schema says anything of it.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.members.get(name).or(self.each.as_deref().filter(|_| self.object))
    }

    /// The shape of a list's items.
    pub fn item(&self) -> Option<&Self> {
        self.each.as_deref().filter(|_| !self.object)
    }

    fn of(schema: &Value, depth: usize) -> Self {
        let text = |name: &str| schema.get(name).and_then(Value::as_str);
        let form = match (text("type"), text("format")) {
            (Some("string"), Some("date-time")) => Form::DateTime,
            (Some("string"), Some("date")) => Form::Date,
            (Some("string"), Some("duration")) => Form::Duration,
            (Some("string"), Some("byte")) => Form::Bytes,
            (Some("number"), _) => Form::Double,
            _ => Form::Plain,
        };
        let object = text("type") == Some("object") || schema.get("properties").is_some();
        let boolean = matches!(text("type"), None | Some("boolean"));
        if depth == 0 {
            return Self { form, object, boolean, ..Self::default() };
        }
        let members = match schema.get("properties") {
            Some(Value::Object(properties)) => {
                properties.iter().map(|(name, schema)| (name.as_str().into(), Self::of(schema, depth - 1))).collect()
            }
            _ => BTreeMap::new(),
        };
        let each = schema.get(if object { "additionalProperties" } else { "items" });
        let each = each.filter(|each| each.is_object()).map(|each| Box::new(Self::of(each, depth - 1)));
        Self { form, object, boolean, members, each }
    }

    fn plain(form: Form) -> Self {
        Self { form, ..Self::default() }
    }
}

/// A kind's fields, as lists see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    root: Shape,
    open: bool,
    indexed: Vec<Indexed>,
}

/// A field that an index is kept of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// Where it stands in an entity.
    pub path: Vec<Box<str>>,
    /// How its values are understood: [`Form::Plain`], or a point in time.
    pub form: Form,
}

impl Fields {
    /// The fields of a schema, and an index for each of its selectable fields.
    pub fn new(schema: &Schema) -> Self {
        Self::of(&schema.fields, schema.status.as_ref(), schema.has_spec, &schema.selectable)
    }

    /// Nothing known but the shape itself: every top-level field is allowed, nothing is indexed.
    pub fn unknown() -> Self {
        Self::of(&serde_json::json!({ "x-kubernetes-preserve-unknown-fields": true }), None, true, &[])
    }

    pub(crate) fn of(own: &Value, status: Option<&Value>, has_spec: bool, selectable: &[String]) -> Self {
        let mut root = Shape::of(own, MAX_DEPTH);
        let open = own.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true)
            || own.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
        root.object = true;
        root.each = None;
        root.members.insert("id".into(), Shape::plain(Form::Plain));
        let status = status.map_or_else(Shape::default, |status| Shape::of(status, MAX_DEPTH));
        root.members.insert("status".into(), Shape { object: true, ..status });
        root.members.insert("meta".into(), meta());
        let mut fields = Self { root, open, indexed: Vec::new() };
        fields.indexed = selectable
            .iter()
            .filter_map(|path| place(path, has_spec))
            .map(|path| Indexed { form: fields.shape(&path).map(|shape| shape.form).unwrap_or_default(), path })
            .filter(|indexed| matches!(indexed.form, Form::Plain | Form::DateTime | Form::Date))
            .take(MAX_INDEXED)
            .collect();
        fields
    }

    /// Whether an expression may name this top-level field.
    pub fn knows(&self, name: &str) -> bool {
        self.open || self.root.members.contains_key(name)
    }

    /// Whether the schema itself names this top-level field.
    pub fn declares(&self, name: &str) -> bool {
        self.root.members.contains_key(name)
    }

    /// The top-level names, for a message: `id`, the kind's own, `status`, `meta`.
    pub fn names(&self) -> String {
        let own = self.root.members.keys().map(AsRef::as_ref).filter(|name| !RESERVED_FIELDS.contains(name));
        std::iter::once("id").chain(own).chain(["status", "meta"]).collect::<Vec<&str>>().join(", ")
    }

    /// The whole entity's shape.
    pub fn root(&self) -> &Shape {
        &self.root
    }

    /// The shape at a path, if the schema says anything of it.
    pub fn shape<S: AsRef<str>>(&self, path: &[S]) -> Option<&Shape> {
        path.iter().try_fold(&self.root, |shape, name| shape.member(name.as_ref()))
    }

    /// The fields that an index is kept of.
    pub fn indexed(&self) -> &[Indexed] {
        &self.indexed
    }
}

/// `spec.when` as it stands in an entity: `when`. `None` for metadata's fields, which are found otherwise.
fn place(path: &str, has_spec: bool) -> Option<Vec<Box<str>>> {
    let names: Vec<&str> = path.trim_start_matches('.').split('.').collect();
    let names = match names.as_slice() {
        ["metadata", ..] => return None,
        ["status", ..] => names.as_slice(),
        ["spec", own @ ..] if has_spec => own,
        own if !has_spec => own,
        _ => return None,
    };
    let names: Vec<Box<str>> = names.iter().map(|name| Box::from(*name)).collect();
    (!names.is_empty() && names.iter().all(|name| !name.is_empty())).then_some(names)
}

fn meta() -> Shape {
    let labels = Shape { object: true, each: Some(Box::new(Shape::plain(Form::Plain))), ..Shape::default() };
    let members = [
        ("version", Shape::plain(Form::Plain)),
        ("generation", Shape::plain(Form::Plain)),
        ("uid", Shape::plain(Form::Plain)),
        ("namespace", Shape::plain(Form::Plain)),
        ("createdAt", Shape::plain(Form::DateTime)),
        ("expiresAt", Shape::plain(Form::DateTime)),
        ("labels", labels),
        ("deleting", Shape { boolean: true, ..Shape::default() }),
    ];
    Shape {
        object: true,
        members: members.into_iter().map(|(name, shape)| (name.into(), shape)).collect(),
        ..Shape::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(selectable: &[&str]) -> Fields {
        let own = json!({ "type": "object", "properties": {
            "when": { "type": "string", "format": "date-time" },
            "message": { "type": "string" },
            "price": { "type": "number" },
            "tags": { "type": "array", "items": { "type": "string", "format": "date" } },
        } });
        let status = json!({ "type": "object", "properties": { "phase": { "type": "string" } } });
        let selectable: Vec<String> = selectable.iter().map(ToString::to_string).collect();
        Fields::of(&own, Some(&status), true, &selectable)
    }

    #[test]
    fn the_formats_of_the_schema_say_how_a_value_compares() {
        let fields = fields(&[]);
        assert_eq!(fields.shape(&["when"]).map(|shape| shape.form), Some(Form::DateTime));
        assert_eq!(fields.shape(&["price"]).map(|shape| shape.form), Some(Form::Double));
        assert_eq!(fields.shape(&["meta", "createdAt"]).map(|shape| shape.form), Some(Form::DateTime));
        assert_eq!(fields.shape(&["tags"]).and_then(Shape::item).map(|shape| shape.form), Some(Form::Date));
        assert_eq!(fields.shape(&["meta", "labels", "anything"]).map(|shape| shape.form), Some(Form::Plain));
        assert_eq!(fields.shape(&["other"]), None);
    }

    #[test]
    fn selectable_fields_are_indexed_where_the_entity_has_them() {
        let fields = fields(&["spec.message", ".status.phase", "metadata.name", "spec.when", "spec.price"]);
        let paths: Vec<String> = fields.indexed().iter().map(|indexed| indexed.path.join(".")).collect();
        assert_eq!(paths, ["message", "status.phase", "when"]);
    }

    #[test]
    fn unknown_fields_are_allowed_only_where_the_schema_allows_them() {
        assert!(!fields(&[]).knows("other"));
        assert!(fields(&[]).knows("meta"));
        assert!(Fields::unknown().knows("other"));
        assert_eq!(fields(&[]).names(), "id, message, price, tags, when, status, meta");
    }
}
