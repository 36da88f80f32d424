//! Every way in which providing a cluster can fail, worded for the person at the terminal: each message says what
//! was being done, what was last seen, and where the log is. It never holds a panic or a stack.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Part;
use crate::containers::ContainerError;
use crate::prerequisites::Missing;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Programs that are needed for this start are not installed; all of them at once.
    #[error("{}{}", list_missing(missing), if *docker { CONTAINERS } else { "" })]
    Prerequisites {
        /// The programs.
        missing: Vec<Missing>,
        /// Whether a Docker daemon answers, which makes up for all of them.
        docker: bool,
    },
    /// Neither the XDG variable nor `HOME` is set.
    #[error("there is nowhere to keep files: set HOME or {variable}")]
    NoHome {
        /// The XDG variable that would do as well.
        variable: &'static str,
    },
    /// `KUBEBUILDER_ASSETS` names a directory that lacks a binary.
    #[error(
        "KUBEBUILDER_ASSETS is {directory:?}, which has no {missing}; unset it to build the pinned version instead"
    )]
    Assets {
        /// The directory given.
        directory: PathBuf,
        /// The file that is not there.
        missing: &'static str,
    },
    /// A build ended badly.
    #[error("failed to build {item} ({status}); the last lines of its output, all of it in {log:?}:\n{tail}")]
    Build {
        /// What was being built.
        item: String,
        /// How the tool ended.
        status: String,
        /// The whole output.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// A file or directory could not be made, read or moved.
    #[error("failed to {action} {path:?}")]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program could not be started at all.
    #[error("failed to start {program:?}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A part ended while it was being waited for.
    #[error("{part} ended unexpectedly ({status}); the last lines of {log:?}:\n{tail}")]
    Exited {
        /// Which part.
        part: Part,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// A part did not get ready in time.
    #[error("{part} was not ready after {waited:?}: {last}; its log is {log:?}")]
    NotReady {
        /// Which part.
        part: Part,
        /// How long was waited.
        waited: Duration,
        /// What the last check saw.
        last: String,
        /// Its log.
        log: PathBuf,
    },
    /// A port was taken by somebody between choosing it and binding it.
    #[error("{part} found its port taken by another program ({ports})")]
    PortTaken {
        /// Which part.
        part: Part,
        /// The ports it was given.
        ports: String,
    },
    /// A port that was asked for by number is in use.
    #[error("port {port}, asked for {part}, is in use on 127.0.0.1; end the program that holds it or ask for another")]
    PortInUse {
        /// The port asked for.
        port: u16,
        /// For which part.
        part: Part,
    },
    /// No free port was found.
    #[error("no free port on 127.0.0.1 between {from} and {to}")]
    NoFreePort {
        /// First port tried.
        from: u16,
        /// Last port tried.
        to: u16,
    },
    /// The cluster directory is held by a living owner.
    #[error("cluster {name:?} is up already, held by process {owner} (directory {directory:?})")]
    AlreadyUp {
        /// The cluster's name.
        name: String,
        /// The owner's process id, or `unknown`.
        owner: String,
        /// The cluster's directory.
        directory: PathBuf,
    },
    /// The owner is gone, yet processes of the cluster live.
    #[error(
        "cluster {name:?} was left over: its owner is gone, but {processes} still run; end them with `cargo xtask cluster down --name {name}`"
    )]
    LeftOver {
        /// The cluster's name.
        name: String,
        /// Which processes, with their ids.
        processes: String,
    },
    /// A name that cannot be a directory.
    #[error("{0:?} cannot be a cluster's name: use lower-case letters, digits and dashes, at most 40")]
    Name(String),
    /// The certificates could not be made.
    #[error("failed to make the cluster's certificates")]
    Certificates(#[from] rcgen::Error),
    /// The HTTP client could not be set up.
    #[error("failed to set up the HTTPS client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A helper program (etcdctl, etcdutl, StorageTool) refused.
    #[error("failed to {action} ({status}):\n{tail}")]
    Tool {
        /// What was tried, as a verb.
        action: &'static str,
        /// How the tool ended.
        status: String,
        /// What it said.
        tail: String,
    },
    /// The proxy's control API refused.
    #[error("failed to {action} at the fault proxy: {detail}")]
    Proxy {
        /// What was tried, as a verb.
        action: &'static str,
        /// What it said.
        detail: String,
    },
    /// `KUBECONFIG` is a list.
    #[error("KUBECONFIG must name one file, and is {0:?}")]
    SeveralKubeconfigs(String),
    /// `KAB_CLUSTER_BACKEND` is something unknown.
    #[error("KAB_CLUSTER_BACKEND must be processes or containers, and is {0:?}")]
    Backend(String),
    /// The part does not run in this cluster.
    #[error("{0} is not part of this cluster")]
    NoSuchPart(Part),
    /// Signalling a process failed.
    #[error("failed to signal {part} (process {pid})")]
    Signal {
        /// Which part.
        part: Part,
        /// Its process id.
        pid: u32,
        /// Why it failed.
        source: nix::Error,
    },
    /// Signalling the process that holds a cluster failed.
    #[error("failed to signal the cluster's owner (process {pid})")]
    SignalOwner {
        /// Its process id.
        pid: u32,
        /// Why it failed.
        source: nix::Error,
    },
    /// The part is not running.
    #[error("{0} is not running")]
    NotRunning(Part),
    /// A cluster of containers failed.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A background task of this crate broke.
    #[error("an internal thread of the devcluster ended early")]
    Internal,
}

impl Error {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

const CONTAINERS: &str = "\nDocker answers here, and with it no other program is needed: cargo xtask cluster up \
    --containers, and KAB_CLUSTER_BACKEND=containers for tests and the demo.";

fn list_missing(missing: &[Missing]) -> String {
    let mut text = String::from("some programs are needed and were not found:\n");
    for one in missing {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {:<8} {}", one.program, one.wanted);
    }
    let mut packages: Vec<_> = missing.iter().map(|one| one.package).collect();
    packages.dedup();
    let _ = write!(text, "On Debian or Ubuntu: apt-get install {}", packages.join(" "));
    for one in missing {
        if let Some(note) = &one.note {
            let _ = write!(text, "\n{note}");
        }
    }
    text
}
