//! Tests of the producer, against the mock broker of librdkafka.
