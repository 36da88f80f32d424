//! Tells people by Kubernetes Events what is wrong with a broadcast that somebody has to put right, and when it is.
//!
//! Owns which trouble is one for people: Kafka being away is none. The broadcast calls it wherever it changes its readiness.

use sidecar_core::recorder::{About, Action, Note, Reason};

use crate::bridge::trouble::Cause;
use crate::events::Events;

/// Tells about one broadcast.
#[derive(Debug, Clone)]
pub struct Teller {
    events: Events,
    about: About,
    told: Option<Reason>,
}

impl Teller {
    /// `about` is what Events about this broadcast are about.
    pub fn new(events: Events, about: About) -> Self {
        Self { events, about, told: None }
    }

    /// Something is wrong. Each time is told: Events count.
    pub(super) fn wrong(&mut self, cause: Cause, detail: &str) {
        if let Some(reason) = reason(cause) {
            self.tell(reason, detail);
        }
    }

    /// All is well, except for what is to be said all the same.
    pub(super) fn well(&mut self, remark: Option<&str>) {
        match remark {
            Some(_) if self.told == Some(Reason::TooFewPartitions) => {}
            Some(remark) => self.tell(Reason::TooFewPartitions, remark),
            None if self.told.take().is_some() => {
                let text = "the broadcast goes on";
                self.events.tell(&self.about, Note::normal(Reason::BroadcastRecovered, Action::Broadcast, text));
            }
            None => {}
        }
    }

    fn tell(&mut self, reason: Reason, detail: &str) {
        self.told = Some(reason.clone());
        self.events.tell(&self.about, Note::warning(reason, Action::Broadcast, detail));
    }
}

/// What a person can do something about.
fn reason(cause: Cause) -> Option<Reason> {
    match cause {
        Cause::TooLarge => Some(Reason::RecordTooLarge),
        Cause::Denied => Some(Reason::KafkaDenied),
        Cause::Topic => Some(Reason::TopicUnfit),
        Cause::Partitions => Some(Reason::TooFewPartitions),
        Cause::Away | Cause::Fenced | Cause::Stopped | Cause::Other => None,
    }
}
