//! Histories of operations on entities, and whether they are linearizable: what everybody saw fits one order of everything, in which each
//! operation took effect between its call and its return.
//!
//! Owns how a history is recorded; what an entity may do and the checking are Porcupine's and `tests/linearizability/main.go`'s.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// An entity that must not be there.
    Create,
    /// The whole of it, there or not.
    Replace,
    /// A part of it; it must be there.
    Patch,
    /// Away with it.
    Delete,
    /// From any cache, or past it.
    Read,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect, or something was read.
    Done,
    /// It is there already.
    Exists,
    /// It is not there.
    Absent,
    /// The version that it was for is not the present one.
    Stale,
    /// No answer: it may have taken effect, or may yet.
    Unknown,
}

/// One operation. Times are in nanoseconds from any one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who did it.
    pub client: usize,
    /// Before it was sent. Of a read that had to see at least some version: before the write of that version was sent.
    pub call: i64,
    /// After it was answered.
    pub answered: i64,
    /// What it was done to.
    pub entity: String,
    /// What was done.
    pub deed: Deed,
    /// The version that must be the present one; 0 where none need be.
    pub base: i64,
    /// Of a read: the least version that may be seen.
    pub at_least: i64,
    /// What was written or read.
    pub value: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The version written or read.
    pub version: i64,
}

impl Operation {
    fn json(&self) -> Value {
        json!({
            "client": self.client,
            "call": self.call,
            "return": self.answered,
            "entity": self.entity,
            "do": format!("{:?}", self.deed).to_lowercase(),
            "base": self.base,
            "atLeast": self.at_least,
            "value": self.value,
            "outcome": format!("{:?}", self.outcome).to_lowercase(),
            "version": self.version,
        })
    }
}

/// The checker, built.
#[derive(Debug)]
pub struct Checker<'a> {
    folder: &'a Path,
}

impl<'a> Checker<'a> {
    /// Builds the checker into a folder, in which it also draws what it refuses.
    ///
    /// # Errors
    /// When Go is missing or cannot build it.
    pub fn build(folder: &'a Path) -> anyhow::Result<Self> {
        let built = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(folder.join("linearizability"))
            .arg(".")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/linearizability"))
            // The committed go.sum decides.
            .env("GOFLAGS", "-mod=readonly")
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .output()
            .context("failed to run go, which builds the checker: install golang-go (1.21 or newer)")?;
        if !built.status.success() {
            bail!("failed to build the checker of histories:\n{}", String::from_utf8_lossy(&built.stderr));
        }
        Ok(Self { folder })
    }

    /// `None` when the history is linearizable, else which entities' histories are not.
    ///
    /// # Errors
    /// When it cannot tell.
    pub fn refusal(&self, history: &[Operation]) -> anyhow::Result<Option<String>> {
        let history = Value::Array(history.iter().map(Operation::json).collect()).to_string();
        let mut checker = Command::new(self.folder.join("linearizability"))
            .arg(self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to run the checker of histories")?;
        checker.stdin.take().context("the checker reads the history")?.write_all(history.as_bytes())?;
        let output = checker.wait_with_output()?;
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.code() {
            Some(0) => Ok(None),
            Some(1) => Ok(Some(told)),
            _ => {
                let kept = self.folder.join("history.json");
                std::fs::write(&kept, &history)?;
                bail!("the history in {} could not be checked ({}): {told}", kept.display(), output.status)
            }
        }
    }
}
