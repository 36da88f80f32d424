//! `kab-sidecar`: reads the settings, sets up logs and signals, runs the sidecar, and says why it ended.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use runtime::shutdown::Shutdown;
use sidecar::app::App;
use sidecar::config::Config;

fn main() -> ExitCode {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    runtime::arenas::bound(&environment);
    let config = match Config::load(std::env::args_os(), &environment) {
        Ok(config) => config,
        Err(error) => return ExitCode::from(error.report()),
    };
    run(config, &environment).unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}

fn run(config: Config, environment: &BTreeMap<String, String>) -> anyhow::Result<ExitCode> {
    runtime::telemetry::init(&config.log_level, config.log_format)?;
    // Two threads serve more than an API server takes; a sidecar must not spread over the whole node.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("failed to listen for signals")?;
        let ended = match App::build(config, environment).await {
            Ok(app) => app.run(&shutdown).await,
            Err(error) => Err(error),
        };
        Ok(ended.map_or_else(|error| ExitCode::from(error.report()), |()| ExitCode::SUCCESS))
    })
}
