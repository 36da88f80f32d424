//! `up`: starts the holding process in the background, shows what it says until the cluster is ready, and prints how to
//! go on.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use devcluster::environment::Environment;
use devcluster::named::{Named, State};
use devcluster::roster::Record;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Name, Wishes, print};

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

pub(crate) async fn run(wishes: &Wishes, environment: &Environment) -> anyhow::Result<()> {
    let name = &wishes.name.name;
    let found = Named::find(name, environment)?;
    match found.state {
        State::Up => {
            let record = found.record.context("the cluster left no record")?;
            print(&format!("cluster {name} is up already\n"))?;
            return print(&how_to_go_on(&record));
        }
        State::Starting => bail!("cluster {name} is being started by another process; see: cargo xtask cluster status"),
        State::LeftOver | State::Ended | State::Absent => {}
    }
    let log = owner_log(name, environment)?;
    std::fs::create_dir_all(log.parent().context("the log has no folder")?)?;
    let mut owner = start_owner(wishes, &log)?;
    let mut said = Said { file: File::open(&log)? };
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        said.show()?;
        if let Some(status) = owner.try_wait()? {
            said.show()?;
            bail!("cluster {name} did not start ({status}); all that was said is in {}", log.display());
        }
        let record = Record::read(&found.directory).filter(|record| record.owner.pid == owner.id());
        if let Some(record) = record.filter(|record| record.endpoints.is_some()) {
            print(&format!("cluster {name} is up{}\n", took(&record)))?;
            return print(&how_to_go_on(&record));
        }
        tokio::select! {
            _ = &mut interrupted => {
                kill(Pid::from_raw(i32::try_from(owner.id())?), Signal::SIGTERM)?;
                tokio::task::spawn_blocking(move || owner.wait()).await??;
                Named::find(name, environment)?.end().await?;
                std::fs::remove_file(&log)?;
                bail!("interrupted; cluster {name} was not started");
            }
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
        }
    }
}

/// Where the holding process writes, beside the cluster's directory.
pub(crate) fn owner_log(name: &str, environment: &Environment) -> anyhow::Result<PathBuf> {
    Ok(devcluster::named_directory(name, environment)?.with_extension("log"))
}

fn start_owner(wishes: &Wishes, log: &PathBuf) -> anyhow::Result<Child> {
    let file = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["cluster", "hold"]).args(arguments(wishes));
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    // It outlives this command and the directory that it was called in.
    command.current_dir("/").spawn().context("failed to start the process that holds the cluster")
}

/// The wishes as the command line that expresses them.
fn arguments(wishes: &Wishes) -> Vec<String> {
    let Wishes { name: Name { name }, no_kafka, audit_log, no_fsync, api_port, kafka_port, containers } = wishes;
    let flags =
        [("--no-kafka", no_kafka), ("--audit-log", audit_log), ("--no-fsync", no_fsync), ("--containers", containers)];
    let ports = [("--api-port", api_port), ("--kafka-port", kafka_port)];
    let mut arguments = vec![format!("--name={name}")];
    arguments.extend(flags.iter().filter(|(_, wanted)| **wanted).map(|(flag, _)| (*flag).to_owned()));
    arguments.extend(ports.iter().filter_map(|(flag, port)| Some(format!("{flag}={}", (**port)?))));
    arguments
}

/// What the holding process says, shown as it comes.
struct Said {
    file: File,
}

impl Said {
    fn show(&mut self) -> anyhow::Result<()> {
        let mut text = Vec::new();
        self.file.read_to_end(&mut text)?;
        // Progress goes where it would go without a process in between.
        std::io::stderr().lock().write_all(&text).context("failed to show progress")
    }
}

fn took(record: &Record) -> String {
    let took = record.ready_after_ms.map(|ms| devcluster::human(Duration::from_millis(ms)));
    took.map(|took| format!(", ready in {took}")).unwrap_or_default()
}

/// The command that starts a cluster of this name.
pub(crate) fn command(name: &str) -> String {
    format!("cargo xtask cluster up{}", option(name))
}

fn option(name: &str) -> String {
    if name == "default" { String::new() } else { format!(" --name {name}") }
}

fn how_to_go_on(record: &Record) -> String {
    let Some(endpoints) = &record.endpoints else { return String::new() };
    let option = option(&record.name);
    let mut lines = vec![format!("  kubeconfig   {}", endpoints.kubeconfig.display())];
    lines.extend(endpoints.kafka.as_ref().map(|kafka| format!("  Kafka        {kafka}")));
    lines.extend([
        String::new(),
        "to use it from this shell, and to see and end it:".to_owned(),
        format!("  eval \"$(cargo xtask cluster env{option})\""),
        "  kubectl get namespaces".to_owned(),
        "  cargo xtask cluster status".to_owned(),
        format!("  cargo xtask cluster logs{option} -f"),
        format!("  cargo xtask cluster down{option}"),
        String::new(),
    ]);
    lines.join("\n")
}
