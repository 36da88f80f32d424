//! The sidecar: serves custom resources as entities on localhost, and broadcasts their changes to Kafka.
//!
//! `main → app → drivers (http, admission, bridge, expirer, notifier, reconciler) → gateways (store, informer, hooks, leases, events) → sidecar_core → contract`. Drivers never import drivers, gateways
//! never import gateways or drivers; only `app` constructs.

pub mod app;
pub mod config;

pub mod admission;
pub mod bridge;
pub mod expirer;
pub mod http;
pub mod notifier;
pub mod reconciler;

pub mod events;
pub mod hooks;
pub mod informer;
pub mod leases;
pub mod store;

pub mod budget;
pub mod kinds;
mod resource;
pub mod spans;
pub mod view;

#[cfg(test)]
mod fake;
