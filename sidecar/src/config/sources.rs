//! File, environment and flags, merged by the `config` crate; each value remembers where it stood.
//!
//! The crate's own environment source lowers all names and splits keys on dots, which would lose `queueBytes` and
//! `bootstrap.servers`; ours goes by the table of settings instead.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Command};
use config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::ConfigError;
use super::reference::{Setting, Shape, settings};

/// `KAB_…` variables that belong to an app or to a development cluster, not to the sidecar's settings.
const FOREIGN: [&str; 3] = [contract::names::APP_URL_VARIABLE, "KAB_TOKEN_FILE", "KAB_KAFKA"];

/// The command line, read.
pub(super) struct Flags {
    file: Option<PathBuf>,
    values: Vec<(Setting, String)>,
}

impl Flags {
    pub(super) fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, ConfigError> {
        let settings: Vec<(String, Setting)> =
            settings().into_iter().filter_map(|setting| Some((setting.flag()?, setting))).collect();
        let mut matches = command(&settings).try_get_matches_from(arguments)?;
        let file = matches.remove_one::<PathBuf>("config");
        let values = settings
            .into_iter()
            .filter_map(|(flag, setting)| Some((setting, matches.remove_one::<String>(&flag)?)))
            .collect();
        Ok(Self { file, values })
    }
}

fn command(settings: &[(String, Setting)]) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(format!("Configuration file; without it {} where it exists", contract::names::DEFAULT_CONFIG));
    let flags = settings.iter().map(|(flag, setting)| {
        let default = setting.default.as_ref().map_or_else(String::new, |default| format!(" [default: {default}]"));
        let variable = setting.variable().map_or_else(String::new, |variable| format!(" [env: {variable}]"));
        let words = match setting.words.as_slice() {
            [] => String::new(),
            words => format!(" [one of: {}]", words.join(", ")),
        };
        Arg::new(flag.clone())
            .long(flag.clone())
            .value_name(if setting.shape == Shape::Integer { "NUMBER" } else { "VALUE" })
            .help(format!("{}{words}{default}{variable}", setting.description))
    });
    Command::new("kab-sidecar")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves custom resources as entities on localhost, and broadcasts their changes to Kafka")
        .arg(file)
        .args(flags)
}

/// The merged values, and whence each came.
pub(super) struct Merged {
    root: Value,
}

pub(super) fn merge(flags: &Flags, environment: &BTreeMap<String, String>) -> Result<Merged, ConfigError> {
    let mut builder = config::Config::builder();
    if let Some(file) = file(flags)? {
        builder = builder.add_source(file);
    }
    let built = builder.add_source(variables(environment)?).add_source(flagged(flags)?).build();
    let merged = built.map_err(|error| match error {
        config::ConfigError::FileParse { uri, cause } => {
            ConfigError::File { file: uri.unwrap_or_default(), fault: cause.to_string() }
        }
        other => ConfigError::File { file: "in use".to_owned(), fault: other.to_string() },
    })?;
    Ok(Merged { root: merged.cache })
}

fn file(flags: &Flags) -> Result<Option<Text>, ConfigError> {
    let (path, must_exist) = match &flags.file {
        Some(path) => (path.clone(), true),
        None => (PathBuf::from(contract::names::DEFAULT_CONFIG), false),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Text { name: path.display().to_string(), text })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(ConfigError::File { file: path.display().to_string(), fault: error.to_string() }),
    }
}

/// A file's text under the name that it was given by: the crate's own file source would name it relative to the working directory.
#[derive(Debug, Clone)]
struct Text {
    name: String,
    text: String,
}

impl Source for Text {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let named = |error| match error {
            config::ConfigError::FileParse { cause, .. } => {
                config::ConfigError::FileParse { uri: Some(self.name.clone()), cause }
            }
            other => config::ConfigError::FileParse { uri: Some(self.name.clone()), cause: Box::new(other) },
        };
        let read = File::from_str(&self.text, FileFormat::Yaml).collect().map_err(named)?;
        Ok(read.into_iter().map(|(key, value)| (key, from(&self.name, value))).collect())
    }
}

fn from(origin: &String, value: Value) -> Value {
    let kind = match value.kind {
        ValueKind::Table(table) => {
            ValueKind::Table(table.into_iter().map(|(key, value)| (key, from(origin, value))).collect())
        }
        ValueKind::Array(items) => ValueKind::Array(items.into_iter().map(|value| from(origin, value)).collect()),
        other => other,
    };
    Value::new(Some(origin), kind)
}

/// Values that are already in place, from variables or flags.
#[derive(Debug, Clone, Default)]
struct Placed {
    values: Map<String, Value>,
}

impl Source for Placed {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.values.clone())
    }
}

impl Placed {
    fn put(&mut self, path: &[String], value: Value) {
        place(&mut self.values, path, value);
    }
}

fn place(table: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.insert(name.clone(), value);
        return;
    }
    let level = table
        .entry(name.clone())
        .or_insert_with(|| Value::new(value_origin(&value).as_ref(), ValueKind::Table(Map::new())));
    if let ValueKind::Table(inner) = &mut level.kind {
        place(inner, rest, value);
    }
}

