//! `cargo xtask cluster`: a devcluster that stays up in the background. Owns the command line, what it prints, and the
//! process that holds the cluster; everything that a cluster is stands in `devcluster`. `main` calls it.

mod hold;
mod logs;
mod status;
mod up;

use std::io::{ErrorKind, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use devcluster::containers::ContainerCluster;
use devcluster::environment::Environment;
use devcluster::named::{Ended, Named, State};

/// What to do with clusters.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Build what is missing, start a cluster, and leave it running in the background
    Up(Wishes),
    /// End a cluster, also one that was left over, and remove its data
    Down(Name),
    /// Show every cluster with its processes
    Status,
    /// Print what a shell needs to use a cluster: eval "$(cargo xtask cluster env)"
    Env(Name),
    /// Print a cluster's logs
    Logs(logs::Options),
    /// Be the process that holds a cluster
    #[command(hide = true)]
    Hold(Wishes),
}

/// Which cluster.
#[derive(Args, Clone)]
pub(crate) struct Name {
    /// The cluster's name
    #[arg(long, default_value = "default")]
    name: String,
}

/// What kind of cluster.
#[derive(Args, Clone)]
pub(crate) struct Wishes {
    #[command(flatten)]
    name: Name,
    /// Without Kafka
    #[arg(long)]
    no_kafka: bool,
    /// Write every request to the API server into logs/audit.log
    #[arg(long, conflicts_with = "containers")]
    audit_log: bool,
    /// Let etcd not wait for the disk: faster, and a crash of the machine may lose writes
    #[arg(long, conflicts_with = "containers")]
    no_fsync: bool,
    /// The API server's port [default: a free one]
    #[arg(long, value_name = "PORT", conflicts_with = "containers")]
    api_port: Option<u16>,
    /// Kafka's port [default: a free one]
    #[arg(long, value_name = "PORT", conflicts_with = "containers")]
    kafka_port: Option<u16>,
    /// Run k3s and Kafka images with Docker, in place of programs that are built here
    #[arg(long)]
    containers: bool,
}

/// Runs a command.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let environment = Environment::of_this_process();
    if let Command::Hold(wishes) = command {
        return hold::run(&wishes);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Up(wishes) => up::run(&wishes, &environment).await,
            Command::Down(name) => down(&name.name, &environment).await,
            Command::Status => status::run(&environment),
            Command::Env(name) => env(&name.name, &environment),
            Command::Logs(options) => logs::run(&options, &environment).await,
            Command::Hold(_) => Ok(()),
        }
    })
}

async fn down(name: &str, environment: &Environment) -> anyhow::Result<()> {
    let ended = Named::find(name, environment)?.end().await?;
    if ended != Ended::InOrder {
        // An owner that was killed leaves no process, but containers do not end with it.
        ContainerCluster::remove_left_over(environment).await?;
    }
    // The log of the owner lies beside the directory, which is emptied at each start.
    let _ = std::fs::remove_file(up::owner_log(name, environment)?);
    print(&match ended {
        Ended::Nothing => format!("there is no cluster {name}\n"),
        Ended::InOrder => format!("cluster {name} is down, its data removed\n"),
        Ended::Killed => format!("cluster {name} did not end in time and was killed, its data removed\n"),
        Ended::LeftOver(1) => format!("cluster {name} was left over: ended its last process, removed its data\n"),
        Ended::LeftOver(count) => format!("cluster {name} was left over: ended {count} processes, removed its data\n"),
        Ended::Files => format!("cluster {name} was not running, its files are removed\n"),
    })
}

fn env(name: &str, environment: &Environment) -> anyhow::Result<()> {
    let found = Named::find(name, environment)?;
    let record = found.record.filter(|_| found.state == State::Up);
    let record = record.with_context(|| format!("cluster {name} is not up; start it with: {}", up::command(name)))?;
    let endpoints = record.endpoints.context("the cluster has no endpoints")?;
    let mut text = format!("export KUBECONFIG={}\n", quoted(&endpoints.kubeconfig.to_string_lossy()));
    match endpoints.kafka {
        Some(kafka) => text.push_str(&format!("export KAB_KAFKA={}\n", quoted(&kafka))),
        // One that an earlier eval left would be another cluster's.
        None => text.push_str("unset KAB_KAFKA\n"),
    }
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file()));
    if let (false, Some(folder)) = (on_path, record.kubectl.parent()) {
        text.push_str(&format!("export PATH=\"$PATH\":{}\n", quoted(&folder.to_string_lossy())));
    }
    print(&text)
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Prints to standard output; a reader that has heard enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("failed to print"),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("/home/me/kubeconfig"), "/home/me/kubeconfig");
        assert_eq!(quoted("/home/my name/k"), "'/home/my name/k'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("$(rm)"), "'$(rm)'");
    }
}
