//! Definitions that nobody thought of: schemas and values thrown by dice, through the real API server, against what the rules of schemas say must come back.

use anyhow::{Context, ensure};
use e2e::crd::Definition;
use e2e::dice::Dice;
use e2e::sidecar::Settings;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::world::run;

const SEED: u64 = 20_261_122;
const KINDS: usize = 6;
const VALUES: usize = 4;

/// Formats of strings that the API server checks, each with two values.
const FORMATS: [(&str, [&str; 2]); 10] = [
    ("date-time", ["2030-01-01T10:00:00Z", "2030-01-01T10:00:00.5+02:00"]),
    ("date", ["2030-01-01", "1999-12-31"]),
    ("duration", ["1h30m", "250ms"]),
    ("byte", ["aGVsbG8=", "AA=="]),
    ("uuid", ["6f2c8a52-2a4e-4c5b-9a4b-3a1d2f0c9e11", "00000000-0000-4000-8000-000000000000"]),
    ("email", ["a@example.com", "b.c@example.org"]),
    ("ipv4", ["10.0.0.1", "192.168.1.255"]),
    ("ipv6", ["::1", "fe80::1"]),
    ("cidr", ["10.0.0.0/8", "::/0"]),
    ("mac", ["00:00:5e:00:53:01", "02-00-5e-10-00-00"]),
];

/// What a field takes.
#[derive(Debug, Clone)]
enum Shape {
    Text,
    Word,
    Format(usize),
    Integer,
    Number,
    Truth,
    IntOrString,
    List(Box<Shape>),
    Map(Box<Shape>),
    Object(Vec<Field>),
    Anything,
    Nullable(Box<Shape>),
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    shape: Shape,
    default: Option<Value>,
    required: bool,
}

const WORDS: [&str; 3] = ["red", "green", "dark blue"];

impl Shape {
    /// Some shape, nested at most `depth` times more.
    fn throw(dice: &mut Dice, depth: usize) -> Self {
        let nested = |dice: &mut Dice| Box::new(Self::throw(dice, depth - 1));
        match dice.throw(if depth == 0 { 8 } else { 13 }) {
            0 => Self::Text,
            1 => Self::Word,
            2 => Self::Format(dice.throw(FORMATS.len())),
            3 => Self::Integer,
            4 => Self::Number,
            5 => Self::Truth,
            6 => Self::IntOrString,
            7 => Self::Nullable(Box::new(if dice.throw(2) == 0 { Self::Text } else { Self::Integer })),
            8 => Self::Anything,
            9 => Self::Nullable(Box::new(Self::List(nested(dice)))),
            10 => Self::List(nested(dice)),
            11 => Self::Map(nested(dice)),
            _ => Self::object(dice, depth - 1),
        }
    }

    fn object(dice: &mut Dice, depth: usize) -> Self {
        let count = dice.throw(4) + 2;
        Self::Object((0..count).map(|number| Field::throw(dice, number, depth)).collect())
    }

