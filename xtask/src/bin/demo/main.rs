//! `cargo demo`: the whole system from nothing, a tour of it, and then it stays.
//!
//! Owns the order of things; [`stage`] is the system itself, [`tour`] what is shown of it, [`screen`] how that looks.

mod screen;
mod stage;
mod tour;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use screen::Screen;
use stage::Stage;

/// Brings up the whole system on this machine, shows it step by step, and stays until Ctrl-C.
///
/// The first run builds etcd, Kubernetes and our own programs, which takes about ten minutes on two cores; later runs take seconds.
#[derive(Debug, Parser)]
#[command(name = "cargo demo --", version)]
struct Options {
    /// End after the tour, with exit code 0 only if every step was as it should be.
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("\nThe demo ended: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut screen = Screen::new();
        let stage = tokio::select! {
            shown = show(&mut screen) => shown?,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted; everything that was started has been ended"),
        };
        if !options.once {
            stage.leaflet(&mut screen);
            tokio::signal::ctrl_c().await?;
            screen.say("\nEnding …");
        }
        stage.strike().await;
        Ok(())
    })
}

/// Sets the stage and walks through it; what is left standing is the caller's to strike.
async fn show(screen: &mut Screen) -> anyhow::Result<Stage> {
    let start = Instant::now();
    screen.heading("k8s-as-backend: the whole system on this machine");
    let mut stage = Stage::set(screen).await?;
    if let Err(error) = tour::walk(&mut stage, screen).await {
        tell(&stage.logs());
        stage.strike().await;
        return Err(error);
    }
    screen.heading(&format!("Every step was as it should be ({:.0} s in all).", start.elapsed().as_secs_f64()));
    Ok(stage)
}

#[expect(clippy::print_stderr, reason = "the demo talks to a person at a terminal")]
fn tell(text: &str) {
    eprintln!("{text}");
}
