//! What a Kubernetes Event says, and about what. The recorder takes these from whoever has something to tell.

use crate::entity::Key;
use crate::kind::Kind;

/// The API server takes no longer note.
const MESSAGE_BYTES: usize = 1024;
/// The API server takes no longer reason.
const REASON_BYTES: usize = 128;

/// The object that an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct About {
    /// `GROUP/VERSION`, or `VERSION` in the core group.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; absent for what lives outside of namespaces.
    pub namespace: Option<String>,
    /// metadata.name.
    pub name: String,
    /// metadata.uid, where it is known: `kubectl describe` finds an Event by it.
    pub uid: Option<String>,
}

impl About {
    /// An entity.
    pub fn entity(kind: &Kind, key: &Key, uid: &str) -> Self {
        Self {
            api_version: kind.api_version(),
            kind: kind.kind.clone(),
            namespace: key.namespace.as_deref().map(str::to_owned),
            name: key.id.to_string(),
            uid: Some(uid.to_owned()),
        }
    }

    /// A Lease, for what concerns a kind as a whole.
    pub fn lease(namespace: &str, name: &str) -> Self {
        Self {
            api_version: "coordination.k8s.io/v1".to_owned(),
            kind: "Lease".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
            uid: None,
        }
    }

    /// A pod, for what concerns a sidecar as a whole.
    pub fn pod(namespace: &str, name: &str, uid: Option<&str>) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
            uid: uid.map(str::to_owned),
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Severity {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Why there is an Event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A hook refused an entity for good: nothing is tried until the entity changes.
    HookRejected,
    /// A hook fails, and is tried again.
    HookFailing,
    /// What was tried for long does not come to an end.
    Stalled,
    /// What failed works again.
    Recovered,
    /// The app does not answer.
    AppAway,
    /// The app answers again.
    AppBack,
    /// Another application owns the kind.
    OwnedElsewhere,
    /// The topic is missing or not fit for a broadcast.
    TopicUnfit,
    /// The topic has fewer partitions than configured.
    TooFewPartitions,
    /// Kafka does not let the sidecar.
    KafkaDenied,
    /// A record is larger than the topic takes.
    RecordTooLarge,
    /// The broadcast goes on.
    BroadcastRecovered,
    /// Little is left of a budget.
    BudgetLow,
    /// A budget has room again.
    BudgetRestored,
    /// The app's own.
    Custom(Custom),
}

impl Reason {
    /// As the Event has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Custom(custom) => &custom.0,
            ours => ours.label(),
        }
    }

    /// For metrics: all of the app's own are one.
    pub fn label(&self) -> &'static str {
        match self {
            Self::HookRejected => "HookRejected",
            Self::HookFailing => "HookFailing",
            Self::Stalled => "Stalled",
            Self::Recovered => "Recovered",
            Self::AppAway => "AppAway",
            Self::AppBack => "AppBack",
            Self::OwnedElsewhere => "OwnedElsewhere",
            Self::TopicUnfit => "TopicUnfit",
            Self::TooFewPartitions => "TooFewPartitions",
            Self::KafkaDenied => "KafkaDenied",
            Self::RecordTooLarge => "RecordTooLarge",
            Self::BroadcastRecovered => "BroadcastRecovered",
            Self::BudgetLow => "BudgetLow",
            Self::BudgetRestored => "BudgetRestored",
            Self::Custom(_) => "custom",
        }
    }
}

/// A reason that an app gave: a CamelCase word.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Custom(String);

/// Why a text is no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one word in CamelCase of at most {REASON_BYTES} letters and digits, such as PaymentMissing")]
pub struct NoReason;

impl TryFrom<&str> for Custom {
    type Error = NoReason;

    fn try_from(text: &str) -> Result<Self, NoReason> {
        let begins = text.starts_with(|first: char| first.is_ascii_uppercase());
        if begins && text.len() <= REASON_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoReason)
        }
    }
}

/// What the sidecar was about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Calling the reconcile hook, and what follows from its answer.
    Reconcile,
    /// Calling the finalize hook.
    Finalize,
    /// Calling the notify hook.
    Notify,
    /// Calling the app at all.
    CallApp,
    /// Taking part in an election.
    Lead,
    /// Putting changes into Kafka.
    Broadcast,
    /// Counting what a budget allows.
    Count,
}

impl Action {
    /// As the Event has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconcile => "Reconcile",
            Self::Finalize => "Finalize",
            Self::Notify => "Notify",
            Self::CallApp => "CallApp",
            Self::Lead => "Lead",
            Self::Broadcast => "Broadcast",
            Self::Count => "Count",
        }
    }
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How bad it is.
    pub severity: Severity,
    /// Why, in a word.
    pub reason: Reason,
    /// What was being done.
    pub action: Action,
    /// For people. What is longer than Kubernetes takes is cut.
    pub message: String,
}

impl Note {
    /// All is well.
    pub fn normal(reason: Reason, action: Action, message: impl Into<String>) -> Self {
        Self { severity: Severity::Normal, reason, action, message: message.into() }
    }

    /// Somebody should look.
    pub fn warning(reason: Reason, action: Action, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, reason, action, message: message.into() }
    }

    /// With a message that fits.
    pub(super) fn cut(mut self) -> Self {
        const MORE: char = '…';
        if self.message.len() > MESSAGE_BYTES {
            let end = self.message.floor_char_boundary(MESSAGE_BYTES - MORE.len_utf8());
            self.message.truncate(end);
            self.message.push(MORE);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_app_s_reason_is_one_word_in_camel_case() {
        for good in ["Paid", "P", "HTTP2Failed"] {
            assert_eq!(Reason::Custom(good.try_into().unwrap()).as_str(), good);
        }
        let long = "A".repeat(129);
        for bad in ["", "paid", "Not paid", "Not-paid", "Größe", "2Late", long.as_str()] {
            assert_eq!(Custom::try_from(bad), Err(NoReason), "{bad}");
        }
        assert_eq!(Reason::Custom("Paid".try_into().unwrap()).label(), "custom");
    }

    proptest! {
        #[test]
        fn a_message_is_cut_at_a_character_and_else_left_alone(message in "\\PC{0,1200}") {
            let note = Note::warning(Reason::Stalled, Action::Reconcile, message.clone()).cut();
            prop_assert!(note.message.len() <= MESSAGE_BYTES);
            if message.len() <= MESSAGE_BYTES {
                prop_assert_eq!(note.message, message);
            } else {
                prop_assert!(note.message.len() > MESSAGE_BYTES - 8);
                prop_assert!(message.starts_with(note.message.trim_end_matches('…')));
            }
        }
    }
}
