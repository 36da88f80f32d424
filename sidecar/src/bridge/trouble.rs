//! What can go wrong with Kafka: what it means for the ledger, what a person should do, and a word for the metrics.
//!
//! Owns the classification of librdkafka's errors. Every call of the worker ends well or with a [`Trouble`].

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sidecar_core::ledger::Failure;

/// A call that was given up because the connection is refused; why comes by [`Trouble::because`].
const REFUSED: &str = "Kafka refuses the connection";

/// Kinds of trouble, a closed set for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// No broker answers, or not in time.
    Away,
    /// Another producer took over.
    Fenced,
    /// A record is larger than the topic takes.
    TooLarge,
    /// Kafka does not let us.
    Denied,
    /// The topic is not fit for it.
    Topic,
    /// The topic has fewer partitions than configured: said, and broadcast to all the same.
    Partitions,
    /// The sidecar is ending.
    Stopped,
    /// Anything else.
    Other,
}

/// A Kafka call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    pub(super) cause: Cause,
    /// For people: what and what to do.
    pub(super) detail: String,
}

impl Trouble {
    pub(super) fn new(failure: Failure, cause: Cause, detail: impl Into<String>) -> Self {
        Self { failure, cause, detail: detail.into() }
    }

    /// `doing` is a noun phrase: "failed to DOING: …".
    pub(super) fn of(doing: &str, error: &KafkaError) -> Self {
        let code = code(error);
        let cause = code.map_or(Cause::Other, cause);
        let failure = if cause == Cause::Fenced { Failure::Fenced } else { Failure::Renew };
        let advice = match cause {
            Cause::Denied => {
                "; give the sidecar's user the rights that the topic, kab.positions and its transactional id need"
            }
            Cause::Fenced => {
                "; another sidecar broadcasts the same kind of the same cluster and namespaces: only one can at a time"
            }
            _ => "",
        };
        let text = match error {
            KafkaError::Transaction(error) => error.string(),
            other => code.map_or_else(|| other.to_string(), |code| code.to_string()),
        };
        Self { failure, cause, detail: format!("failed to {doing}: {text}{advice}") }
    }

    /// The same trouble, with why Kafka lately refused a connection where that explains a call that only ran out of time.
    pub(super) fn because(self, refusal: Option<String>) -> Self {
        match refusal {
            Some(refusal) if matches!(self.cause, Cause::Away | Cause::Other) || self.detail == REFUSED => {
                Self { cause: Cause::Denied, detail: format!("{REFUSED}: {refusal}"), ..self }
            }
            _ => self,
        }
    }

    /// The topic of that name is another one than was sent to.
    pub(super) fn made_anew(topic: &str) -> Self {
        let detail = format!("topic {topic} was deleted and made anew, so all that exists is told to it again");
        Self::new(Failure::Renew, Cause::Topic, detail)
    }

    pub(super) fn refused() -> Self {
        Self::new(Failure::Renew, Cause::Denied, REFUSED)
    }

    pub(super) fn stopped() -> Self {
        Self::new(Failure::Renew, Cause::Stopped, "the sidecar is ending")
    }
}

/// The code in an error; the library's own accessor does not look into transactions.
pub(super) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    }
}

/// The kind of trouble that a code means.
pub(super) fn cause(code: RDKafkaErrorCode) -> Cause {
    use RDKafkaErrorCode as Code;
    match code {
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::Resolve
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::NotCoordinator
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::RequestTimedOut
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::BrokerNotAvailable
        | Code::NetworkException => Cause::Away,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Cause::Fenced,
        Code::MessageSizeTooLarge => Cause::TooLarge,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::SSL => Cause::Denied,
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::InvalidReplicationFactor
        | Code::InvalidPartitions
        | Code::PolicyViolation => Cause::Topic,
        _ => Cause::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fences_us_waits_longer_than_what_is_away() {
        let of = |code| Trouble::of("x", &KafkaError::MessageProduction(code));
        let fenced = of(RDKafkaErrorCode::ProducerFenced);
        assert_eq!((fenced.failure, fenced.cause), (Failure::Fenced, Cause::Fenced));
        let away = of(RDKafkaErrorCode::AllBrokersDown);
        assert_eq!((away.failure, away.cause), (Failure::Renew, Cause::Away));
        assert_eq!(of(RDKafkaErrorCode::TopicAuthorizationFailed).cause, Cause::Denied);
    }

    #[test]
    fn a_refused_connection_explains_only_what_ran_out_of_time() {
        let of = |code| Trouble::of("open", &KafkaError::Global(code)).because(Some("wrong password".to_owned()));
        assert_eq!(of(RDKafkaErrorCode::OperationTimedOut).detail, "Kafka refuses the connection: wrong password");
        assert!(!of(RDKafkaErrorCode::TopicAuthorizationFailed).detail.contains("password"));
    }
}