fn value_origin(value: &Value) -> Option<String> {
    value.origin().map(str::to_owned)
}

fn variables(environment: &BTreeMap<String, String>) -> Result<Placed, ConfigError> {
    let prefix = format!("{}_", contract::names::ENVIRONMENT_PREFIX);
    let settings = settings();
    let mut placed = Placed::default();
    for (variable, text) in environment.iter().filter(|(name, _)| name.starts_with(&prefix)) {
        if FOREIGN.contains(&variable.as_str()) || text.is_empty() {
            continue;
        }
        let origin = format!("environment variable {variable}");
        let (setting, path) = settings
            .iter()
            .find_map(|setting| Some((setting, path_of(setting, variable)?)))
            .ok_or_else(|| ConfigError::Key {
                key: variable.clone(),
                fault: format!("no setting has this variable; known are {}", known(&settings)),
                origin: " (in the environment)".to_owned(),
            })?;
        placed.put(&path, read(setting, text, &origin)?);
    }
    Ok(placed)
}

/// The path that `variable` sets, if it belongs to `setting`.
fn path_of(setting: &Setting, variable: &str) -> Option<Vec<String>> {
    let own = setting.variable()?;
    if setting.shape != Shape::Map {
        return (own == variable).then(|| setting.path.clone());
    }
    let name = variable.strip_prefix(own.strip_suffix("NAME")?)?;
    let mut path = setting.path.clone();
    path.push(name.to_lowercase().replace('_', "."));
    Some(path)
}

fn known(settings: &[Setting]) -> String {
    settings.iter().filter_map(Setting::variable).collect::<Vec<_>>().join(", ")
}

fn flagged(flags: &Flags) -> Result<Placed, ConfigError> {
    let mut placed = Placed::default();
    for (setting, text) in &flags.values {
        let origin = format!("flag --{}", setting.flag().unwrap_or_default());
        placed.put(&setting.path, read(setting, text, &origin)?);
    }
    Ok(placed)
}

fn read(setting: &Setting, text: &str, origin: &String) -> Result<Value, ConfigError> {
    let wrong = |fault: String| ConfigError::Key { key: setting.key(), fault, origin: format!(" (in {origin})") };
    let kind = match setting.shape {
        Shape::Text | Shape::Map => ValueKind::String(text.to_owned()),
        Shape::Integer => ValueKind::I64(text.trim().parse().map_err(|_| wrong(format!("{text:?} is not a number")))?),
        Shape::Truth => {
            ValueKind::Boolean(text.trim().parse().map_err(|_| wrong(format!("{text:?} is not true or false")))?)
        }
        Shape::List => {
            let json = serde_json::from_str(text).map_err(|error| wrong(format!("not JSON: {error}")))?;
            return Ok(from_json(&json, origin));
        }
    };
    Ok(Value::new(Some(origin), kind))
}

fn from_json(json: &serde_json::Value, origin: &String) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => ValueKind::Nil,
        Json::Bool(value) => ValueKind::Boolean(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => ValueKind::I64(value),
            None => ValueKind::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => ValueKind::String(text.clone()),
        Json::Array(items) => ValueKind::Array(items.iter().map(|item| from_json(item, origin)).collect()),
        Json::Object(members) => {
            ValueKind::Table(members.iter().map(|(name, value)| (name.clone(), from_json(value, origin))).collect())
        }
    };
    Value::new(Some(origin), kind)
}

impl Merged {
    /// The values without their origins.
    pub(super) fn json(&self) -> serde_json::Value {
        to_json(&self.root)
    }

    /// ` (in ORIGIN)` of the value at `path`, or of the nearest level around it that has one.
    pub(super) fn origin(&self, path: &[String]) -> String {
        let mut value = &self.root;
        let mut origin = None;
        for step in path {
            let inner = match &value.kind {
                ValueKind::Table(table) => table.get(step),
                ValueKind::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let Some(inner) = inner else { break };
            value = inner;
            origin = value.origin().or(origin);
        }
        // A level that only holds others has no origin of its own after merging; any of those tells.
        let origin = origin.or_else(|| first_origin(value));
        origin.map_or_else(String::new, |origin| format!(" (in {origin})"))
    }
}

fn first_origin(value: &Value) -> Option<&str> {
    value.origin().or_else(|| match &value.kind {
        ValueKind::Table(table) => table.values().find_map(first_origin),
        ValueKind::Array(items) => items.iter().find_map(first_origin),
        _ => None,
    })
}

fn to_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match &value.kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(value) => Json::from(*value),
        ValueKind::I64(value) => Json::from(*value),
        ValueKind::U64(value) => Json::from(*value),
        ValueKind::I128(value) => Json::from(value.to_string()),
        ValueKind::U128(value) => Json::from(value.to_string()),
        ValueKind::Float(value) => Json::from(*value),
        ValueKind::String(text) => Json::from(text.as_str()),
        ValueKind::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        ValueKind::Table(table) => {
            Json::Object(table.iter().map(|(name, value)| (name.clone(), to_json(value))).collect())
        }
    }
}
