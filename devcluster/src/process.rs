//! One part of a cluster as a process, with the faults that can be done to it. It owns starting, waiting until ready,
//! signalling and restarting on the same data and port. It never knows what the part is for; `cluster` does.

use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Part;
use crate::error::Error;
use crate::readiness::Readiness;
use crate::roster::{Identity, Member, Roster};
use crate::spawner::{Child, Launch, spawn, tail};

/// A JVM on a loaded machine of two cores has been seen to take a third of this.
const READY: Duration = Duration::from_secs(90);
const BETWEEN_CHECKS: Duration = Duration::from_millis(50);
/// How long a part may take to end in order; the API server and Kafka usually need one to three seconds.
const ENDING: Duration = Duration::from_secs(20);
const TAIL_LINES: usize = 12;

/// A part that is run as a process.
#[derive(Debug)]
pub struct Process {
    plan: Plan,
    roster: Arc<Roster>,
    child: Mutex<Option<Child>>,
}

/// How to run a part.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) part: Part,
    pub(crate) port: u16,
    pub(crate) launch: Launch,
    pub(crate) readiness: Readiness,
    /// Whether the part belongs to this cluster at all; one that does not cannot be started.
    pub(crate) included: bool,
}

impl Process {
    pub(crate) fn new(plan: Plan, roster: Arc<Roster>) -> Self {
        Self { plan, roster, child: Mutex::new(None) }
    }

    /// What it is.
    pub fn part(&self) -> Part {
        self.plan.part
    }

    pub(crate) fn is_included(&self) -> bool {
        self.plan.included
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.plan.port
    }

    /// Everything that it printed since its first start.
    pub fn log_path(&self) -> &Path {
        &self.plan.launch.log
    }

    /// Its process id; `None` while it is not running.
    pub async fn pid(&self) -> Option<u32> {
        self.child.lock().await.as_ref().filter(|child| child.exit_status().is_none()).map(Child::pid)
    }

