//! Builds a thing once and keeps it: one folder per set of pins, a file lock per item, built aside and then renamed.
//! It owns the protocol that makes two builds at once and a killed build harmless. It never knows what it builds;
//! `artifact` says that.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::error::Error;
use crate::spawner::{Launch, spawn, tail};

/// Lines of a failed tool's output that go into the error.
const TAIL_LINES: usize = 15;

/// Something that is built by running programs in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// What people read: `kube-apiserver 1.36.3`.
    pub(crate) title: String,
    /// The file or folder that is made, named like this below `home`.
    pub(crate) product: &'static str,
    /// The folder that keeps it.
    pub(crate) home: PathBuf,
    /// Input files that are put into the build folder: the build works on these copies.
    pub(crate) files: Vec<(&'static str, String)>,
    /// Run one after another in the build folder, where `product` must stand in the end.
    pub(crate) steps: Vec<Step>,
    /// How long it usually takes, for the progress line.
    pub(crate) usually: &'static str,
}

/// One program to run.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Item {
    /// Where the finished thing stands.
    pub(crate) fn path(&self) -> PathBuf {
        self.home.join(self.product)
    }

    /// Builds it unless it is there. Returns where it is.
    pub(crate) async fn provide(&self, environment: &Environment) -> Result<PathBuf, Error> {
        let path = self.path();
        if path.exists() {
            return Ok(path);
        }
        std::fs::create_dir_all(&self.home).map_err(Error::file("create", &self.home))?;
        let _lock = self.lock().await?;
        if path.exists() {
            return Ok(path);
        }
        self.build(environment, &path).await?;
        Ok(path)
    }

    /// The lock ends with the file, and the file with the process that holds it, however that ends.
    async fn lock(&self) -> Result<File, Error> {
        let path = self.home.join(format!(".{}.lock", self.product));
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                say(&format!("waiting for another process that is building {}", self.title));
                let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
                locked.await.map_err(|_| Error::Internal)?.map_err(Error::file("lock", path))
            }
            Err(TryLockError::Error(source)) => Err(Error::file("lock", path)(source)),
        }
    }

    async fn build(&self, environment: &Environment, path: &Path) -> Result<(), Error> {
        say(&format!("building {}, usually {} on two cores", self.title, self.usually));
        let begun = Instant::now();
        let aside = self.home.join(format!(".{}.building", self.product));
        // We hold the lock, so whatever stands here is the ruin of a killed build.
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(Error::file("remove", &aside))?;
        }
        std::fs::create_dir(&aside).map_err(Error::file("create", &aside))?;
        for (name, content) in &self.files {
            std::fs::write(aside.join(name), content).map_err(Error::file("write", aside.join(name)))?;
        }
        let log = self.home.join(format!("{}.build.log", self.product));
        File::create(&log).map_err(Error::file("create", &log))?;
        for step in &self.steps {
            self.run(step, environment, &aside, &log).await?;
        }
        std::fs::rename(aside.join(self.product), path).map_err(Error::file("keep", path))?;
        std::fs::remove_dir_all(&aside).map_err(Error::file("remove", &aside))?;
        say(&format!("built {} in {}", self.title, human(begun.elapsed())));
        Ok(())
    }

    async fn run(&self, step: &Step, environment: &Environment, aside: &Path, log: &Path) -> Result<(), Error> {
        let launch = Launch {
            program: step.program.clone(),
            arguments: step.arguments.clone(),
            directory: aside.to_path_buf(),
            variables: step.variables.clone(),
            environment: environment.clone(),
            log: log.to_path_buf(),
        };
        let status = spawn(&launch).await?.wait().await;
        if status.success() {
            return Ok(());
        }
        Err(Error::Build {
            item: self.title.clone(),
            status: status.to_string(),
            log: log.to_path_buf(),
            tail: tail(log, TAIL_LINES),
        })
    }
}

/// A progress line for the person who waits. A closed standard error is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A duration as people say it: `4.2 s`, `2 min 50 s`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    format!("{} min {} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("devcluster-cache-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    fn item(home: &Path, script: &str) -> Item {
        Item {
            title: "a thing 1".into(),
            product: "thing",
            home: home.into(),
            files: vec![("input", "from the pins".into())],
            steps: vec![Step {
                program: "/bin/sh".into(),
                arguments: vec!["-ec".into(), script.into()],
                variables: vec![],
            }],
            usually: "no time",
        }
    }

    #[tokio::test]
    async fn two_builds_at_once_build_once() {
        let home = scratch("two");
        let environment = Environment::of_this_process();
        // The count grows once per run of the script; the pause makes sure that the other one arrives meanwhile.
        let one = item(&home, "echo run >> ../count; sleep 0.3; cp input thing");
        let other = one.clone();
        let (first, second) = tokio::join!(one.provide(&environment), other.provide(&environment));
        assert_eq!(std::fs::read_to_string(first.unwrap()).unwrap(), "from the pins");
        assert!(second.unwrap().exists());
        assert_eq!(std::fs::read_to_string(home.join("count")).unwrap(), "run\n");
        std::fs::remove_dir_all(home).unwrap();
    }

    #[tokio::test]
    async fn a_killed_build_leaves_nothing_that_counts_as_built() {
        let home = scratch("killed");
        let environment = Environment::of_this_process();
        let half = item(&home, "echo half > thing; exec sleep 1000");
        let marker = home.join(".thing.building/thing");
        tokio::select! {
            ended = half.provide(&environment) => panic!("the build ended: {ended:?}"),
            () = async { while !marker.exists() { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
        }
        assert!(marker.exists() && !half.path().exists());
        let whole = item(&home, "cp input thing");
        assert_eq!(std::fs::read_to_string(whole.provide(&environment).await.unwrap()).unwrap(), "from the pins");
        assert!(!marker.exists());
        std::fs::remove_dir_all(home).unwrap();
    }

    #[tokio::test]
    async fn a_failed_build_shows_the_tools_own_last_lines() {
        let home = scratch("failed");
        let broken = item(&home, "echo 'dial tcp: no route to host' >&2; exit 3");
        let message = broken.provide(&Environment::of_this_process()).await.unwrap_err().to_string();
        assert!(message.contains("a thing 1") && message.contains("no route to host"), "{message}");
        assert!(!broken.path().exists());
        std::fs::remove_dir_all(home).unwrap();
    }

    #[tokio::test]
    async fn what_is_there_is_not_built_again() {
        let home = scratch("there");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("thing"), "kept").unwrap();
        let path = item(&home, "exit 1").provide(&Environment::of_this_process()).await.unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "kept");
        std::fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(human(Duration::from_millis(4200)), "4.2 s");
        assert_eq!(human(Duration::from_secs(170)), "2 min 50 s");
    }
}
