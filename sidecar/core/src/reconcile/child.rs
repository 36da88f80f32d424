//! Children: what the app wants there to be, against what there is.
//!
//! Owns the reading of children in an app's answer, the bodies of server-side apply, and the rules whose a child is. A child names its parent twice: by an owner
//! reference, which is what counts and what Kubernetes' garbage collector goes by, and by a label, by which all children are watched.
//!
//! As Kubernetes' own controllers do it: a child of ours is kept as the app wants it and deleted when the app leaves it out; one that has our label and no
//! controller is adopted; another controller's is never touched. Unlike them, an object without a controller that the app does not name is left alone.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use contract::names::{GROUP, PARENT, PARENT_KIND};
use serde_json::{Map, Value, json};

use crate::entity::{Entity, Key};
use crate::fnv;
use crate::kind::Kind;
use crate::marks::Mark;
use crate::version::Version;
use crate::write::name;

/// An entity and its kind.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// Its kind.
    pub kind: &'a Kind,
    /// As it is now.
    pub entity: &'a Entity,
}

/// Which of the declared kinds, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The place of the kind among those that are declared.
    pub kind: usize,
    /// Namespace and name.
    pub key: Key,
}

/// A child that the app wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Where.
    pub place: Place,
    /// The whole of what is applied, but for the uid.
    object: Value,
    /// Another number for another object.
    pub digest: u64,
}

/// Why children of an answer cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct Unusable {
    /// JSON pointer into the answer.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// Something to do at the API server.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing is known there: look first, as what is there without our label may be somebody's. Then [`found`] decides.
    Look(Wanted),
    /// Server-side apply of the body.
    Apply {
        /// What.
        wanted: Wanted,
        /// The object that it must be.
        uid: Box<str>,
    },
    /// Delete that very object.
    Delete {
        /// Where.
        place: Place,
        /// Which.
        uid: Box<str>,
        /// A version that it had.
        version: Version,
    },
}

/// A child that cannot be had, as the place is another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where.
    pub place: Place,
    /// Whether a controller owns what is there.
    pub controlled: bool,
}

/// What there is to do about children.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What cannot be done.
    pub taken: Vec<Taken>,
}

/// What was applied to a child last: with the same digest, and the child still in the version that it had then, there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Of what was applied.
    pub digest: u64,
    /// Of the object after that.
    pub version: Version,
}

impl Wanted {
    /// The body of the apply; with a uid it is refused where another object has the name by now.
    pub fn body(&self, uid: Option<&str>) -> Vec<u8> {
        let mut object = self.object.clone();
        if let (Some(uid), Some(metadata)) = (uid, object.get_mut("metadata").and_then(Value::as_object_mut)) {
            metadata.insert("uid".to_owned(), json!(uid));
        }
        object.to_string().into_bytes()
    }
}

/// The value of [`PARENT_KIND`]: `PLURAL.GROUP`, cut and told apart by a hash where that is too long for a label.
pub fn parent_kind(kind: &Kind) -> String {
    const LABEL: usize = 63;
    let name = kind.full_name();
    if name.len() <= LABEL {
        return name;
    }
    let hash = fnv::mix(fnv::fold(fnv::BASIS, name.as_bytes()));
    format!("{}.{hash:016x}", name.chars().take(LABEL - 17).collect::<String>().trim_end_matches(['.', '-']))
}

/// The label selector of all children of entities of a kind.
pub fn selector(kind: &Kind) -> String {
    format!("{PARENT_KIND}={}", parent_kind(kind))
}

/// The uid of a child's parent, by its label.
pub fn parent_of(child: &Entity) -> Option<&str> {
    child.labels.iter().find(|(name, _)| **name == *PARENT).map(|(_, uid)| &**uid)
}

/// The children that an answer wants. `declared` are the kinds that it may name.
///
/// # Errors
/// At the first child that cannot be.
pub fn wanted(
    parent: Parent<'_>,
    declared: &[Arc<Kind>],
    children: &[Map<String, Value>],
) -> Result<Vec<Wanted>, Unusable> {
    let mut places = BTreeSet::new();
    let mut all = Vec::with_capacity(children.len());
    for (index, child) in children.iter().enumerate() {
        let bad = |member: &str, detail: String| Unusable { pointer: format!("/children/{index}{member}"), detail };
        let wanted = one(parent, declared, child).map_err(|(member, detail)| bad(member, detail))?;
        if !places.insert(wanted.place.clone()) {
            return Err(bad("/id", "the answer names this child twice".to_owned()));
        }
        all.push(wanted);
    }
    Ok(all)
}

