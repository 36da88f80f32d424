//! A program of ours as a process: started so that it cannot outlive us, its log at hand, ended gently or by force.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use devcluster::environment::Environment;
use devcluster::spawner::{self, Child, Launch};
use nix::sys::signal::Signal;

use crate::{binaries, wait};

/// A few letters and digits that no other call, in this process or another, gives soon again.
pub fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    format!("{:x}{:x}{:x}", std::process::id(), nanos >> 12, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A folder for one test or one demo: configurations and logs.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// A new folder below the system's folder for temporary files.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join("k8s-as-backend-tests").join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a new file `NAME-N.SUFFIX`.
    pub fn file(&self, name: &str, suffix: &str) -> PathBuf {
        let taken = |number: &usize| self.folder.join(format!("{name}-{number}.{suffix}")).exists();
        let number = (1..).find(|number| !taken(number)).unwrap_or_default();
        self.folder.join(format!("{name}-{number}.{suffix}"))
    }

    /// The end of every log, for a failure's message.
    pub fn dump(&self) -> String {
        let mut logs: Vec<PathBuf> = std::fs::read_dir(&self.folder)
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        logs.retain(|path| path.extension().is_some_and(|suffix| suffix == "log"));
        logs.sort();
        let mut text = String::new();
        for path in logs {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default();
            text.push_str(&format!(
                "--- {} (last {} of {} lines)\n{}\n",
                path.display(),
                last.len(),
                lines.len(),
                last.join("\n")
            ));
        }
        text
    }

    /// Removes the folder.
    pub fn remove(&self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A running program of ours.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `name` with arguments and environment variables, its output going to a new log in `scratch`.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn spawn(
        scratch: &Scratch,
        name: &str,
        arguments: &[String],
        variables: &[(&'static str, String)],
    ) -> anyhow::Result<Self> {
        let program = tokio::task::spawn_blocking({
            let name = name.to_owned();
            move || binaries::path(&name)
        })
        .await??;
        let log = scratch.file(name, "log");
        let launch = Launch {
            program,
            arguments: arguments.to_vec(),
            directory: scratch.folder().to_owned(),
            variables: variables.to_vec(),
            environment: Environment::of_this_process()
                .without("KUBECONFIG")
                .without("RUST_LOG")
                .without(binaries::FOLDER),
            log: log.clone(),
        };
        Ok(Self { name: name.to_owned(), child: spawner::spawn(&launch).await?, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Everything that it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `find` finds something in the log.
    ///
    /// # Errors
    /// When the program ends before, or after [`wait::LIMIT`].
    pub async fn told<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        wait::until(&format!("{} to tell {what}", self.name), wait::LIMIT, || async {
            if let Some(found) = find(&self.log()) {
                return Ok(Ok(found));
            }
            match self.child.exit_status() {
                Some(status) => Ok(Err(anyhow::anyhow!("{} ended with {status}:\n{}", self.name, self.log()))),
                None => Err(anyhow::anyhow!("{}", self.log())),
            }
        })
        .await?
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(self.child.signal(signal)?)
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn kill(self) -> anyhow::Result<()> {
        self.child.signal(Signal::SIGKILL)?;
        self.child.wait().await;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end, which must come within 20 seconds.
    ///
    /// # Errors
    /// When it does not.
    pub async fn terminate(self) -> anyhow::Result<ExitStatus> {
        self.child.signal(Signal::SIGTERM)?;
        self.ended(Duration::from_secs(20)).await
    }

    /// Waits for the program to end by itself.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn ended(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status),
            Err(_) => bail!("{} still runs after {} s:\n{}", self.name, limit.as_secs(), self.log()),
        }
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.child.exit_status().is_none()
    }
}
