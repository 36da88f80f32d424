//! Our programs, built when they are needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, bail};
use cargo_metadata::Message;

/// The programs of the product and the sample.
const PROGRAMS: [&str; 4] = ["kab-sidecar", "kab", "todo-app", "todo-table"];

/// Names a folder with programs of ours that were built before: they are taken from there, and nothing is built. For a run of hours, which must not see
/// them change.
pub const FOLDER: &str = "KAB_PROGRAMS";

/// The path of a program of ours (one of [`PROGRAMS`]), built in the profile that this code was built in.
///
/// # Errors
/// When cargo cannot build it, or no package has a program of that name.
pub fn path(program: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let path = PathBuf::from(folder).join(program);
        anyhow::ensure!(path.is_file(), "{FOLDER} has no {program}: there is no {}", path.display());
        return Ok(path);
    }
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    match BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
        Ok(built) => built.get(program).cloned().with_context(|| format!("no program is named {program}")),
        Err(error) => bail!("{error}"),
    }
}

/// A cargo that does not see what the cargo that runs us has set for us alone. Some build scripts ask to be run again when these
/// variables change, and with them nearly everything would be built anew, here and again in the next call from a shell.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| ours.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds the programs of the product and the sample: one cargo call, which is a check of time stamps when all is there.
fn build() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in the project's root")?;
    let mut cargo = cargo();
    cargo
        .args([
            "build",
            "--package=sidecar",
            "--package=cli",
            "--package=sample-app",
            "--message-format=json-render-diagnostics",
        ])
        .args(PROGRAMS.iter().map(|program| format!("--bin={program}")))
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if cfg!(debug_assertions) {
        // Nothing of xtask is built by this, but its dependencies' features are switched on, as they are for whoever calls this from a
        // test or the demo. Else every library with another set of features would be built a second time.
        cargo.args(["--package=xtask", "--quiet"]);
    } else {
        cargo.arg("--release");
    }
    let output = cargo.output().context("failed to run cargo")?;
    if !output.status.success() {
        bail!("failed to build our programs: {}", output.status);
    }
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message.context("failed to read cargo's messages")?
            && let Some(executable) = artifact.executable
        {
            built.insert(artifact.target.name, executable.into_std_path_buf());
        }
    }
    Ok(built)
}
