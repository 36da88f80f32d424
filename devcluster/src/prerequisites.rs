//! Checks, before anything is built or started, that the programs needed are installed and new enough, and names
//! every one that is not in a single message. It never installs anything. `artifact` calls it.

use std::path::Path;
use std::process::Command;

use crate::environment::Environment;

/// The oldest JDK that the broker runs on.
const JAVA: u32 = 17;
/// Since this version the go command fetches a newer toolchain by itself when a module asks for it.
const GO_THAT_UPDATES_ITSELF: (u32, u32) = (1, 21);

/// Something that must be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Requirement {
    Go((u32, u32)),
    Java,
    Maven,
    Setpriv,
}

/// A program that was not found, or is too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The program's name.
    pub program: &'static str,
    /// What it is needed for, and what was found instead.
    pub wanted: String,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What to know when that package is too old.
    pub note: Option<String>,
}

/// All that is missing of these, so that one message can tell it.
pub(crate) fn check(environment: &Environment, requirements: &[Requirement]) -> Result<(), Vec<Missing>> {
    let mut wanted = requirements.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let missing: Vec<_> = wanted.into_iter().filter_map(|it| it.missing(environment)).collect();
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}

impl Requirement {
    fn missing(self, environment: &Environment) -> Option<Missing> {
        let (program, found) = self.found(environment);
        let fault = found.err()?;
        let (purpose, package) = match self {
            Self::Go((major, minor)) => {
                (format!("Go {major}.{minor} or newer, builds etcd, Kubernetes and Toxiproxy"), "golang-go")
            }
            Self::Java => (format!("Java {JAVA} or newer, runs Kafka"), "default-jdk-headless"),
            Self::Maven => ("Maven, fetches Kafka".to_owned(), "maven"),
            Self::Setpriv => ("setpriv, ends what was started together with its owner".to_owned(), "util-linux"),
        };
        let note = matches!(self, Self::Go(_)).then(|| {
            "Where the packaged Go is older than 1.21: https://go.dev/dl/. Instead of building, KUBEBUILDER_ASSETS \
             may name a folder with etcd, kube-apiserver and kubectl, or KUBECONFIG a cluster that is there."
                .to_owned()
        });
        Some(Missing { program, wanted: format!("{purpose} ({fault})"), package, note })
    }

    fn found(self, environment: &Environment) -> (&'static str, Result<(), String>) {
        let name = match self {
            Self::Go(_) => "go",
            Self::Java => "java",
            Self::Maven => "mvn",
            Self::Setpriv => "setpriv",
        };
        let Some(program) = environment.program(name) else { return (name, Err("not on the PATH".into())) };
        let verdict = match self {
            Self::Go(wanted) => go_suffices(&ask(environment, &program, &["env", "GOVERSION", "GOTOOLCHAIN"]), wanted),
            Self::Java => java_suffices(&ask(environment, &program, &["-version"])),
            Self::Maven | Self::Setpriv => Ok(()),
        };
        (name, verdict)
    }
}

/// What a program prints, wherever it prints it: `java -version` writes to standard error.
fn ask(environment: &Environment, program: &Path, arguments: &[&str]) -> String {
    // Outside any module, where no go.mod can make the command fetch another toolchain just to answer.
    let output =
        Command::new(program).args(arguments).current_dir("/").env_clear().envs(environment.variables()).output();
    match output {
        Ok(output) => [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat(),
        Err(error) => error.to_string(),
    }
}

fn go_suffices(said: &str, wanted: (u32, u32)) -> Result<(), String> {
    let mut lines = said.lines();
    let version = lines.next().unwrap_or("");
    let Some(found) = version.strip_prefix("go").and_then(pair) else { return Err(format!("it says {said:?}")) };
    let local = lines.next().is_some_and(|toolchain| toolchain.trim() == "local");
    if found >= wanted || (found >= GO_THAT_UPDATES_ITSELF && !local) {
        return Ok(());
    }
    Err(format!("found {version}"))
}

fn java_suffices(said: &str) -> Result<(), String> {
    // `openjdk version "17.0.15" 2025-04-15`; Java 8 called itself 1.8.
    let Some(quoted) = said.split('"').nth(1) else { return Err(format!("it says {said:?}")) };
    let major = quoted.split(['.', '-', '+']).next().and_then(|it| it.parse::<u32>().ok());
    if major.is_some_and(|major| major >= JAVA) { Ok(()) } else { Err(format!("found {quoted}")) }
}

fn pair(version: &str) -> Option<(u32, u32)> {
    // `1.26.8`, and `1.27rc1` of a release candidate.
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn everything_missing_is_told_in_one_message() {
        let environment = Environment::of_this_process().with("PATH", "/nowhere");
        let wanted = [Requirement::Java, Requirement::Go((1, 26)), Requirement::Maven, Requirement::Setpriv];
        let missing = check(&environment, &wanted).unwrap_err();
        let message = Error::Prerequisites { missing, docker: false }.to_string();
        for word in ["golang-go", "default-jdk-headless", "maven", "util-linux", "KUBEBUILDER_ASSETS"] {
            assert!(message.contains(word), "{word} is not in: {message}");
        }
    }

    #[test]
    fn a_go_that_is_old_but_updates_itself_will_do() {
        assert_eq!(go_suffices("go1.26.8\nauto\n", (1, 26)), Ok(()));
        assert_eq!(go_suffices("go1.27rc1\nlocal\n", (1, 26)), Ok(()));
        assert_eq!(go_suffices("go1.22.0\nauto\n", (1, 26)), Ok(()));
        assert_eq!(go_suffices("go1.22.0\nlocal\n", (1, 26)), Err("found go1.22.0".into()));
        assert_eq!(go_suffices("go1.19.8\n\n", (1, 26)), Err("found go1.19.8".into()));
    }

    #[test]
    fn java_is_read_in_old_and_new_spelling() {
        assert_eq!(java_suffices("openjdk version \"17.0.15\" 2025-04-15"), Ok(()));
        assert_eq!(java_suffices("openjdk version \"25-ea\" 2025-09-16"), Ok(()));
        assert_eq!(java_suffices("java version \"1.8.0_412\""), Err("found 1.8.0_412".into()));
    }
}
