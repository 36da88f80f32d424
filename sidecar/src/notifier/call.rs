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
use sidecar_core::notices::message::{Letter, letter, message};
use sidecar_core::notices::{Ended, Taken};
use sidecar_core::recorder::{About, Action, Note, Reason};

use tokio::sync::{mpsc, oneshot};

use crate::events::Events;
use crate::hooks::{Call, Hooks};

/// How long it may take to notice that the app is away, once it has taken no connection. Until then nobody can say whether the attempt counts.
const DOUBT: Duration = Duration::from_secs(3);

/// Where letters go; who sends them says when Kafka has one.
pub type Letters = mpsc::Sender<(Letter, oneshot::Sender<()>)>;

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
    pub(super) attempts: Option<u32>,
    pub(super) letters: Option<Letters>,
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
    let message = message(&caller.envelope, &taken.notice);
    let headers: HeaderMap = message
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value).ok()?))
        })
        .collect();
    let call = Call {
        kind: Arc::clone(&caller.name),
        hook: HookName::Notify,
        path: Arc::clone(&caller.path),
        body: message.body.clone(),
        content_type: None,
        headers,
        attempt: taken.attempt,
        deadline: caller.deadline,
        trace: crate::spans::of(taken.notice.version),
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
    let ends = match ended {
        Ended::Rejected => true,
        Ended::Failed(_) => caller.attempts.is_some_and(|most| taken.attempt >= most),
        Ended::Acknowledged | Ended::Untried => false,
    };
    if let Some(letters) = caller.letters.as_ref().filter(|_| ends) {
        let why = match outcome {
            Outcome::Answered { status, .. } => status.to_string(),
            Outcome::Unusable => "unusable".to_owned(),
            Outcome::Failed(failure) => failure.to_string(),
        };
        let (sent, has) = oneshot::channel();
        let letter = letter(&taken.notice, &message, &why, taken.attempt);
        // Nothing is given up before the letter is there; who sends them ends with the process.
        if letters.send((letter, sent)).await.is_err() || has.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
    Done { taken, ended }
}

/// Whether the app that took no connection is away as a whole.
async fn is_away(app: &Hooks) -> bool {
    let mut health = app.health();
    let noticed = health.wait_for(|standing| matches!(standing, Standing::Away { .. }));
    tokio::time::timeout(DOUBT, noticed).await.is_ok_and(|noticed| noticed.is_ok())
}
