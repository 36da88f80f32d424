//! The table of settings, drawn from [`super::raw`] alone: flags, variables and the page of documentation come from it.

use schemars::Schema;
use serde_json::{Map, Value};

use super::raw::RawConfig;

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// Names from the outermost level in; `[]` after the name of a list whose entries have settings of their own.
    pub(super) path: Vec<String>,
    pub(super) shape: Shape,
    /// Rendered for people.
    pub(super) default: Option<String>,
    pub(super) description: String,
    /// The words that may be given, where only some may.
    pub(super) words: Vec<String>,
}

/// What a setting's value looks like, as far as a variable's or flag's text must be read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Integer,
    Truth,
    /// A map of free names to texts.
    Map,
    /// A list: JSON in a variable, no flag.
    List,
}

impl Setting {
    pub(super) fn key(&self) -> String {
        self.path.join(".")
    }

    /// The variable, `KAB_LEVEL__NAME`; `None` inside a list.
    pub(super) fn variable(&self) -> Option<String> {
        if self.is_inside_list() {
            return None;
        }
        let levels: Vec<String> = self.path.iter().map(|level| separated(level, '_').to_uppercase()).collect();
        let end = if self.shape == Shape::Map { "__NAME" } else { "" };
        Some(format!("{}_{}{end}", contract::names::ENVIRONMENT_PREFIX, levels.join("__")))
    }

    /// The flag's name without dashes, for what is one value.
    pub(super) fn flag(&self) -> Option<String> {
        let single = matches!(self.shape, Shape::Text | Shape::Integer | Shape::Truth) && !self.is_inside_list();
        single.then(|| self.path.iter().map(|level| separated(level, '-')).collect::<Vec<_>>().join("-"))
    }

    fn is_inside_list(&self) -> bool {
        self.path.iter().any(|level| level.ends_with("[]"))
    }
}

/// Every setting, in the order of [`super::raw`].
pub(super) fn settings() -> Vec<Setting> {
    let schema = schemars::schema_for!(RawConfig);
    let mut settings = Vec::new();
    walk(&schema, schema.as_object(), &[], schema.get("default"), &mut settings);
    settings
}

/// The page `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration of the sidecar\n\n\
         <!-- Generated from the settings' own descriptions by `cargo xtask generate`; edit those. -->\n\n\
         Defaults < file (`/etc/kab/sidecar.yaml`, or `--config FILE`) < environment < flags. An unknown key or a wrong value ends the\n\
         sidecar with exit code 64 and one message that names the key and where it stands.\n\n\
         A list is given in the environment as JSON. A name behind `__NAME` is written in capitals with `_` for each dot:\n\
         `KAB_KAFKA__PROPERTIES__BOOTSTRAP_SERVERS` sets `bootstrap.servers`.\n\n\
         | setting | variable | flag | default | meaning |\n|---|---|---|---|---|\n",
    );
    for setting in settings() {
        let code = |text: Option<String>| text.map_or_else(String::new, |text| format!("`{text}`"));
        let words = match setting.words.as_slice() {
            [] => String::new(),
            words => {
                format!(" One of {}.", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
            }
        };
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {}{words} |\n",
            setting.key(),
            code(setting.variable()),
            code(setting.flag().map(|flag| format!("--{flag}"))),
            code(setting.default.clone()),
            setting.description,
        ));
    }
    page
}

fn walk(
    root: &Schema,
    node: Option<&Map<String, Value>>,
    path: &[String],
    defaults: Option<&Value>,
    into: &mut Vec<Setting>,
) {
    let Some(properties) = node.and_then(|node| node.get("properties")).and_then(Value::as_object) else { return };
    for (name, property) in properties {
        let mut path = path.to_vec();
        path.push(name.clone());
        let default = property.get("default").or_else(|| defaults.and_then(|all| all.get(name)));
        let resolved = resolve(root, property);
        let inner = resolved.get("items").map(|items| resolve(root, items));
        if resolved.get("properties").is_some() {
            walk(root, resolved.as_object(), &path, default, into);
            continue;
        }
        into.push(setting(path.clone(), property, resolved, default));
        if let Some(items) = inner.filter(|items| items.get("properties").is_some()) {
            if let Some(last) = path.last_mut() {
                last.push_str("[]");
            }
            walk(root, items.as_object(), &path, None, into);
        }
    }
}

fn setting(path: Vec<String>, property: &Value, resolved: &Value, default: Option<&Value>) -> Setting {
    let text = |node: &Value| node.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
    let words = resolved.get("enum").and_then(Value::as_array).into_iter().flatten();
    Setting {
        path,
        shape: shape(resolved),
        default: default.and_then(shown),
        description: text(property),
        words: words.filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

/// Behind a reference, or beside the `null` of what is optional.
fn resolve<'a>(root: &'a Schema, node: &'a Value) -> &'a Value {
    let inner = node
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|choices| choices.iter().find(|choice| choice.get("type").and_then(Value::as_str) != Some("null")));
    let node = inner.unwrap_or(node);
    match node.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap_or(node),
        None => node,
    }
}

fn shape(node: &Value) -> Shape {
    let is = |wanted: &str| match node.get("type") {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(many)) => many.iter().any(|one| one == wanted),
        _ => false,
    };
    match () {
        () if is("integer") => Shape::Integer,
        () if is("boolean") => Shape::Truth,
        () if is("array") => Shape::List,
        () if is("object") => Shape::Map,
        () => Shape::Text,
    }
}

fn shown(default: &Value) -> Option<String> {
    match default {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.is_empty() => None,
        Value::Object(items) if items.is_empty() => None,
        other => Some(other.to_string()),
    }
}

/// `queueBytes` → `queue_bytes`.
fn separated(name: &str, separator: char) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push(separator);
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