    /// How it ended, if it was started and has ended by itself.
    pub async fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().await.as_ref().and_then(Child::exit_status)
    }

    /// Starts it, if it does not run, and waits until it serves.
    pub async fn start(&self) -> Result<(), Error> {
        if !self.plan.included {
            return Err(Error::NoSuchPart(self.plan.part));
        }
        let mut child = self.child.lock().await;
        if child.as_ref().is_some_and(|child| child.exit_status().is_none()) {
            return Ok(());
        }
        let log_begins = std::fs::metadata(&self.plan.launch.log).map_or(0, |it| it.len());
        let started = spawn(&self.plan.launch).await?;
        self.write_down(Some(started.pid()))?;
        // Kept before the wait: a caller that gives up waiting leaves a process that can still be stopped.
        let started = child.insert(started);
        self.wait_until_ready(started, log_begins).await
    }

    /// Asks it to end (SIGTERM), waits, and kills it if it does not. A frozen process is thawed, so that it can.
    pub async fn stop(&self) -> Result<(), Error> {
        let mut slot = self.child.lock().await;
        let Some(child) = slot.as_ref() else { return Ok(()) };
        self.signal(child, Signal::SIGTERM)?;
        self.signal(child, Signal::SIGCONT)?;
        if timeout(ENDING, child.wait()).await.is_err() {
            tracing::warn!(part = %self.plan.part, waited = ?ENDING, "did not end in order and is killed");
            self.signal(child, Signal::SIGKILL)?;
            child.wait().await;
        }
        *slot = None;
        self.write_down(None)
    }

    /// Kills it at once (SIGKILL), as a crash or the kernel's memory killer would.
    pub async fn kill(&self) -> Result<(), Error> {
        let mut slot = self.child.lock().await;
        let child = slot.as_ref().ok_or(Error::NotRunning(self.plan.part))?;
        self.signal(child, Signal::SIGKILL)?;
        child.wait().await;
        *slot = None;
        self.write_down(None)
    }

    /// Stops it from running (SIGSTOP) while its connections stay open, as a long pause of the machine would.
    pub async fn freeze(&self) -> Result<(), Error> {
        self.signal_running(Signal::SIGSTOP).await
    }

    /// Lets a frozen process go on (SIGCONT).
    pub async fn thaw(&self) -> Result<(), Error> {
        self.signal_running(Signal::SIGCONT).await
    }

    /// Ends it in order if it runs, and starts it again on the same data and port; returns once it serves.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.start().await
    }

    /// Waits until it serves, for instance after a thaw.
    pub async fn ready(&self) -> Result<(), Error> {
        let child = self.child.lock().await;
        let child = child.as_ref().ok_or(Error::NotRunning(self.plan.part))?;
        self.wait_until_ready(child, 0).await
    }

    async fn signal_running(&self, signal: Signal) -> Result<(), Error> {
        let slot = self.child.lock().await;
        let running = slot.as_ref().filter(|child| child.exit_status().is_none());
        self.signal(running.ok_or(Error::NotRunning(self.plan.part))?, signal)
    }

    fn signal(&self, child: &Child, signal: Signal) -> Result<(), Error> {
        let failed = |source| Error::Signal { part: self.plan.part, pid: child.pid(), source };
        child.signal(signal).map_err(failed)
    }

    async fn wait_until_ready(&self, child: &Child, log_begins: u64) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let last = tokio::select! {
                status = child.wait() => return Err(self.ended(status, log_begins)),
                checked = self.plan.readiness.check() => match checked {
                    Ok(()) => return Ok(()),
                    Err(last) => last,
                },
            };
            let waited = begun.elapsed();
            if waited > READY {
                return Err(Error::NotReady { part: self.plan.part, waited, last, log: self.plan.launch.log.clone() });
            }
            sleep(BETWEEN_CHECKS).await;
        }
    }

    fn ended(&self, status: ExitStatus, log_begins: u64) -> Error {
        let log = std::fs::read(&self.plan.launch.log).unwrap_or_default();
        let begins = usize::try_from(log_begins).unwrap_or(0);
        let said = String::from_utf8_lossy(log.get(begins..).unwrap_or_default()).to_ascii_lowercase();
        if said.contains("address already in use") {
            return Error::PortTaken { part: self.plan.part, ports: self.plan.port.to_string() };
        }
        Error::Exited {
            part: self.plan.part,
            status: status.to_string(),
            log: self.plan.launch.log.clone(),
            tail: tail(&self.plan.launch.log, TAIL_LINES),
        }
    }

    fn write_down(&self, pid: Option<u32>) -> Result<(), Error> {
        let process = pid.and_then(Identity::of);
        self.roster.member(Member {
            part: self.plan.part,
            process,
            port: self.plan.port,
            log: self.plan.launch.log.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    async fn start(script: &str) -> Error {
        let directory = std::env::temp_dir().join(format!("devcluster-process-{:?}", std::thread::current().id()));
        std::fs::create_dir_all(&directory).unwrap();
        let launch = Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            directory: directory.clone(),
            variables: vec![],
            environment: Environment::of_this_process(),
            log: directory.join("log"),
        };
        // Nobody answers there, so only the end of the process ends the wait.
        let readiness = Readiness::Kafka { address: "127.0.0.1:1".into() };
        let roster = Arc::new(Roster::new(&directory, "test".into(), "kubectl".into()).unwrap());
        let plan = Plan { part: Part::Kafka, port: 20_999, launch, readiness, included: true };
        let error = Process::new(plan, roster).start().await.unwrap_err();
        std::fs::remove_dir_all(directory).unwrap();
        error
    }

    #[tokio::test]
    async fn a_port_that_was_snatched_away_is_told_from_other_failures() {
        let error = start("echo 'java.net.BindException: Address already in use'; exit 1").await;
        assert!(matches!(error, Error::PortTaken { part: Part::Kafka, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_part_that_ends_while_starting_shows_its_last_words() {
        let message = start("echo 'no space left on device' >&2; exit 7").await.to_string();
        for word in ["kafka", "exit status: 7", "no space left on device"] {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    }
}
