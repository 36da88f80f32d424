//! Entities for the tests of the ledger and its neighbours.

use crate::entity::{Entity, Key};
use crate::kind::Kind;
use crate::version::Version;

pub(crate) fn todo() -> Kind {
    Kind {
        group: "k8sasbackend.com".to_owned(),
        version: "v1".to_owned(),
        kind: "Todo".to_owned(),
        plural: "todos".to_owned(),
        namespaced: true,
        has_spec: true,
        has_status: true,
        owned: true,
    }
}

pub(crate) fn entity(id: &str, uid: &str, version: u64) -> Entity {
    let json = format!(r#"{{"id":"{id}","meta":{{"version":"{version}","uid":"{uid}","namespace":"shop"}}}}"#);
    Entity {
        key: Key { namespace: Some("shop".into()), id: id.into() },
        version: Version(version),
        uid: uid.into(),
        labels: Box::default(),
        deleting: false,
        annotated: false,
        marks: Default::default(),
        json: json.into(),
    }
}
