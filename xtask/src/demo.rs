//! `cargo demo`: the whole system from nothing, a tour of it, and then it stays.
//!
//! Owns the order of things; [`stage`] is the system itself, [`tour`] what is shown of it, [`screen`] how that looks.

mod screen;
mod stage;
mod tour;

use std::time::Instant;

use screen::Screen;
use stage::Stage;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// End after the tour, with exit code 0 only if every step was as it should be.
    #[arg(long)]
    once: bool,
}

/// Runs the demo.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let interrupted = tokio::signal::ctrl_c();
        tokio::select! {
            outcome = show(options) => outcome,
            _ = interrupted => anyhow::bail!("interrupted; everything that was started has been ended"),
        }
    })
}

async fn show(options: &Options) -> anyhow::Result<()> {
    let (start, mut screen) = (Instant::now(), Screen::new());
    screen.heading("k8s-as-backend: the whole system on this machine");
    let mut stage = Stage::set(&mut screen).await?;
    let toured = tour::walk(&mut stage, &mut screen).await;
    if let Err(error) = toured {
        eprint_logs(&stage);
        stage.strike().await;
        return Err(error);
    }
    screen.heading(&format!("Every step was as it should be ({:.0} s in all).", start.elapsed().as_secs_f64()));
    if !options.once {
        stage.leaflet(&mut screen);
        tokio::signal::ctrl_c().await?;
        screen.say("\nEnding …");
    }
    stage.strike().await;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the demo talks to a person at a terminal")]
fn eprint_logs(stage: &Stage) {
    eprintln!("{}", stage.logs());
}
