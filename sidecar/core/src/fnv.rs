//! FNV-1a, 64 bits: a hash that is the same in every process and release. It protects nothing against intent.

/// What the hash of nothing is.
pub(crate) const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of what was hashed before and `bytes` behind it.
pub(crate) fn fold(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Spreads each bit over all others (the last step of splitmix64).
pub(crate) fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
