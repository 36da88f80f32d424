//! A kind's budget, shared by the requests that write: what is admitted is under way until its guard is dropped, also when the caller goes away.
//!
//! Decides nothing ([`sidecar_core::budget`] does) and asks nobody. `app` makes one for each kind that has bounds and looks at the use now and then, so that
//! somebody is told before a write is refused; `http` asks before each write.

mod metrics;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sidecar_core::budget::{Alarm, Bound, Budget, Level, Limits, Refusal, Usage};
use sidecar_core::recorder::{Action, Note, Reason};
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::kinds::{Kinds, Served};
pub use metrics::Metrics;

/// Between two looks at the use: others write too, so nothing tells when it grows.
const LOOK: Duration = Duration::from_secs(5);

/// The budget of one kind.
#[derive(Debug)]
pub struct Keeper {
    limits: Limits,
    budget: Mutex<Budget>,
    alarms: Mutex<BTreeMap<Bound, Alarm>>,
    metrics: Metrics,
}

/// A write that may go on.
#[derive(Debug)]
#[must_use = "what it adds counts as under way for as long as this is kept"]
pub struct Admitted<'a> {
    keeper: &'a Keeper,
    more: Usage,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.keeper.budget.lock().settle(self.more);
    }
}

impl Keeper {
    /// With nothing under way.
    pub fn new(limits: Limits, metrics: Metrics) -> Self {
        Self { limits, budget: Mutex::new(Budget::new(limits)), alarms: Mutex::default(), metrics }
    }

    /// Its bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets a write that adds `more` go on, or not; `present` is what there is.
    ///
    /// # Errors
    /// Which bound is in the way.
    pub fn admit(&self, served: &Served, present: Usage, more: Usage) -> Result<Admitted<'_>, Refusal> {
        let admitted = self.budget.lock().admit(present, more, Instant::now());
        match admitted {
            Ok(()) => Ok(Admitted { keeper: self, more }),
            Err(refusal) => {
                self.metrics.refused(&served.full_name, refusal.bound());
                Err(refusal)
            }
        }
    }

    /// What is used of each bound, and the bound; of entities and bytes only while it is known how many there are.
    fn used(&self, served: &Served) -> Vec<(Bound, f64, f64)> {
        self.budget.lock().used(served.view.usage(), Instant::now())
    }

    /// Tells when little is left of entities or bytes. Writes come back by themselves.
    fn look(&self, served: &Served, events: &Events) {
        for (bound, used, limit) in self.used(served).into_iter().filter(|(bound, ..)| *bound != Bound::Writes) {
            let level = self.alarms.lock().entry(bound).or_default().look(used / limit);
            let (kind, bound) = (&served.full_name, bound.setting());
            match level {
                Some(Level::Fine) => {
                    tracing::info!(kind, bound, used, limit, "the budget has room again");
                    let text = format!("the budget of {kind} has room for {bound} again");
                    events.tell_own(Note::normal(Reason::BudgetRestored, Action::Count, text));
                }
                Some(level) => {
                    let over = level.per_cent();
                    tracing::warn!(kind, bound, used, limit, "more than {over} % of the budget is used");
                    let text = format!("more than {over} % of the budget of {kind} is used: {used} of {limit} {bound}");
                    events.tell_own(Note::warning(Reason::BudgetLow, Action::Count, text));
                }
                None => {}
            }
        }
    }

    fn level(&self, bound: Bound) -> Level {
        self.alarms.lock().get(&bound).map(|alarm| alarm.level()).unwrap_or_default()
    }
}

/// Looks at all budgets until `stop`.
///
/// # Errors
/// Never.
pub async fn look(kinds: Arc<Kinds>, events: Events, stop: CancellationToken) -> Result<(), Infallible> {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        for served in kinds.served() {
            if let Some(keeper) = &served.budget {
                keeper.look(served, &events);
            }
        }
    }
    Ok(())
}
