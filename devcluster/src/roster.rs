//! What is written down about a cluster while it is up, in `cluster.json`: its owner, its processes with their start
//! times, and where to reach it. The owner writes; `cargo xtask cluster` reads, and can tell a living owner from a
//! dead one and a process of ours from a stranger with the same id. It never signals anything.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::certificates::write;
use crate::cluster::{Endpoints, Part};
use crate::error::Error;

/// The file's name in the cluster directory.
pub(crate) const FILE: &str = "cluster.json";

/// A process id together with what makes it unmistakable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did: ids are used again, pairs are not.
    pub started: u64,
}

/// One process of the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// What it is.
    pub part: Part,
    /// Who it is; `None` while it is stopped.
    pub process: Option<Identity>,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its log.
    pub log: PathBuf,
}

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The cluster's name.
    pub name: String,
    /// The process that holds it.
    pub owner: Identity,
    /// When the cluster was begun.
    pub begun: SystemTime,
    /// How to reach it; `None` while it is starting.
    pub endpoints: Option<Endpoints>,
    /// How long it took until everything was ready, in milliseconds; `None` while it is starting.
    pub ready_after_ms: Option<u64>,
    /// Where kubectl is.
    pub kubectl: PathBuf,
    /// Its processes.
    pub members: Vec<Member>,
}

impl Record {
    /// Reads the file of a cluster directory; `None` if there is none or it makes no sense.
    pub fn read(directory: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(directory.join(FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The members that live, whether or not the owner does.
    pub fn alive(&self) -> impl Iterator<Item = (&Member, Identity)> {
        self.members.iter().filter_map(|member| Some((member, member.process.filter(Identity::is_alive)?)))
    }
}

impl Identity {
    /// That of a living process.
    pub fn of(pid: u32) -> Option<Self> {
        let (_, started) = stat(pid)?;
        Some(Self { pid, started })
    }

    /// Whether exactly this process lives; one that is dead and not yet collected does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// Whether it has been stopped by a signal.
    pub fn is_frozen(&self) -> bool {
        stat(self.pid).is_some_and(|(state, _)| matches!(state, 'T' | 't'))
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }
}

/// State and start time (fields 3 and 22 of `/proc/PID/stat`). The second field is a name that may hold blanks and
/// parentheses, so counting begins after the last one.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Keeps the file of a running cluster up to date.
#[derive(Debug)]
pub(crate) struct Roster {
    path: PathBuf,
    record: Mutex<Record>,
}

impl Roster {
    pub(crate) fn new(directory: &Path, name: String, kubectl: PathBuf) -> Result<Self, Error> {
        let owner = Identity::of(std::process::id()).ok_or(Error::Internal)?;
        let record = Record {
            name,
            owner,
            begun: SystemTime::now(),
            endpoints: None,
            ready_after_ms: None,
            kubectl,
            members: Vec::new(),
        };
        let roster = Self { path: directory.join(FILE), record: Mutex::new(record) };
        roster.change(|_| ())?;
        Ok(roster)
    }

    /// Writes down where a part runs now.
    pub(crate) fn member(&self, member: Member) -> Result<(), Error> {
        self.change(|record| {
            record.members.retain(|known| known.part != member.part);
            record.members.push(member);
            record.members.sort_by_key(|known| known.part);
        })
    }

    pub(crate) fn ready(&self, endpoints: &Endpoints, after: std::time::Duration) -> Result<(), Error> {
        self.change(|record| {
            record.endpoints = Some(endpoints.clone());
            record.ready_after_ms = u64::try_from(after.as_millis()).ok();
        })
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let mut record = self.record.lock();
        change(&mut record);
        let text = serde_json::to_string_pretty(&*record).map_err(|_| Error::Internal)?;
        // Renamed into place, so that a reader never sees half a file.
        let aside = self.path.with_extension("json.new");
        write(&aside, &text, 0o600)?;
        std::fs::rename(&aside, &self.path).map_err(Error::file("replace", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_stranger_with_its_id() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive() && !me.is_frozen());
        assert!(me.resident_bytes().unwrap() > 100_000);
        assert!(!Identity { started: me.started + 1, ..me }.is_alive());
    }
}
