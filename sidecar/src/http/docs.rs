//! `GET /openapi.json` and `GET /docs`: what is served here, for programs and for people.
//!
//! Both show the kinds that are found so far. The page loads nothing but this API's own document, and its policy forbids the browser
//! anything else.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use sidecar_core::openapi::{Namespaces, Served as Described, document, with_token};

use super::answer::{self, Answer};
use super::service::Api;

const PAGE: &str = include_str!("docs.html");
/// Stands in the page where the answer's own nonce belongs.
const NONCE: &str = "{{nonce}}";

impl Api {
    /// `GET /openapi.json`.
    pub(super) fn openapi(&self) -> Answer {
        let found: Vec<_> =
            self.kinds.served().map(|served| (served, served.description(), served.view.namespaces())).collect();
        let described: Vec<_> = found
            .iter()
            .map(|(served, description, namespaces)| Described {
                kind: &served.kind,
                schema: &description.schema,
                path: self.kinds.path(served),
                namespaces: self::namespaces(served.kind.namespaced, *namespaces),
            })
            .collect();
        let document = document(&described);
        let document = if self.asks_for_token() { with_token(document) } else { document };
        let mut answer = answer::json(StatusCode::OK, document.to_string().into());
        // A kind that is found later comes into the document then.
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }
}

fn namespaces(namespaced: bool, served: Option<&[Arc<str>]>) -> Namespaces<'_> {
    match served {
        _ if !namespaced => Namespaces::None,
        Some(these) => Namespaces::These(these),
        None => Namespaces::All,
    }
}

/// `GET /docs`. Only what carries the nonce runs, and the page may ask nobody but its own origin.
pub(super) fn page() -> Answer {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut answer = Answer::new(Full::new(Bytes::from(PAGE.replace(NONCE, &nonce))));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The nonce is hexadecimal, so the policy is always a value.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body;

    use serde_json::json;
    use sidecar_core::kind::Kind;
    use sidecar_core::schema::Schema;

    use super::super::route::{Route, route};
    use super::*;

    #[test]
    fn each_path_of_the_document_leads_to_its_kind() {
        let kind = Kind {
            group: "a.b".to_owned(),
            version: "v1".to_owned(),
            kind: "K".to_owned(),
            plural: "ks".to_owned(),
            namespaced: true,
            has_spec: true,
            has_status: true,
            owned: true,
        };
        let openapi = json!({ "components": { "schemas": { "K": { "properties": { "spec": { "type": "object" } },
            "x-kubernetes-group-version-kind": [{ "group": "a.b", "version": "v1", "kind": "K" }] } } } });
        let schema = Schema::from_openapi(&openapi, "a.b", "v1", "K").unwrap();
        let served = Described { kind: &kind, schema: &schema, path: "ks.a.b", namespaces: Namespaces::All };
        let document = document(&[served]);
        let paths: Vec<_> =
            document["paths"].as_object().unwrap().keys().map(|path| path.replace("{id}", "x")).collect();
        let name = || "ks.a.b".into();
        let routes: Vec<_> = paths.iter().map(|path| route(path)).collect();
        let expected = [
            Route::Kinds,
            Route::Batch,
            Route::Collection { kind: name() },
            Route::Entity { kind: name(), id: "x".into() },
            Route::Status { kind: name(), id: "x".into() },
        ];
        assert_eq!(routes, expected.map(Some), "{paths:?}");
    }

    #[tokio::test]
    async fn the_page_loads_nothing_from_another_host_and_its_policy_forbids_it() {
        let answer = page();
        let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert!(answer.body().size_hint().exact().is_some());
        let page = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "one for the script, one for the style");
        for foreign in ["src=\"http", "href=\"http", "url(", "@import", "src=\"//"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn each_answer_has_a_nonce_of_its_own() {
        assert_ne!(page().headers()[CONTENT_SECURITY_POLICY], page().headers()[CONTENT_SECURITY_POLICY]);
    }

    #[test]
    fn a_cluster_scoped_kind_has_no_namespaces() {
        let one = [Arc::from("a")];
        assert_eq!(namespaces(false, None), Namespaces::None);
        assert_eq!(namespaces(true, None), Namespaces::All);
        assert_eq!(namespaces(true, Some(&one)), Namespaces::These(&one));
    }
}
