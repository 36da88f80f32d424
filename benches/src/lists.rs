//! Lists: of everything, against other servers; and by an indexed field, against a list of as many.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use serde_json::json;

use crate::api::{LISTED, LOAD, run};
use crate::figures::{Figure, Goal};
use crate::load;
use crate::peers;
use crate::system::System;

const CONNECTIONS: usize = 16;
/// Entities for which the filter holds.
const FOUND: usize = 10;
/// `done == true`.
const FILTERED: &str = "/v1/todos?filter=done%20%3D%3D%20true";

/// Measures rates at 16 connections.
pub(crate) async fn measure(system: &System, rounds: usize, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let path = "/v1/todos";
    let answer = system.sidecar.api.get(path).await?.expect(200)?;
    let others = [
        (peers::bare_hyper(system, path, &answer).await?, Goal::AtLeast(0.4)),
        (peers::kubectl_proxy(system, "").await?, Goal::AtLeast(40.0)),
    ];
    println!("LIST of {LISTED}, {CONNECTIONS} connections, {rounds} rounds …");
    let name =
        format!("LIST of {LISTED} ({} kB), {CONNECTIONS} connections: rate", answer.body.to_string().len() / 1000);
    let (mut ours, mut theirs) = (Vec::new(), vec![Vec::new(); others.len()]);
    for _ in 0..rounds {
        ours.push(rate(system, path).await?);
        for ((peer, _), rates) in others.iter().zip(&mut theirs) {
            rates.push(run(peer, CONNECTIONS).await?.rate);
        }
    }
    for ((peer, goal), rates) in others.iter().zip(&theirs) {
        figures.push(Figure::against(&name, &ours, "1/s", peer.name, rates, *goal));
    }
    filtered(system, rounds, figures).await
}

async fn filtered(system: &System, rounds: usize, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    println!("LIST by an indexed field, {FOUND} of {LISTED}, {CONNECTIONS} connections, {rounds} rounds …");
    for number in 0..FOUND {
        let path = format!("/v1/todos/todo-{:06}", number * LISTED / FOUND);
        system.sidecar.api.patch(&path, &json!({"done": true})).await?.expect(200)?;
    }
    let found = system.sidecar.api.get(FILTERED).await?.expect(200)?;
    let count = found.body.get("items").and_then(|items| items.as_array()).map_or(0, Vec::len);
    anyhow::ensure!(count == FOUND, "the filter holds for {count} entities");
    let (mut ours, mut as_many, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(rate(system, FILTERED).await?);
        as_many.push(rate(system, &format!("/v1/todos?limit={FOUND}")).await?);
        all.push(rate(system, "/v1/todos").await?);
    }
    let name = format!("LIST by an indexed field, {FOUND} of {LISTED}, {CONNECTIONS} connections: rate");
    figures.push(Figure::against(&name, &ours, "1/s", "the first ten, no filter", &as_many, Goal::AtLeast(0.5)));
    figures.push(Figure::against(&name, &ours, "1/s", "all of them, no filter", &all, Goal::None));
    Ok(())
}

async fn rate(system: &System, path: &str) -> anyhow::Result<f64> {
    Ok(load::run(system.address()?, &load::get(path), CONNECTIONS, LOAD).await?.rate)
}
