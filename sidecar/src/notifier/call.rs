//! One call of the notify hook, and what it came to.

use std::sync::Arc;
use std::time::Duration;

use contract::hook::HookName;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use sidecar_core::envelope::Envelope;
use sidecar_core::health::Standing;
use sidecar_core::hook::{Failure, Outcome, Verdict};
use sidecar_core::kind::Kind;
use sidecar_core::notices::message::{Message, message};
use sidecar_core::notices::{Ended, Taken};
use sidecar_core::recorder::{About, Action, Note, Reason};

use crate::events::Events;
use crate::hooks::{Call, Hooks};

/// How long it may take to notice that the app is away, once it has taken no connection. Until then nobody can say whether the attempt counts.
const DOUBT: Duration = Duration::from_secs(3);

/// What all calls of a term share.
pub(super) struct Caller {
    /// `PLURAL.GROUP`.
    pub(super) name: Arc<str>,
    pub(super) kind: Arc<Kind>,
    pub(super) envelope: Envelope,
    pub(super) path: Arc<str>,
    pub(super) deadline: Duration,
    pub(super) app: Hooks,
    pub(super) events: Events,
}

/// A call that has ended.
pub(super) struct Done {
    pub(super) taken: Taken,
    pub(super) ended: Ended,
}

impl Caller {
    /// The app will not be told this change any more.
    pub(super) fn given_up(&self, taken: &Taken) {
        let entity = &taken.notice.entity;
        let (ns, id, version) = (entity.key.namespace.as_deref(), &entity.key.id, taken.notice.version);
        tracing::warn!(kind = %self.name, ns, %id, %version, attempt = taken.attempt, "the app refuses a change, giving it up");
        let text = format!("the app refuses to be notified of version {version}; it is not told that change any more");
        let about = About::entity(&self.kind, &entity.key, &entity.uid);
        self.events.tell(&about, Note::warning(Reason::HookRejected, Action::Notify, text));
    }
}

/// Makes the call. An app that is not there is none.
pub(super) async fn call(caller: Arc<Caller>, taken: Taken) -> Done {
    let Message { headers, body } = message(&caller.envelope, &taken.notice);
    let headers: HeaderMap = headers
        .into_iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(&value).ok()?))
        })
        .collect();
    let call = Call {
        kind: Arc::clone(&caller.name),
        hook: HookName::Notify,
        path: Arc::clone(&caller.path),
        body,
        content_type: None,
        headers,
        attempt: taken.attempt,
        deadline: caller.deadline,
        trace: None,
    };
    let outcome = match caller.app.call(call).await {
        Ok(answer) => answer.outcome(),
        Err(Failure::Away) if is_away(&caller.app).await => return Done { taken, ended: Ended::Untried },
        Err(failure) => Outcome::Failed(failure),
    };
    let ended = match outcome.verdict() {
        Verdict::Done => Ended::Acknowledged,
        Verdict::Failing { asked } => Ended::Failed(asked),
        Verdict::Rejected => Ended::Rejected,
    };
    Done { taken, ended }
}

/// Whether the app that took no connection is away as a whole.
async fn is_away(app: &Hooks) -> bool {
    let mut health = app.health();
    let noticed = health.wait_for(|standing| matches!(standing, Standing::Away { .. }));
    tokio::time::timeout(DOUBT, noticed).await.is_ok_and(|noticed| noticed.is_ok())
}
