//! The environment variables that the devcluster listens to, as a value, so that a test can hand in another one.
//! It owns the lookup of programs on `PATH` and of the cache and state directories. It never reads the process's
//! environment by itself after construction. Everything in this crate that needs a variable asks here.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::error::Error;

/// A set of environment variables.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Default for Environment {
    fn default() -> Self {
        Self::of_this_process()
    }
}

impl Environment {
    /// The variables of this process.
    pub fn of_this_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// The same environment with one variable set to another value.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// The same environment without one variable.
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(OsStr::new(name));
        self
    }

    /// A variable's value; an empty one counts as absent, as the XDG specification asks.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable that names a file or directory.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter()
    }

    /// The absolute path of an executable program on `PATH`.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        let path = self.value("PATH")?;
        std::env::split_paths(path).map(|directory| directory.join(name)).find(|candidate| {
            candidate.is_absolute()
                && candidate.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        })
    }

    /// `$XDG_CACHE_HOME/k8s-as-backend`, or the same below `~/.cache`.
    pub(crate) fn cache_directory(&self) -> Result<PathBuf, Error> {
        self.xdg_directory("XDG_CACHE_HOME", ".cache")
    }

    /// `$XDG_STATE_HOME/k8s-as-backend`, or the same below `~/.local/state`.
    pub(crate) fn state_directory(&self) -> Result<PathBuf, Error> {
        self.xdg_directory("XDG_STATE_HOME", ".local/state")
    }

    fn xdg_directory(&self, variable: &'static str, below_home: &str) -> Result<PathBuf, Error> {
        // The specification says that a relative path is to be ignored.
        let given = self.path(variable).filter(|path| path.is_absolute());
        let base = given.or_else(|| self.path("HOME").map(|home| home.join(below_home)));
        base.map(|base| base.join("k8s-as-backend")).ok_or(Error::NoHome { variable })
    }
}
