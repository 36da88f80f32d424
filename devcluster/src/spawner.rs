//! Starts child processes so that none outlives this one: each gets its own process group and a parent-death signal,
//! and all are started from one thread that lives as long as the process. It never looks at what a child does.
//!
//! The kernel sends the parent-death signal when the *thread* that forked ends, not the process. A thread of a
//! runtime's pool may end while the program goes on, and would take its children with it; hence the thread of our own.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::environment::Environment;
use crate::error::Error;

/// A program with its arguments, surroundings and log.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program, best as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The directory it runs in.
    pub directory: PathBuf,
    /// Variables that are set beside those of `environment`.
    pub variables: Vec<(&'static str, String)>,
    /// All other variables; nothing else is inherited.
    pub environment: Environment,
    /// Gets standard output and standard error, appended.
    pub log: PathBuf,
}

/// A running or ended child. Dropping it kills its whole process group.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    inner: Arc<Mutex<Inner>>,
    exited: watch::Receiver<Option<ExitStatus>>,
}

#[derive(Debug)]
struct Inner {
    child: std::process::Child,
    /// Once this is set the process id may belong to somebody else.
    reaped: bool,
}

type Started = Result<std::process::Child, std::io::Error>;
type Request = (Command, oneshot::Sender<Started>);

static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();

fn spawner() -> &'static Sender<Request> {
    SPAWNER.get_or_init(|| {
        let (sender, receiver) = channel::<Request>();
        // It ends with the process: the static keeps the sender for ever.
        std::thread::spawn(move || {
            for (mut command, answer) in receiver {
                // Nobody waiting any more means that the child is not wanted; its handle's drop is not enough.
                if let Err(Ok(mut child)) = answer.send(command.spawn()) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        sender
    })
}

/// Starts a program. It is killed when this process ends, in whatever way.
pub async fn spawn(launch: &Launch) -> Result<Child, Error> {
    let log = open_log(&launch.log)?;
    let log_too = log.try_clone().map_err(Error::file("open", &launch.log))?;
    // setpriv sets the parent-death signal on itself and becomes the program: a safe way to do what would
    // otherwise need code between fork and exec.
    let setpriv = launch.environment.program("setpriv").unwrap_or_else(|| PathBuf::from("setpriv"));
    let mut command = Command::new(setpriv);
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&launch.program)
        .args(&launch.arguments)
        .current_dir(&launch.directory)
        .env_clear()
        .envs(launch.environment.variables())
        .envs(launch.variables.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too)
        .process_group(0);
    let (answer, started) = oneshot::channel();
    spawner().send((command, answer)).map_err(|_| Error::Internal)?;
    let child = started
        .await
        .map_err(|_| Error::Internal)?
        .map_err(|source| Error::Spawn { program: launch.program.clone(), source })?;
    Ok(Child::watched(child))
}

fn open_log(path: &Path) -> Result<File, Error> {
    File::options().create(true).append(true).open(path).map_err(Error::file("open", path))
}

impl Child {
    fn watched(child: std::process::Child) -> Self {
        let pid = child.id();
        let inner = Arc::new(Mutex::new(Inner { child, reaped: false }));
        let (ended, exited) = watch::channel(None);
        let reaper = Arc::clone(&inner);
        std::thread::spawn(move || {
            // Wait without reaping, so that the process id stays ours until the lock is held: a signal can
            // therefore never hit a stranger that got the same id.
            while waitid(Id::Pid(as_pid(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(nix::Error::EINTR) {}
            let mut inner = reaper.lock();
            inner.reaped = true;
            let status = inner.child.wait().ok();
            drop(inner);
            ended.send_replace(Some(status.unwrap_or_default()));
        });
        Self { pid, inner, exited }
    }

    /// Its process id, which stays its own until the end has been noticed.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exited.borrow()
    }

    /// Waits for the end. Cancelling this leaves the child running.
    pub async fn wait(&self) -> ExitStatus {
        let mut exited = self.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            Err(_) => ExitStatus::default(),
        }
    }

    /// Sends a signal to the child and whatever it started. An ended child is no error.
    pub fn signal(&self, signal: Signal) -> Result<(), nix::Error> {
        let inner = self.inner.lock();
        if inner.reaped {
            return Ok(());
        }
        match killpg(as_pid(self.pid), signal) {
            Err(nix::Error::ESRCH) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The reaper thread collects it; nothing more can be done about a failure here.
        let _ = self.signal(Signal::SIGKILL);
    }
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

/// The last lines of a log, for an error message.
pub fn tail(log: &Path, lines: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = all.len().saturating_sub(lines);
    all.iter().skip(skipped).map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
