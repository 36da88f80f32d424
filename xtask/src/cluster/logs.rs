//! `logs`: what the processes of a cluster print. One part's log whole, or the last lines of each; with `-f` as it goes
//! on, each line marked with its part.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use devcluster::environment::Environment;
use devcluster::named::Named;

use super::{Name, print};

const LAST_LINES: usize = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Whose logs, and how.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    name: Name,
    /// etcd, kube-apiserver, kube-controller-manager, kafka, toxiproxy or audit [default: the end of each]
    part: Option<String>,
    /// Go on as the log grows, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

struct Log {
    title: String,
    path: PathBuf,
    /// How much of it has been shown.
    shown: u64,
}

pub(crate) async fn run(options: &Options, environment: &Environment) -> anyhow::Result<()> {
    let cluster = Named::find(&options.name.name, environment)?;
    let folder = cluster.directory.join("logs");
    let mut logs = logs_in(&folder).with_context(|| format!("cluster {} has no logs", options.name.name))?;
    let known: Vec<String> = logs.iter().map(|log| log.title.clone()).collect();
    if let Some(part) = &options.part {
        logs.retain(|log| log.title == *part);
        if logs.is_empty() {
            bail!("there is no log of {part:?}; there are: {}", known.join(", "));
        }
    }
    let single = options.part.is_some();
    for log in &mut logs {
        let text = log.rest()?;
        if single {
            print(&text)?;
        } else {
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
            print(&format!("== {} ({})\n{}\n\n", log.title, log.path.display(), last.join("\n")))?;
        }
    }
    if options.follow { follow(&mut logs, single).await } else { Ok(()) }
}

/// Until Ctrl-C ends the program, or the cluster's end takes the logs away.
async fn follow(logs: &mut [Log], single: bool) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        for log in &mut *logs {
            if !log.path.exists() {
                return Ok(());
            }
            let text = log.rest()?;
            let mark = if single { String::new() } else { format!("{:<24}", log.title) };
            print(&text.lines().map(|line| format!("{mark}{line}\n")).collect::<String>())?;
        }
    }
}

fn logs_in(folder: &PathBuf) -> anyhow::Result<Vec<Log>> {
    let mut logs: Vec<Log> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|it| it == "log"))
        .filter_map(|path| Some(Log { title: path.file_stem()?.to_string_lossy().into_owned(), path, shown: 0 }))
        .collect();
    logs.sort_by(|one, other| one.title.cmp(&other.title));
    Ok(logs)
}

impl Log {
    /// What has not been shown yet, up to its last whole line.
    fn rest(&mut self) -> anyhow::Result<String> {
        let mut file = File::open(&self.path).with_context(|| format!("failed to open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.shown))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        bytes.truncate(whole);
        self.shown += u64::try_from(whole)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
