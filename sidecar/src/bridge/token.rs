//! The token for SASL's mechanism OAUTHBEARER, from a file that somebody keeps fresh, such as a projected service account token.
//!
//! Reads it whenever librdkafka asks: at first and at four fifths of its life. Believes what the token says of its own end; that it is
//! genuine is for the broker to judge.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

use crate::bridge::secrets::Secrets;

/// How soon a token that does not tell its end is read again.
const UNTOLD: Duration = Duration::from_secs(300);

/// Where the token stands.
#[derive(Debug, Clone)]
pub(super) struct TokenFile {
    pub(super) path: PathBuf,
    pub(super) secrets: Secrets,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("failed to read {path} (kafka.tokenFile): {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path} (kafka.tokenFile) is empty")]
    Empty { path: PathBuf },
}

/// What a JWT says of itself, as far as it is of use here.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
}

impl TokenFile {
    /// The token as it is now.
    pub(super) fn read(&self, now: SystemTime) -> Result<OAuthToken, TokenError> {
        let text =
            self.secrets.read(&self.path).map_err(|source| TokenError::File { path: self.path.clone(), source })?;
        let token = text.trim();
        if token.is_empty() {
            return Err(TokenError::Empty { path: self.path.clone() });
        }
        let claims = claims(token).unwrap_or_default();
        let untold = || (now + UNTOLD).duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let lifetime_ms = match claims.exp {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "milliseconds of a date; a float converts by saturating"
            )]
            Some(seconds) => (seconds * 1000.0) as i64,
            None => i64::try_from(untold()).unwrap_or(i64::MAX),
        };
        // librdkafka wants a name; the broker goes by the token's.
        let principal_name = claims.sub.unwrap_or_else(|| "kab-sidecar".to_owned());
        Ok(OAuthToken { token: token.to_owned(), principal_name, lifetime_ms })
    }
}

/// The middle part of a JWT; nothing of a token of another kind.
fn claims(token: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(name: &str, text: &str) -> Result<OAuthToken, TokenError> {
        let path = std::env::temp_dir().join(format!("kab-token-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let read =
            TokenFile { path: path.clone(), secrets: Secrets::default() }.read(UNIX_EPOCH + Duration::from_secs(1000));
        std::fs::remove_file(path).unwrap();
        read
    }

    #[test]
    fn a_token_tells_its_end_and_its_name() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"system:serviceaccount:shop:todo","exp":1893456000,"iat":1}"#);
        let token = token_of("jwt", &format!("e30.{payload}.sig\n")).unwrap();
        assert_eq!(token.lifetime_ms, 1_893_456_000_000);
        assert_eq!(token.principal_name, "system:serviceaccount:shop:todo");
        assert!(token.token.ends_with(".sig"), "without the line's end");
    }

    #[test]
    fn a_token_of_another_kind_is_read_again_soon() {
        let token = token_of("opaque", "opaque").unwrap();
        assert_eq!((token.lifetime_ms, token.principal_name.as_str()), (1_300_000, "kab-sidecar"));
        assert!(matches!(token_of("empty", " \n"), Err(TokenError::Empty { .. })));
    }
}
