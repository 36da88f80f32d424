//! The page token: where a list goes on, opaque to the caller. [`super`] uses it.
//!
//! base64url of: a format number, a hash of the list that it belongs to, the place as JSON, and a checksum. It holds nothing that the page before
//! did not, and gives no right; the checksum only tells a token that was cut or altered from one that we gave, before it shows the wrong page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entity::Key;
use crate::fnv;
use crate::order::{Place, SortValue};

/// Changes with the format, so that a token from another release is refused rather than misread.
const FORMAT: u8 = 2;

pub(super) fn write(place: &Place, list: u64) -> String {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&list.to_be_bytes());
    let place = serde_json::json!([place.key.namespace.as_deref(), &*place.key.id, place.values]);
    bytes.extend_from_slice(place.to_string().as_bytes());
    bytes.extend_from_slice(&checksum(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place; `terms` is how many values it must have.
pub(super) fn read(token: &str, list: u64, terms: usize) -> Result<Place, &'static str> {
    const FOREIGN: &str = "it is not one that a list gave; leave it out to begin with the first page";
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| FOREIGN)?;
    let (rest, sum) = bytes.split_last_chunk::<8>().ok_or(FOREIGN)?;
    let (&format, behind) = rest.split_first().ok_or(FOREIGN)?;
    if format != FORMAT || checksum(rest) != u64::from_be_bytes(*sum) {
        return Err(FOREIGN);
    }
    let (of, place) = behind.split_first_chunk::<8>().ok_or(FOREIGN)?;
    if u64::from_be_bytes(*of) != list {
        return Err(
            "it belongs to a list with another namespace, labelSelector, filter or orderBy; send these as for the page before",
        );
    }
    let (namespace, id, values): (Option<Box<str>>, Box<str>, Vec<SortValue>) =
        serde_json::from_slice(place).map_err(|_| FOREIGN)?;
    if values.len() != terms {
        return Err(FOREIGN);
    }
    Ok(Place { values, key: Key { namespace: namespace.map(Into::into), id: id.into() } })
}

fn checksum(bytes: &[u8]) -> u64 {
    fnv::mix(fnv::fold(fnv::BASIS, bytes))
}
