//! Our finalizer at an entity: the JSON patches that put it on and take it off.
//!
//! Both leave what others keep there. To put it on needs no look at the object, because a cache knows whether there is a list; the version guards that guess. To take it
//! off needs the list, and the patch holds only while our finalizer stands where it stood.

use contract::names::FINALIZER;
use serde::Deserialize;
use serde_json::json;

use crate::entity::Entity;
use crate::marks::Mark;

/// Puts it on an entity that has not got it.
pub fn add(entity: &Entity) -> Vec<u8> {
    let put = if entity.marks.has(Mark::Finalizers) {
        json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER})
    } else {
        json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]})
    };
    let guard = json!({"op": "add", "path": "/metadata/resourceVersion", "value": entity.version.to_string()});
    json!([put, guard]).to_string().into_bytes()
}

/// Takes it off an object, given its JSON; absent where it is not there, or the object is another one.
///
/// # Errors
/// When it is no object's JSON.
pub fn remove(object: &[u8], uid: &str) -> Result<Option<Vec<u8>>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        uid: String,
        #[serde(default)]
        finalizers: Vec<String>,
    }
    let Object { metadata } = serde_json::from_slice(object)?;
    let place = metadata.finalizers.iter().position(|finalizer| finalizer == FINALIZER);
    let Some(place) = place.filter(|_| metadata.uid == uid) else { return Ok(None) };
    let path = format!("/metadata/finalizers/{place}");
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": path, "value": FINALIZER},
        {"op": "remove", "path": path},
    ]);
    Ok(Some(patch.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kind::tests::todo;
    use crate::mapping;

    fn patched(object: &Value, patch: &[u8]) -> Value {
        let mut object = object.clone();
        let patch: json_patch::Patch = serde_json::from_slice(patch).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
        object
    }

    #[test]
    fn putting_it_on_and_taking_it_off_leaves_what_others_keep_there() {
        for others in [json!([]), json!(["x/y"]), json!(["x/y", "z/z"])] {
            let mut metadata = json!({"name": "a", "uid": "u", "resourceVersion": "7"});
            if others != json!([]) {
                metadata["finalizers"] = others.clone();
            }
            let object = json!({ "metadata": metadata });
            let entity = mapping::entity(&todo(), object.to_string().as_bytes()).unwrap();
            let with = patched(&object, &add(&entity));
            assert_eq!(with["metadata"]["finalizers"].as_array().unwrap().last().unwrap(), FINALIZER);
            assert_eq!(with["metadata"]["resourceVersion"], "7");
            let patch = remove(with.to_string().as_bytes(), "u").unwrap().unwrap();
            assert_eq!(patched(&with, &patch)["metadata"]["finalizers"], others);
        }
    }

    #[test]
    fn there_is_nothing_to_take_off_another_object() {
        let object = json!({"metadata": {"uid": "u", "finalizers": [FINALIZER]}}).to_string();
        assert_eq!(remove(object.as_bytes(), "v").unwrap(), None);
        assert_eq!(remove(br#"{"metadata":{"uid":"u"}}"#, "u").unwrap(), None);
        assert!(remove(b"[]", "u").is_err());
    }
}
