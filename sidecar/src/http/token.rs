//! The bearer token that callers must show, where one is configured: kept in a file, read again when the file changes.
//!
//! A projected secret changes under a running sidecar. A file that cannot be read, or is empty, for a moment leaves the token that was read before in
//! force. The token is compared in constant time, and never logged or told. `app` opens it, `access` asks it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);
/// More is no token.
const LONGEST: u64 = 8 << 10;

/// Why there is no token to compare with.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("failed to read the token in {file} (api.tokenFile): {source}")]
    File {
        /// As configured.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds nothing that a header could carry.
    #[error("{file} (api.tokenFile) holds no token: one line of at most 8192 visible ASCII characters")]
    Unusable {
        /// As configured.
        file: PathBuf,
    },
}

/// The token of a file.
#[derive(Debug)]
pub struct Token {
    file: PathBuf,
    state: Mutex<State>,
}

struct State {
    token: Box<[u8]>,
    stamp: Stamp,
    looked: Instant,
}

/// Whoever logs the state by mistake logs no token.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

/// What tells one content of the file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Token {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or holds no token.
    pub fn open(file: &Path) -> Result<Self, TokenError> {
        let (token, stamp) = read(file)?;
        Ok(Self { file: file.to_owned(), state: Mutex::new(State { token, stamp, looked: Instant::now() }) })
    }

    /// Whether a request shows the token.
    pub(super) fn is_shown(&self, headers: &HeaderMap, now: Instant) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(one), None) = (given.next(), given.next()) else { return false };
        let bytes = one.as_bytes();
        let Some((scheme, shown)) = bytes.split_at_checked(7) else { return false };
        let mut state = self.state.lock();
        self.look(&mut state, now);
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(shown.trim_ascii().ct_eq(&state.token))
    }

    fn look(&self, state: &mut State, now: Instant) {
        if now.saturating_duration_since(state.looked) < LOOK {
            return;
        }
        state.looked = now;
        if stamp(&self.file).is_ok_and(|stamp| stamp == state.stamp) {
            return;
        }
        match read(&self.file) {
            Ok((token, stamp)) => {
                tracing::info!(file = %self.file.display(), "the token was changed");
                (state.token, state.stamp) = (token, stamp);
            }
            Err(error) => tracing::warn!(%error, "the token of before stays in force"),
        }
    }
}

fn stamp(file: &Path) -> io::Result<Stamp> {
    let found = fs::metadata(file)?;
    Ok(Stamp { inode: found.ino(), size: found.size(), modified: (found.mtime(), found.mtime_nsec()) })
}

fn read(file: &Path) -> Result<(Box<[u8]>, Stamp), TokenError> {
    let failed = |source| TokenError::File { file: file.to_owned(), source };
    // Before the content: what changes in between is read again.
    let stamp = stamp(file).map_err(failed)?;
    let unusable = || TokenError::Unusable { file: file.to_owned() };
    if stamp.size > LONGEST {
        return Err(unusable());
    }
    let content = fs::read(file).map_err(failed)?;
    let token = content.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(unusable());
    }
    Ok((token.into(), stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(token: &Token, value: &str, now: Instant) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        token.is_shown(&headers, now)
    }

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("kab-token-{}-{name}", std::process::id()))
    }

    #[test]
    fn only_the_very_token_is_let_in() {
        let file = file("exact");
        fs::write(&file, "s3cret\n").unwrap();
        let token = Token::open(&file).unwrap();
        let now = Instant::now();
        for good in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "] {
            assert!(shown(&token, good, now), "{good}");
        }
        for bad in
            ["s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Bearer S3CRET", "Basic s3cret", ""]
        {
            assert!(!shown(&token, bad, now), "{bad}");
        }
        assert!(!token.is_shown(&HeaderMap::new(), now));
        let mut two = HeaderMap::new();
        two.append(AUTHORIZATION, "Bearer s3cret".parse().unwrap());
        two.append(AUTHORIZATION, "Bearer other".parse().unwrap());
        assert!(!token.is_shown(&two, now), "two of them");
        assert!(!format!("{token:?}").contains("s3cret"));
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_missing_one_changes_nothing() {
        let (file, next) = (file("changed"), file("next"));
        fs::write(&file, "one").unwrap();
        let token = Token::open(&file).unwrap();
        let now = Instant::now();
        fs::write(&next, "two").unwrap();
        fs::rename(&next, &file).unwrap();
        assert!(shown(&token, "Bearer one", now), "it looks once a second only");
        assert!(shown(&token, "Bearer two", now + 2 * LOOK) && !shown(&token, "Bearer one", now + 2 * LOOK));
        fs::remove_file(&file).unwrap();
        assert!(shown(&token, "Bearer two", now + 4 * LOOK));
    }

    #[test]
    fn a_file_without_a_token_is_refused_by_its_name() {
        let file = file("unusable");
        for content in ["", "\n", "two words", "\u{e9}"] {
            fs::write(&file, content).unwrap();
            assert!(matches!(Token::open(&file), Err(TokenError::Unusable { .. })), "{content:?}");
        }
        fs::remove_file(&file).unwrap();
        let missing = Token::open(&file).unwrap_err().to_string();
        assert!(missing.contains("api.tokenFile") && missing.contains("unusable"), "{missing}");
    }
}
