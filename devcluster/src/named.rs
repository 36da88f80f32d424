//! The clusters that have a name and stay up in the background: finding them in the user's state directory, telling
//! what has become of each, and ending it. It never starts one; the process that does that is its owner and calls
//! `Cluster::start`. `cargo xtask cluster` calls it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::cluster::{Part, named_directory};
use crate::environment::Environment;
use crate::error::Error;
use crate::roster::{Identity, Record};
use crate::site;

/// An owner ends its parts side by side, each within 20 s.
const OWNER_ENDING: Duration = Duration::from_secs(30);
const PARTS_ENDING: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A named cluster, as it was found.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Where its data and logs are.
    pub directory: PathBuf,
    /// What its owner wrote down; `None` if there is nothing or nothing readable.
    pub record: Option<Record>,
    /// What has become of it.
    pub state: State,
}

/// What has become of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none of this name.
    Absent,
    /// Its owner is building or starting it.
    Starting,
    /// It can be used.
    Up,
    /// Its owner is gone, and some of its processes are not.
    LeftOver,
    /// Its owner is gone, with every process; files are left.
    Ended,
}

/// How a cluster was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was nothing to end.
    Nothing,
    /// Its owner took it down in order.
    InOrder,
    /// Its owner did not manage in time, and all was killed.
    Killed,
    /// There was no owner any more; this many processes were ended.
    LeftOver(usize),
    /// Nothing ran; its files were removed.
    Files,
}

impl Named {
    /// Looks up one by its name.
    pub fn find(name: &str, environment: &Environment) -> Result<Self, Error> {
        Ok(Self::look(name.to_owned(), named_directory(name, environment)?))
    }

    /// All that have left a trace, by name.
    pub fn all(environment: &Environment) -> Result<Vec<Self>, Error> {
        let base = environment.state_directory()?.join("clusters");
        let Ok(entries) = std::fs::read_dir(base) else { return Ok(Vec::new()) };
        let mut all: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .map(|entry| Self::look(entry.file_name().to_string_lossy().into_owned(), entry.path()))
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn look(name: String, directory: PathBuf) -> Self {
        let record = Record::read(&directory);
        let state = state(&directory, record.as_ref());
        Self { name, directory, record, state }
    }

    /// Ends it, whatever has become of it, and removes its files.
    pub async fn end(&self) -> Result<Ended, Error> {
        let ended = match (self.state, &self.record) {
            (State::Absent, _) => return Ok(Ended::Nothing),
            (State::Starting | State::Up, Some(record)) => self.end_owner(record).await?,
            // Held, and nothing written yet: the first milliseconds of a start.
            (State::Starting | State::Up, None) => {
                let owner = "unknown".to_owned();
                return Err(Error::AlreadyUp { name: self.name.clone(), owner, directory: self.directory.clone() });
            }
            (State::LeftOver, record) => {
                let members: Vec<_> = record.iter().flat_map(Record::alive).map(|(it, id)| (it.part, id)).collect();
                end_members(&members).await?;
                Ended::LeftOver(members.len())
            }
            (State::Ended, _) => Ended::Files,
        };
        site::remove(&self.directory)?;
        Ok(ended)
    }

    async fn end_owner(&self, record: &Record) -> Result<Ended, Error> {
        let owner = record.owner;
        signal_owner(owner, Signal::SIGTERM)?;
        if gone(OWNER_ENDING, || !site::is_held(&self.directory)).await {
            return Ok(Ended::InOrder);
        }
        // Its processes follow it by their parent-death signal.
        signal_owner(owner, Signal::SIGKILL)?;
        gone(PARTS_ENDING, || !site::is_held(&self.directory)).await;
        Ok(Ended::Killed)
    }
}

fn state(directory: &Path, record: Option<&Record>) -> State {
    if !directory.exists() {
        return State::Absent;
    }
    let ready = record.is_some_and(|record| record.endpoints.is_some());
    match (site::is_held(directory), ready) {
        (true, true) => State::Up,
        (true, false) => State::Starting,
        (false, _) if record.is_some_and(|record| record.alive().next().is_some()) => State::LeftOver,
        (false, _) => State::Ended,
    }
}

fn signal_owner(owner: Identity, signal: Signal) -> Result<(), Error> {
    if !owner.is_alive() {
        return Ok(());
    }
    match kill(as_pid(owner.pid), signal) {
        Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
        Err(source) => Err(Error::SignalOwner { pid: owner.pid, source }),
    }
}

async fn end_members(members: &[(Part, Identity)]) -> Result<(), Error> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for (part, process) in members.iter().filter(|(_, process)| process.is_alive()) {
            // Each part leads a process group of its own. A frozen one must be thawed to obey.
            for signal in [signal, Signal::SIGCONT] {
                match killpg(as_pid(process.pid), signal) {
                    Ok(()) | Err(nix::Error::ESRCH) => {}
                    Err(source) => return Err(Error::Signal { part: *part, pid: process.pid, source }),
                }
            }
        }
        if gone(PARTS_ENDING, || members.iter().all(|(_, process)| !process.is_alive())).await {
            break;
        }
    }
    Ok(())
}