/// A member of the child, as a pointer, and what is wrong with it.
type Fault = (&'static str, String);

fn one(parent: Parent<'_>, declared: &[Arc<Kind>], child: &Map<String, Value>) -> Result<Wanted, Fault> {
    let text = |member: &str| child.get(member).and_then(Value::as_str);
    let api_version = text("apiVersion").ok_or(("/apiVersion", "a child says its apiVersion".to_owned()))?;
    let kind_name = text("kind").ok_or(("/kind", "a child says its kind".to_owned()))?;
    let of = |kind: &Arc<Kind>| kind.api_version() == api_version && kind.kind == kind_name;
    let place = declared.iter().position(of);
    let Some((index, kind)) = place.and_then(|index| Some((index, declared.get(index)?))) else {
        return Err((
            "/kind",
            format!("{kind_name} of {api_version} is not among the `children` of the configuration"),
        ));
    };
    let id = text("id").ok_or(("/id", "a child has an id, which stays the same from answer to answer".to_owned()))?;
    name::check(id).map_err(|why| ("/id", why))?;
    let namespace = namespace(parent, kind, child)?;
    let mut labels = labels(child)?;
    labels.insert(PARENT.to_owned(), json!(parent.entity.uid));
    labels.insert(PARENT_KIND.to_owned(), json!(parent_kind(parent.kind)));
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(id));
    if let Some(namespace) = &namespace {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    metadata.insert("labels".to_owned(), Value::Object(labels));
    metadata.insert("ownerReferences".to_owned(), json!([owner(parent)]));
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind_name));
    object.insert("metadata".to_owned(), Value::Object(metadata));
    // What an app was shown of a child it may show again: what only the platform writes is passed over.
    let own = child.iter().filter(|(name, _)| !["id", "apiVersion", "kind", "status", "meta"].contains(&name.as_str()));
    let own: Map<String, Value> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    if kind.has_spec {
        object.insert("spec".to_owned(), Value::Object(own));
    } else if own.contains_key("metadata") {
        return Err(("/metadata", "labels stand under meta; nothing else of the metadata can be set".to_owned()));
    } else {
        object.extend(own);
    }
    let object = Value::Object(object);
    let mut hasher = DefaultHasher::new();
    object.to_string().hash(&mut hasher);
    let place = Place { kind: index, key: Key { namespace: namespace.map(Arc::from), id: Arc::from(id) } };
    Ok(Wanted { place, object, digest: hasher.finish() })
}

/// A child is where its parent is: an owner in another namespace does not count for Kubernetes, which would delete the child.
fn namespace(parent: Parent<'_>, kind: &Kind, child: &Map<String, Value>) -> Result<Option<String>, Fault> {
    let asked = child.get("meta").and_then(|meta| meta.get("namespace")).and_then(Value::as_str);
    match (parent.entity.key.namespace.as_deref(), kind.namespaced, asked) {
        (Some(own), true, None) => Ok(Some(own.to_owned())),
        (Some(own), true, Some(asked)) if asked == own => Ok(Some(own.to_owned())),
        (Some(own), true, Some(_)) => {
            Err(("/meta/namespace", format!("a child is in its parent's namespace, which is {own:?}")))
        }
        (Some(_), false, _) => Err((
            "/kind",
            format!("{} stands outside of namespaces, and so cannot be the child of what stands in one", kind.kind),
        )),
        (None, true, Some(asked)) => {
            name::check_namespace(asked).map_err(|why| ("/meta/namespace", why))?;
            Ok(Some(asked.to_owned()))
        }
        (None, true, None) => {
            Err(("/meta/namespace", "the parent stands outside of namespaces, so that a child says its own".to_owned()))
        }
        (None, false, _) => Ok(None),
    }
}

