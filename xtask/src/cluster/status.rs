//! `status`: every cluster with its processes, as a table.

use std::path::Path;
use std::time::{Duration, SystemTime};

use devcluster::environment::Environment;
use devcluster::named::{Named, State};
use devcluster::roster::{Member, Record};

use super::{print, up};

pub(crate) fn run(environment: &Environment) -> anyhow::Result<()> {
    let all = Named::all(environment)?;
    if all.is_empty() {
        return print(&format!("there is no cluster; start one with: {}\n", up::command("default")));
    }
    let told: Vec<String> = all.iter().map(tell).collect();
    print(&told.join("\n"))
}

fn tell(cluster: &Named) -> String {
    let name = &cluster.name;
    let owner = cluster.record.as_ref().map(|record| record.owner.pid);
    let held_by = owner.map(|pid| format!(", held by process {pid}")).unwrap_or_default();
    let since = cluster.record.as_ref().map(|record| age(record.begun)).unwrap_or_default();
    let state = match cluster.state {
        State::Up => format!("up for {since}{held_by}"),
        State::Starting => format!("starting for {since}{held_by}"),
        State::LeftOver => {
            format!("left over: its owner is gone. End it with: cargo xtask cluster down --name {name}")
        }
        State::Ended | State::Absent => {
            format!("not running; its logs are in {}/logs\n", cluster.directory.display())
                + &format!("  remove them with: cargo xtask cluster down --name {name}")
        }
    };
    let mut text = format!("{name}: {state}\n");
    let Some(record) = cluster.record.as_ref().filter(|_| cluster.state != State::Ended) else { return text };
    if let Some(endpoints) = &record.endpoints {
        text.push_str(&format!("  kubeconfig {}\n", endpoints.kubeconfig.display()));
        if let Some(kafka) = &endpoints.kafka {
            text.push_str(&format!("  Kafka {kafka}\n"));
        }
    }
    text.push_str(&table(&cluster.directory, record));
    text
}

fn table(directory: &Path, record: &Record) -> String {
    if record.members.is_empty() {
        return String::new();
    }
    let head = ["PROCESS", "PID", "PORT", "MEMORY", "STATE", "LOG"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(record.members.iter().map(row)).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            // Numbers are read from their right end.
            .map(|(column, (cell, width))| match column {
                1..=3 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            })
            .collect();
        text.push_str(&format!("  {}\n", cells.join("  ").trim_end()));
    }
    let prefix = format!("{}/", directory.display());
    format!("  in {}\n{}", directory.display(), text.replace(&prefix, ""))
}

fn row(member: &Member) -> [String; 6] {
    let alive = member.process.filter(|process| process.is_alive());
    let state = match (member.process, alive) {
        (None, _) => "stopped",
        (Some(_), None) => "died",
        (_, Some(process)) if process.is_frozen() => "frozen",
        _ => "running",
    };
    [
        member.part.to_string(),
        alive.map_or_else(|| "-".to_owned(), |process| process.pid.to_string()),
        member.port.to_string(),
        alive.and_then(|process| process.resident_bytes()).map_or_else(|| "-".to_owned(), megabytes),
        state.to_owned(),
        member.log.display().to_string(),
    ]
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

fn age(begun: SystemTime) -> String {
    let minutes = begun.elapsed().unwrap_or(Duration::ZERO).as_secs() / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