    fn schema(&self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Word => json!({"type": "string", "enum": WORDS}),
            Self::Format(format) => json!({"type": "string", "format": FORMATS[*format].0}),
            Self::Integer => json!({"type": "integer", "format": "int64"}),
            Self::Number => json!({"type": "number"}),
            Self::Truth => json!({"type": "boolean"}),
            Self::IntOrString => json!({"x-kubernetes-int-or-string": true}),
            Self::List(of) => json!({"type": "array", "items": of.schema()}),
            Self::Map(of) => json!({"type": "object", "additionalProperties": of.schema()}),
            Self::Anything => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            Self::Nullable(of) => {
                let mut schema = of.schema();
                schema["nullable"] = json!(true);
                schema
            }
            Self::Object(fields) => {
                let properties: Map<String, Value> =
                    fields.iter().map(|field| (field.name.clone(), field.schema())).collect();
                let required: Vec<&String> =
                    fields.iter().filter(|field| field.required).map(|field| &field.name).collect();
                let mut schema = json!({"type": "object", "properties": properties});
                if !required.is_empty() {
                    schema["required"] = json!(required);
                }
                schema
            }
        }
    }

    /// A value that fits; `nulls`: where null may stand, it may.
    fn value(&self, dice: &mut Dice, nulls: bool) -> Value {
        let many = |dice: &mut Dice| dice.throw(4);
        match self {
            Self::Text => json!(dice.pick(&["", "x", "größer als \"das\"", "a\nb\\c", "null", "7"]).unwrap()),
            Self::Word => json!(dice.pick(&WORDS).unwrap()),
            Self::Format(format) => json!(dice.pick(&FORMATS[*format].1).unwrap()),
            Self::Integer => json!(dice.pick(&[0, -1, 7, i64::MAX, i64::MIN, 9_007_199_254_740_993]).unwrap()),
            Self::Number => dice.pick(&[json!(0.5), json!(-2.25), json!(3), json!(1_000_000.125)]).unwrap().clone(),
            Self::Truth => json!(dice.throw(2) == 0),
            Self::IntOrString => dice.pick(&[json!(8080), json!("http"), json!("50%"), json!(-1)]).unwrap().clone(),
            Self::List(of) => (0..many(dice)).map(|_| of.value(dice, nulls)).collect(),
            Self::Map(of) => {
                let keys = ["a", "b/c", "d~e", "", "f.g"];
                let entries = (0..many(dice)).map(|_| (dice.pick(&keys).unwrap().to_string(), of.value(dice, nulls)));
                Value::Object(entries.collect())
            }
            Self::Anything => json!({"n": dice.throw(9), "deep": [{"er": "x"}, 1.5, [true]]}),
            Self::Nullable(_) if nulls && dice.throw(2) == 0 => Value::Null,
            Self::Nullable(of) => of.value(dice, nulls),
            Self::Object(fields) => {
                let mut object = Map::new();
                for field in fields {
                    if field.required || dice.throw(3) > 0 {
                        object.insert(field.name.clone(), field.shape.value(dice, nulls));
                    }
                }
                Value::Object(object)
            }
        }
    }

    /// A value that does not fit.
    fn wrong(&self) -> Value {
        match self {
            Self::Text => json!(7),
            Self::Word | Self::Format(_) => json!("***"),
            Self::Integer => json!("7"),
            Self::Number => json!("0.5"),
            Self::Truth => json!("yes"),
            Self::IntOrString => json!(true),
            Self::List(_) => json!({"a": 1}),
            Self::Map(_) => json!([1]),
            Self::Object(_) | Self::Anything => json!("x"),
            Self::Nullable(of) => of.wrong(),
        }
    }

    /// The value as it is stored: with defaults where nothing was said.
    fn stored(&self, value: &Value) -> Value {
        match (self, value) {
            (Self::List(of), Value::Array(items)) => items.iter().map(|item| of.stored(item)).collect(),
            (Self::Map(of), Value::Object(entries)) => {
                Value::Object(entries.iter().map(|(name, value)| (name.clone(), of.stored(value))).collect())
            }
            (Self::Nullable(of), value) if !value.is_null() => of.stored(value),
            (Self::Object(fields), Value::Object(entries)) => {
                let mut entries = entries.clone();
                for field in fields {
                    if let Some(value) = entries.get(&field.name).or(field.default.as_ref()).cloned() {
                        entries.insert(field.name.clone(), field.shape.stored(&value));
                    }
                }
                Value::Object(entries)
            }
            (_, value) => value.clone(),
        }
    }
}

impl Field {
    fn throw(dice: &mut Dice, number: usize, depth: usize) -> Self {
        let shape = Shape::throw(dice, depth);
        let name = format!("{}{number}", dice.pick(&["f", "camelCase", "with-dash-", "X_"]).unwrap());
        let required = dice.throw(4) == 0;
        let default = (!required && dice.throw(3) == 0).then(|| shape.value(dice, false));
        // The API server wants a default to be whole.
        let default = default.map(|default| shape.stored(&default));
        Self { name, shape, default, required }
    }

    fn schema(&self) -> Value {
        let mut schema = self.shape.schema();
        if let Some(default) = &self.default {
            schema["default"] = default.clone();
        }
        schema
    }
}

/// RFC 7396.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut object = target.as_object().cloned().unwrap_or_default();
    for (name, change) in changes {
        if change.is_null() {
            object.remove(name);
        } else {
            let before = object.get(name).cloned().unwrap_or_default();
            object.insert(name.clone(), merged(&before, change));
        }
    }
    Value::Object(object)
}

