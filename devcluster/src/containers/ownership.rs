//! Whose containers are whose: the labels that every container of ours carries, and the verdict whether the owner of one
//! still lives. Pure but for the look at `/proc`; `daemon` lists and removes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::error::Error;
use crate::roster::Identity;

/// On every container; the value is the cluster's name.
pub(super) const CLUSTER: &str = "com.k8sasbackend.devcluster";
/// Tells the clusters of one owner apart.
pub(super) const INSTANCE: &str = "com.k8sasbackend.devcluster.instance";
const OWNER: &str = "com.k8sasbackend.devcluster.owner";
const STARTED: &str = "com.k8sasbackend.devcluster.owner-started";
const MACHINE: &str = "com.k8sasbackend.devcluster.owner-machine";

/// The labels of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Ownership {
    pub(super) instance: String,
    cluster: String,
    owner: Identity,
    machine: String,
}

impl Ownership {
    /// This process owns a new cluster.
    pub(super) fn new(cluster: &str) -> Result<Self, Error> {
        Ok(Self {
            instance: format!("{:016x}", RandomState::new().hash_one(0)),
            cluster: cluster.to_owned(),
            owner: Identity::of(std::process::id()).ok_or(Error::Internal)?,
            machine: machine(),
        })
    }

    pub(super) fn labels(&self) -> HashMap<String, String> {
        let Identity { pid, started } = self.owner;
        [
            (CLUSTER, self.cluster.clone()),
            (INSTANCE, self.instance.clone()),
            (OWNER, pid.to_string()),
            (STARTED, started.to_string()),
            (MACHINE, self.machine.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// Whether this process is the owner.
pub(super) fn is_mine(labels: &HashMap<String, String>) -> bool {
    let me = Identity::of(std::process::id()).map(|me| (me.pid.to_string(), me.started.to_string()));
    let owner = labels.get(OWNER).cloned().zip(labels.get(STARTED).cloned());
    owner.is_some() && owner == me && labels.get(MACHINE) == Some(&machine())
}

/// Why a container is nobody's any more; `None` if its owner lives or cannot be judged from here.
pub(super) fn abandoned(labels: &HashMap<String, String>, running: bool) -> Option<String> {
    let label = |key: &str| labels.get(key);
    let (pid, started) = (label(OWNER)?.parse().ok()?, label(STARTED)?.parse().ok()?);
    if *label(MACHINE)? != machine() {
        // Another boot, or a process that is seen from inside a container: its id means nothing here. One that
        // does not run any more serves nobody, and one that runs may be somebody's.
        return (!running).then(|| "its owner was not on this boot of the machine".to_owned());
    }
    (!Identity { pid, started }.is_alive()).then(|| format!("its owner, process {pid}, is gone"))
}

/// Where process ids and start times mean the same: this boot of this machine, seen from this pid namespace.
fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), namespace.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(key: &str, value: &str) -> HashMap<String, String> {
        let mut labels = Ownership::new("a").unwrap().labels();
        labels.insert(key.into(), value.into());
        labels
    }

    #[test]
    fn what_a_living_process_owns_is_not_abandoned() {
        let labels = Ownership::new("a").unwrap().labels();
        assert_eq!(abandoned(&labels, true), None);
        assert!(is_mine(&labels) && !is_mine(&changed(STARTED, "1")) && !is_mine(&HashMap::new()));
    }

    #[test]
    fn a_later_process_with_the_same_id_is_not_the_owner() {
        assert!(abandoned(&changed(STARTED, "1"), true).unwrap().contains("is gone"));
    }

    #[test]
    fn from_another_machine_only_what_does_not_run_is_abandoned() {
        let labels = changed(MACHINE, "elsewhere");
        assert_eq!(abandoned(&labels, true), None);
        assert!(abandoned(&labels, false).is_some());
    }

    #[test]
    fn containers_of_others_are_left_alone() {
        assert_eq!(abandoned(&HashMap::from([("com.docker.compose.project".into(), "x".into())]), false), None);
        assert_eq!(abandoned(&changed(OWNER, "not a number"), false), None);
    }
}
