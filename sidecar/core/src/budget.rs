//! What the entity API may use of the cluster for one kind: entities, bytes, writes in a second; and when to say that little is left.
//!
//! Owns the decision whether a write may go on. The caller brings the present use, what the write would add ([`crate::write::growth`]) and the
//! time; what is under way is remembered here until the caller gives it back. What makes nothing larger is never refused for objects or bytes,
//! and a delete is not even asked about. The sidecar's `budget` keeps one of these for each kind.

mod alarm;
mod bucket;

use std::time::{Duration, Instant};

use contract::problem::{Code, Problem};

pub use alarm::{Alarm, Level};
pub use bucket::{Bucket, Rate};

use crate::kind::Kind;

/// The bounds of a kind; what is absent is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Entities.
    pub objects: Option<u64>,
    /// Bytes of the entities' business JSON.
    pub bytes: Option<u64>,
    /// Writes that this sidecar makes.
    pub writes_per_second: Option<Rate>,
}

/// Entities and their bytes: how many there are, or how many a write adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Entities.
    pub objects: u64,
    /// Bytes of their business JSON.
    pub bytes: u64,
}

/// A bound of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// Entities.
    Objects,
    /// Bytes.
    Bytes,
    /// Writes in a second.
    Writes,
}

/// Why a write may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There would be too much.
    Full {
        /// Of what.
        bound: Bound,
        /// The bound.
        limit: u64,
        /// What there is, with what is under way.
        used: u64,
        /// What the write would add.
        more: u64,
    },
    /// There were too many writes just now.
    TooFast {
        /// The bound.
        rate: Rate,
        /// When one more fits.
        wait: Duration,
    },
}

/// The budget of one kind, and what is under way.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    bucket: Option<Bucket>,
    under_way: Usage,
}

impl Limits {
    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the present use must be known to judge a write.
    pub fn count(&self) -> bool {
        self.objects.is_some() || self.bytes.is_some()
    }
}

impl Budget {
    /// With nothing under way, and a whole second's writes to begin with.
    pub fn new(limits: Limits) -> Self {
        Self { limits, bucket: limits.writes_per_second.map(Bucket::new), under_way: Usage::default() }
    }

    /// Its bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets a write go on, or not. `present` is what there is without what is under way; what the write adds is under way from here on, until it is given
    /// to [`Budget::settle`]. What is refused for objects or bytes costs no write.
    ///
    /// # Errors
    /// Which bound is in the way.
    pub fn admit(&mut self, present: Usage, more: Usage, now: Instant) -> Result<(), Refusal> {
        let bounds = [
            (Bound::Objects, self.limits.objects, present.objects, self.under_way.objects, more.objects),
            (Bound::Bytes, self.limits.bytes, present.bytes, self.under_way.bytes, more.bytes),
        ];
        for (bound, limit, present, under_way, more) in bounds {
            let used = present.saturating_add(under_way);
            if let Some(limit) = limit.filter(|limit| more > 0 && used.saturating_add(more) > *limit) {
                return Err(Refusal::Full { bound, limit, used, more });
            }
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now).map_err(|wait| Refusal::TooFast { rate: bucket.rate(), wait })?;
        }
        self.under_way.objects = self.under_way.objects.saturating_add(more.objects);
        self.under_way.bytes = self.under_way.bytes.saturating_add(more.bytes);
        Ok(())
    }

    /// A write that was admitted has come to its end, whichever.
    pub fn settle(&mut self, more: Usage) {
        self.under_way.objects = self.under_way.objects.saturating_sub(more.objects);
        self.under_way.bytes = self.under_way.bytes.saturating_sub(more.bytes);
    }

    /// What is used of each bound that there is: bound, used, limit. `present` as for [`Budget::admit`], absent while it is not known; of
    /// writes, those that have not come back yet, out of those that may come at once.
    pub fn used(&self, present: Option<Usage>, now: Instant) -> Vec<(Bound, f64, f64)> {
        // Numbers of entities and bytes are far below where a double loses the last digit.
        let counted = |bound, limit: Option<u64>, used: Option<u64>| Some((bound, used? as f64, limit? as f64));
        let writes = self
            .bucket
            .as_ref()
            .map(|bucket| (Bound::Writes, bucket.used(now) as f64, f64::from(bucket.rate().burst())));
        [
            counted(Bound::Objects, self.limits.objects, present.map(|present| present.objects)),
            counted(Bound::Bytes, self.limits.bytes, present.map(|present| present.bytes)),
            writes,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Bound {
    /// As configured behind `budget.`.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Bytes => "bytes",
            Self::Writes => "writesPerSecond",
        }
    }
}

impl Refusal {
    /// The bound in the way.
    pub fn bound(&self) -> Bound {
        match self {
            Self::Full { bound, .. } => *bound,
            Self::TooFast { .. } => Bound::Writes,
        }
    }

    /// For the caller: the problem, and the seconds after which to try again, where that helps.
    pub fn told(&self, kind: &Kind) -> (Problem, Option<u64>) {
        let plural = &kind.plural;
        match self {
            Self::Full { bound, limit, used, more } => {
                let what = match bound {
                    Bound::Objects => format!("there are {used} {plural} and the budget is {limit}"),
                    _ => format!(
                        "the {plural} have {used} bytes, this would add about {more}, and the budget is {limit}"
                    ),
                };
                let detail = format!(
                    "{what} (budget.{}): delete some, or ask whoever configures this sidecar for more",
                    bound.setting()
                );
                (Problem::new(Code::OverBudget, detail), None)
            }
            Self::TooFast { rate, wait } => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let detail = format!(
                    "{plural} may be written {rate} times a second here (budget.writesPerSecond), and were: try again in {seconds} s"
                );
                (Problem::new(Code::TooManyRequests, detail), Some(seconds))
            }
        }
    }
}

#[cfg(test)]
mod tests;
