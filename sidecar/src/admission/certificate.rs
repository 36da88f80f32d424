//! Looks at the files of the webhook's certificate, and says in readiness and metrics what becomes of it.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use runtime::readiness::Part;
use runtime::tls::{Certificate, Look, TlsError, Validity};
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// Between two looks at the files. A kubelet brings a new secret within a minute or two.
const LOOK: Duration = Duration::from_secs(1);
/// Who is to replace it should have done so before.
const SOON: i64 = 7 * 24 * 3600;

/// Keeps the certificate that is shown the one that is in the files.
pub struct Renewal {
    certificate: Certificate,
    /// Up from the first certificate on: without one nobody can be answered.
    served: Part,
    /// Whether what is shown can be trusted, and what is in the files can be shown.
    sound: Part,
    metrics: Metrics,
    validity: Option<Validity>,
    trouble: Option<String>,
}

impl Renewal {
    /// Of a certificate; looks at once, so that it is there with the first handshake.
    pub fn new(certificate: Certificate, served: Part, sound: Part, metrics: Metrics) -> Self {
        let mut renewal = Self { certificate, served, sound, metrics, validity: None, trouble: None };
        renewal.look(Timestamp::now());
        renewal
    }

    /// Looks until `stop`.
    ///
    /// # Errors
    /// None: what cannot be read is told.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            self.look(Timestamp::now());
        }
        Ok(())
    }

    fn look(&mut self, now: Timestamp) {
        match self.certificate.look() {
            Look::Same => {}
            Look::New(validity) => {
                tracing::info!(until = %second(validity.until), "the admission webhook shows a certificate that it has read");
                self.validity = Some(validity);
                self.trouble = None;
                self.metrics.certificate_until(validity.until);
                self.served.up();
            }
            Look::Unusable(error) => {
                let trouble = chain(&error);
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(error = %trouble, "the admission webhook cannot use the certificate's files");
                }
                self.trouble = Some(trouble);
            }
        }
        match state(self.validity, self.trouble.as_deref(), now.as_second()) {
            Ok(detail) => self.sound.up_with(detail),
            Err(detail) => {
                if self.validity.is_none() {
                    self.served.down(detail.clone());
                }
                self.sound.down(detail);
            }
        }
    }
}

/// What there is to say of the certificate that is shown and of its files.
fn state(validity: Option<Validity>, trouble: Option<&str>, now: i64) -> Result<String, String> {
    let Some(validity) = validity else {
        return Err(trouble.unwrap_or("not read yet").to_owned());
    };
    let until = second(validity.until);
    match trouble {
        _ if now > validity.until => Err(format!("the certificate ended at {until}: the API server refuses it")),
        _ if now < validity.from => {
            Err(format!("the certificate begins at {}: until then the API server refuses it", second(validity.from)))
        }
        Some(trouble) => Err(format!("{trouble}; still shown is the certificate that ends at {until}")),
        None if validity.until - now < SOON => Ok(format!("the certificate ends soon, at {until}")),
        None => Ok(format!("the certificate ends at {until}")),
    }
}

fn second(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

fn chain(error: &TlsError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_certificate_goes_with_time() {
        let validity = Some(Validity { from: 1_000_000, until: 9_000_000 });
        for (validity, trouble, now, expected) in [
            (None, Some("failed to read /tls.crt: gone"), 0, Err("failed to read /tls.crt: gone")),
            (validity, None, 2_000_000, Ok("the certificate ends at 1970-04-15T04:00:00Z")),
            (validity, None, 8_900_000, Ok("the certificate ends soon, at")),
            (validity, None, 9_000_001, Err("the certificate ended at")),
            (validity, None, 999_999, Err("the certificate begins at 1970-01-12T13:46:40Z")),
            (validity, Some("half"), 2_000_000, Err("half; still shown is the certificate that ends at")),
            (validity, Some("half"), 9_000_001, Err("the certificate ended at")),
        ] {
            let told = state(validity, trouble, now);
            let fits = match (&told, expected) {
                (Ok(told), Ok(expected)) | (Err(told), Err(expected)) => told.starts_with(expected),
                _ => false,
            };
            assert!(fits, "{told:?}, not {expected:?}");
        }
    }
}
