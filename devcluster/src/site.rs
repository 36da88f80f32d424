//! Where one cluster lives: its directory with logs and data, the lock that says that it has a living owner, and the
//! clean-up of directories whose owner is gone. It never starts or signals a process.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::artifact::Toolbox;
use crate::cluster::Part;
use crate::environment::Environment;
use crate::error::Error;
use crate::roster::Record;
use crate::spawner::Launch;

const LOCK: &str = "owner.lock";
const TEMPORARY: &str = "k8s-as-backend-cluster-";
/// Younger directories may be between their creation and their lock.
const SETTLED: Duration = Duration::from_secs(60);

/// A cluster's place on disk and its surroundings.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) directory: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) toolbox: Toolbox,
    /// Removed when the cluster is over.
    temporary: bool,
    _lock: File,
}

impl Site {
    /// A given directory, emptied first; refused while somebody holds it.
    pub(crate) fn at(directory: &Path, name: &str, environment: &Environment) -> Result<Self, Error> {
        let directory = std::path::absolute(directory).map_err(Error::file("find", directory))?;
        let site = Self::claim(directory, name, environment, false)?;
        site.empty()?;
        Ok(site)
    }

    /// A directory of its own below the system's temporary one, where those that nobody holds any more are removed
    /// on the way.
    pub(crate) fn temporary(name: &str, environment: &Environment) -> Result<Self, Error> {
        let base = environment.path("TMPDIR").unwrap_or_else(std::env::temp_dir);
        sweep(&base);
        let directory = base.join(format!("{TEMPORARY}{name}-{:08x}", RandomState::new().hash_one(0) >> 32));
        Self::claim(directory, name, environment, true)
    }

    fn claim(directory: PathBuf, name: &str, environment: &Environment, temporary: bool) -> Result<Self, Error> {
        let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        created.map_err(Error::file("create", &directory))?;
        let path = directory.join(LOCK);
        let lock =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::file("open", &path))?;
        let record = Record::read(&directory);
        if !try_for_a_moment(&lock) {
            let owner = record.map_or_else(|| "unknown".to_owned(), |record| record.owner.pid.to_string());
            return Err(Error::AlreadyUp { name: name.to_owned(), owner, directory });
        }
        let living: Vec<_> = record
            .iter()
            .flat_map(Record::alive)
            .map(|(member, process)| format!("{} ({})", member.part, process.pid))
            .collect();
        if !living.is_empty() {
            return Err(Error::LeftOver { name: name.to_owned(), processes: living.join(", ") });
        }
        let toolbox = Toolbox::new(environment.clone());
        Ok(Self { directory, environment: environment.clone(), toolbox, temporary, _lock: lock })
    }

    /// Removes everything but the lock, and makes the folder for logs.
    pub(crate) fn empty(&self) -> Result<(), Error> {
        clear(&self.directory)?;
        let logs = self.directory.join("logs");
        std::fs::create_dir_all(&logs).map_err(Error::file("create", logs))
    }

    /// Leaves a temporary directory to the sweep of a later start.
    pub(crate) fn keep(&mut self) {
        self.temporary = false;
    }

    /// How a part is started here.
    pub(crate) fn launch(&self, part: Part, program: PathBuf, arguments: Vec<String>) -> Launch {
        Launch {
            program,
            arguments,
            directory: self.directory.clone(),
            variables: Vec::new(),
            environment: self.environment.clone(),
            log: self.directory.join("logs").join(format!("{part}.log")),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.temporary {
            // What cannot be removed now is removed by the next one that comes along.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Whoever looks whether a directory is held does so by trying its lock, and has it for that instant; an owner has it
/// for good.
fn try_for_a_moment(lock: &File) -> bool {
    (0..10).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        lock.try_lock().is_ok()
    })
}

/// Removes a cluster's directory unless somebody holds it.
pub(crate) fn remove(directory: &Path) -> Result<bool, Error> {
    let path = directory.join(LOCK);
    let Ok(lock) = File::options().write(true).open(&path) else {
        return Ok(false);
    };
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    std::fs::remove_dir_all(directory).map_err(Error::file("remove", directory))?;
    Ok(true)
}

/// Whether a living process holds this directory.
pub(crate) fn is_held(directory: &Path) -> bool {
    File::options().write(true).open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err())
}

fn clear(directory: &Path) -> Result<(), Error> {
    let entries = std::fs::read_dir(directory).map_err(Error::file("read", directory))?;
    for entry in entries.flatten().filter(|entry| entry.file_name() != LOCK) {
        let path = entry.path();
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(Error::file("remove", path))?;
    }
    Ok(())
}

/// Temporary directories of owners that were killed before they could remove them.
fn sweep(base: &Path) {
    let mine = std::fs::metadata("/proc/self").map(|it| it.uid()).ok();
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Ok(metadata) = entry.metadata() else { continue };
        let settled = metadata.modified().ok().and_then(|it| it.elapsed().ok()).is_some_and(|age| age > SETTLED);
        let ours = name.to_string_lossy().starts_with(TEMPORARY) && Some(metadata.uid()) == mine;
        if ours && settled && metadata.is_dir() {
            // A failure concerns somebody's old files and not the cluster that is being started.
            if let Err(error) = remove(&entry.path()) {
                tracing::debug!(%error, "a stale cluster directory stays");
            }
        }
    }
}
