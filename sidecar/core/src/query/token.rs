//! The page token: where a list goes on, opaque to the caller. [`super`] uses it.
//!
//! base64url of: a format number, the last key shown as `NAMESPACE/ID` (`/ID` in a cluster scope), and a checksum. It holds nothing secret and
//! gives no right; the checksum only tells a token that was cut or altered from one that we gave, before it shows the wrong page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entity::Key;

/// Changes with the format, so that a token from another release is refused rather than misread.
const FORMAT: u8 = 1;

pub(super) fn write(key: &Key) -> String {
    let place = format!("{}/{}", key.namespace.as_deref().unwrap_or_default(), key.id);
    let mut bytes = Vec::with_capacity(place.len() + 5);
    bytes.push(FORMAT);
    bytes.extend_from_slice(place.as_bytes());
    bytes.extend_from_slice(&checksum(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn read(token: &str) -> Option<Key> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (rest, sum) = bytes.split_last_chunk::<4>()?;
    let (&format, place) = rest.split_first()?;
    if format != FORMAT || checksum(rest) != u32::from_be_bytes(*sum) {
        return None;
    }
    let (namespace, id) = std::str::from_utf8(place).ok()?.split_once('/')?;
    Some(Key { namespace: Some(namespace).filter(|namespace| !namespace.is_empty()).map(Into::into), id: id.into() })
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