fn own(entity: &Value) -> Value {
    let mut fields = entity.as_object().cloned().unwrap_or_default();
    for name in ["id", "status", "meta"] {
        fields.remove(name);
    }
    Value::Object(fields)
}

#[test]
fn any_schema_s_values_come_back_as_its_rules_say() {
    run("any_schema", async |world| {
        let mut dice = Dice::new(SEED);
        let mut settings = Settings::new(&world.kubeconfig);
        let mut kinds = Vec::new();
        for number in 0..KINDS {
            let shape = Shape::object(&mut dice, 3);
            let cluster_scoped = number % 3 == 2;
            let kind = Definition::new(&format!("Shape{number}"), &format!("shape{number}s")).spec(shape.schema());
            let kind = if cluster_scoped { kind.cluster_scoped() } else { kind };
            kind.install(&world.kube)
                .await
                .with_context(|| format!("seed {SEED}, kind {number}: {}", shape.schema()))?;
            let namespaces: &[&str] = if cluster_scoped { &[] } else { &[&world.ns] };
            settings = settings.kind(kind.served(true, namespaces));
            kinds.push(shape);
        }
        let sidecar = world.start(&settings).await?;
        for (number, shape) in kinds.iter().enumerate() {
            let schema = shape.schema();
            let told = |what: &str| format!("seed {SEED}, kind {number}, {what}: {schema}");
            let (collection, entity) = (format!("/v1/shape{number}s"), format!("/v1/shape{number}s/one"));
            for _ in 0..VALUES {
                let value = shape.value(&mut dice, true);
                let mut body = value.clone();
                body["id"] = json!("one");
                let created =
                    sidecar.api.post(&collection, &body).await?.expect(201).with_context(|| told("create"))?;
                ensure!(
                    own(&created.body) == shape.stored(&value),
                    "{}: {value} became {}",
                    told("create"),
                    created.body
                );

                let value = shape.value(&mut dice, true);
                let replaced = sidecar.api.put(&entity, &value).await?.expect(200).with_context(|| told("replace"))?;
                let stored = shape.stored(&value);
                ensure!(own(&replaced.body) == stored, "{}: {value} became {}", told("replace"), replaced.body);

                // Some other fields, and one that is taken away where that is allowed.
                let mut patch = shape.value(&mut dice, false);
                if let Shape::Object(fields) = shape
                    && let Some(field) = dice.pick(fields).filter(|field| !field.required)
                {
                    patch[&field.name] = Value::Null;
                }
                let expected = shape.stored(&merged(&stored, &patch));
                let patched = sidecar.api.patch(&entity, &patch).await?.expect(200).with_context(|| told("patch"))?;
                ensure!(
                    own(&patched.body) == expected,
                    "{}: {stored} with {patch} became {}",
                    told("patch"),
                    patched.body
                );

                let read = sidecar.api.get(&entity).await?.expect(200)?;
                ensure!(
                    read.body == patched.body,
                    "{}: {} was stored, {} is read",
                    told("read"),
                    patched.body,
                    read.body
                );
                let fresh = [("cache-control", "no-cache")];
                let read = sidecar.api.send(Method::GET, &entity, &fresh, None).await?.expect(200)?;
                ensure!(
                    read.body == patched.body,
                    "{}: {} was stored, {} is there",
                    told("read through"),
                    patched.body,
                    read.body
                );
                sidecar.api.delete(&entity).await?.expect(204)?;
            }
            let Shape::Object(fields) = shape else { continue };
            let whole = shape.value(&mut dice, false);
            for field in fields {
                let mut body = whole.clone();
                body[&field.name] = field.shape.wrong();
                let refused = sidecar.api.post(&collection, &body).await?;
                let pointer = format!("/{}", field.name);
                // Of a list or a map it may be what is in it that is wrong.
                let within = |found: &str| {
                    found.strip_prefix(&pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                let mut errors = refused.body["errors"].as_array().into_iter().flatten();
                let named = errors.any(|error| error["pointer"].as_str().is_some_and(within));
                ensure!(
                    matches!(refused.status.as_u16(), 400 | 422) && named,
                    "{}: {body} got {} {}",
                    told(&field.name),
                    refused.status,
                    refused.body
                );
            }
        }
        sidecar.api.get("/openapi.json").await?.expect(200)?;
        Ok(())
    });
}
