//! Reads the project's files. Every check of this test binary goes through here.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The project's root folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the project's root").to_owned()
}

/// The files that git tracks or would track, below `folder`, whose names end with `suffix`: (path from the root, text).
pub(crate) fn files(folder: &str, suffix: &str) -> Vec<(String, String)> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", folder])
        .current_dir(root())
        .output()
        .expect("git lists the project's files: install git");
    assert!(listing.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listing.stderr));
    let listing = String::from_utf8(listing.stdout).expect("paths are UTF-8");
    let files: Vec<_> = listing
        .lines()
        .filter(|path| path.ends_with(suffix))
        .filter_map(|path| std::fs::read_to_string(root().join(path)).ok().map(|text| (path.to_owned(), text)))
        .collect();
    assert!(!files.is_empty(), "no file in {folder} ends with {suffix}: the check looks at nothing");
    files
}

/// All Rust sources.
pub(crate) fn sources() -> Vec<(String, String)> {
    files(".", ".rs")
}

/// The part of a source before its tests.
pub(crate) fn before_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// Fails with every finding, one a line.
pub(crate) fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
