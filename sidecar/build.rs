//! How `kab-sidecar` is linked: with its relocations packed, which an idle process otherwise reads once, all 1.5 MiB of them, and keeps.
//!
//! The dynamic linker of glibc 2.36 and later understands that. So it is done where that is what the program is built for; elsewhere nothing changes.

use std::env;
use std::process::Command;

/// The first glibc that can load packed relocations.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of = |name: &str| env::var(name).unwrap_or_default();
    let for_linux = of("CARGO_CFG_TARGET_OS") == "linux" && of("CARGO_CFG_TARGET_ENV") == "gnu";
    // A build for another machine says nothing of the glibc there.
    let for_here = of("HOST") == of("TARGET");
    if for_linux && for_here && glibc().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bin=kab-sidecar=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc, from "glibc 2.36".
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let told = String::from_utf8(told).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