fn labels(child: &Map<String, Value>) -> Result<Map<String, Value>, Fault> {
    match child.get("meta").map(|meta| meta.get("labels")) {
        None | Some(None | Some(Value::Null)) => Ok(Map::new()),
        Some(Some(Value::Object(labels))) if labels.values().all(Value::is_string) => Ok(labels.clone()),
        Some(Some(_)) => Err(("/meta/labels", "labels are an object whose values are strings".to_owned())),
    }
}

fn owner(Parent { kind, entity }: Parent<'_>) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "name": &*entity.key.id,
        "uid": entity.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// What there is to do so that there are the wanted children and no others. `observed` is what has the parent's label.
pub fn plan<S: std::hash::BuildHasher>(
    wanted: Vec<Wanted>,
    observed: &[(usize, Arc<Entity>)],
    applied: &HashMap<Place, Applied, S>,
) -> Plan {
    let mut plan = Plan::default();
    let mut kept = BTreeSet::new();
    for wanted in wanted {
        kept.insert(wanted.place.clone());
        let there = observed.iter().find(|(kind, child)| *kind == wanted.place.kind && child.key == wanted.place.key);
        let Some((_, child)) = there else {
            plan.steps.push(Step::Look(wanted));
            continue;
        };
        // What is on its way out comes back to us when it is gone, and is made anew then.
        if child.deleting {
            continue;
        }
        if child.marks.has(Mark::Controlled) && !child.marks.has(Mark::Child) {
            plan.taken.push(Taken { place: wanted.place, controlled: true });
            continue;
        }
        let as_before = Some(Applied { digest: wanted.digest, version: child.version });
        if applied.get(&wanted.place).copied() != as_before || !child.marks.has(Mark::Child) {
            plan.steps.push(Step::Apply { uid: child.uid.clone(), wanted });
        }
    }
    for (kind, child) in observed {
        let place = Place { kind: *kind, key: child.key.clone() };
        if !kept.contains(&place) && !child.deleting && child.marks.has(Mark::Child) {
            plan.steps.push(Step::Delete { place, uid: child.uid.clone(), version: child.version });
        }
    }
    plan
}

/// Whether a place is free for the parent's child, after what was found there: nothing, or what is already the parent's. The uid is that of what is there.
///
/// # Errors
/// When it is somebody else's.
pub fn found(wanted: &Wanted, there: Option<&Found>, parent: &str) -> Result<Option<Box<str>>, Taken> {
    match there {
        None => Ok(None),
        Some(Found { uid, controller: Some(controller), .. }) if **controller == *parent => Ok(Some(uid.clone())),
        Some(Found { uid, controller: None, label: Some(label) }) if **label == *parent => Ok(Some(uid.clone())),
        Some(Found { controller, .. }) => Err(Taken { place: wanted.place.clone(), controlled: controller.is_some() }),
    }
}

/// An object as it was found in a child's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub uid: Box<str>,
    /// The uid of its controller.
    pub controller: Option<Box<str>>,
    /// The uid of its parent by its label.
    pub label: Option<Box<str>>,
}

impl Found {
    /// From an object's JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(object: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct Object {
            metadata: Metadata,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            uid: Box<str>,
            #[serde(default)]
            owner_references: Vec<Owner>,
            #[serde(default)]
            labels: HashMap<String, Box<str>>,
        }
        #[derive(serde::Deserialize)]
        struct Owner {
            uid: Box<str>,
            #[serde(default)]
            controller: bool,
        }
        let Object { metadata: Metadata { uid, owner_references, mut labels } } = serde_json::from_slice(object)?;
        let controller = owner_references.into_iter().find(|owner| owner.controller).map(|owner| owner.uid);
        Ok(Self { uid, controller, label: labels.remove(PARENT) })
    }
}

impl Taken {
    /// For people.
    pub fn told(&self, declared: &[Arc<Kind>], parent: &str) -> String {
        let kind = declared.get(self.place.kind).map_or("object", |kind| &kind.kind);
        let id = &self.place.key.id;
        if self.controlled {
            format!("there is a {kind} {id:?} that belongs to another controller")
        } else {
            format!(
                "there is a {kind} {id:?} that belongs to nobody: delete it, or hand it over with the label {PARENT}={parent} ({GROUP} adopts it then)"
            )
        }
    }
}

#[cfg(test)]
mod tests;