async fn gone(limit: Duration, is_gone: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_gone() {
        if begun.elapsed() > limit {
            return false;
        }
        sleep(BETWEEN_LOOKS).await;
    }
    true
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::certificates::write;
    use crate::roster::{FILE, Member};
    use crate::spawner::{Launch, spawn};

    #[tokio::test]
    async fn a_cluster_whose_owner_is_gone_is_told_and_its_processes_can_be_ended() {
        let base = std::env::temp_dir().join(format!("devcluster-left-over-{}", std::process::id()));
        let environment = Environment::of_this_process().with("XDG_STATE_HOME", &base);
        assert_eq!(Named::find("left", &environment).unwrap().state, State::Absent);
        let directory = named_directory("left", &environment).unwrap();
        std::fs::create_dir_all(&directory).unwrap();
        // A frozen one, which is the hardest to end.
        let launch = Launch {
            program: "/bin/sleep".into(),
            arguments: vec!["1000".into()],
            directory: directory.clone(),
            variables: vec![],
            environment: environment.clone(),
            log: directory.join("log"),
        };
        let child = spawn(&launch).await.unwrap();
        let process = Identity::of(child.pid()).unwrap();
        child.signal(Signal::SIGSTOP).unwrap();
        // An owner that is no living process: this one's id with another start time.
        let owner = Identity { pid: std::process::id(), started: 1 };
        let member = Member { part: Part::Etcd, process: Some(process), port: 1, log: directory.join("log") };
        let record = Record {
            name: "left".into(),
            owner,
            begun: SystemTime::now(),
            endpoints: None,
            ready_after_ms: None,
            kubectl: PathBuf::new(),
            members: vec![member],
        };
        write(&directory.join(FILE), &serde_json::to_string(&record).unwrap(), 0o600).unwrap();
        write(&directory.join("owner.lock"), "", 0o600).unwrap();

        let found = Named::all(&environment).unwrap();
        assert_eq!(
            found.iter().map(|it| (it.name.as_str(), it.state)).collect::<Vec<_>>(),
            [("left", State::LeftOver)]
        );
        let options = crate::ClusterOptions {
            directory: Some(directory.clone()),
            environment: environment.clone(),
            ..crate::ClusterOptions::for_tests("left")
        };
        let refused = crate::Cluster::start(options).await.unwrap_err().to_string();
        assert!(
            refused.contains("cluster down --name left") && refused.contains(&child.pid().to_string()),
            "{refused}"
        );

        assert_eq!(found.first().unwrap().end().await.unwrap(), Ended::LeftOver(1));
        child.wait().await;
        assert!(!directory.exists());
        assert_eq!(Named::find("left", &environment).unwrap().end().await.unwrap(), Ended::Nothing);
        std::fs::remove_dir_all(base).unwrap();
    }
}
