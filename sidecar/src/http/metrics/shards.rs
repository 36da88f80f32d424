//! Numbers that several threads add to with every request, each thread in a place of its own: one place for all would go from core to core, and
//! that costs as much as finding an entity. A scrape adds the places up. `metrics` makes them.

use std::array;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Atomic;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Places; as many as there are threads that serve requests, and some for the others.
const PLACES: usize = 4;

/// One thread's numbers, apart from any other's: processors fetch memory in pairs of lines of 64 bytes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place<T>(T);

/// The place of the running thread.
fn place<T>(places: &[Place<T>; PLACES]) -> &T {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PLACES;
    }
    let [first, ..] = places;
    // Of a thread that is ending.
    let own = OWN.try_with(|own| *own).unwrap_or_default();
    &places.get(own).unwrap_or(first).0
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count([Place<AtomicU64>; PLACES]);

impl Atomic<u64> for Count {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    fn inc_by(&self, by: u64) -> u64 {
        place(&self.0).fetch_add(by, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.iter().map(|place| place.0.load(Ordering::Relaxed)).sum()
    }
}

/// How long something took, each time; clones count together.
#[derive(Clone)]
pub(super) struct Times<const BOUNDS: usize> {
    /// Upper bounds of the buckets in seconds, ascending.
    bounds: &'static [f64; BOUNDS],
    places: Arc<[Place<Taken<BOUNDS>>; PLACES]>,
}

struct Taken<const BOUNDS: usize> {
    buckets: [AtomicU64; BOUNDS],
    /// Those that took longer than the last bound.
    longer: AtomicU64,
    nanoseconds: AtomicU64,
}

impl<const BOUNDS: usize> Times<BOUNDS> {
    pub(super) fn new(bounds: &'static [f64; BOUNDS]) -> Self {
        let taken = || Taken {
            buckets: array::from_fn(|_| AtomicU64::new(0)),
            longer: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        };
        Self { bounds, places: Arc::new(array::from_fn(|_| Place(taken()))) }
    }

    pub(super) fn observe(&self, took: Duration) {
        let taken = place(&self.places);
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.iter().zip(&taken.buckets).find(|(bound, _)| seconds <= **bound);
        bucket.map_or(&taken.longer, |(_, bucket)| bucket).fetch_add(1, Ordering::Relaxed);
        taken.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The sum in seconds, how many there were, and how many in each bucket.
    fn added_up(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let sum = |number: fn(&Taken<BOUNDS>) -> &AtomicU64| -> u64 {
            self.places.iter().map(|place| number(&place.0).load(Ordering::Relaxed)).sum()
        };
        let mut buckets: Vec<(f64, u64)> = self.bounds.iter().map(|bound| (*bound, 0)).collect();
        for place in self.places.iter() {
            for ((_, total), bucket) in buckets.iter_mut().zip(&place.0.buckets) {
                *total += bucket.load(Ordering::Relaxed);
            }
        }
        buckets.push((f64::INFINITY, sum(|taken| &taken.longer)));
        let count = buckets.iter().map(|(_, count)| count).sum();
        (Duration::from_nanos(sum(|taken| &taken.nanoseconds)).as_secs_f64(), count, buckets)
    }
}

impl<const BOUNDS: usize> fmt::Debug for Times<BOUNDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Times").field(&self.added_up()).finish()
    }
}

impl<const BOUNDS: usize> TypedMetric for Times<BOUNDS> {
    const TYPE: MetricType = MetricType::Histogram;
}

impl<const BOUNDS: usize> EncodeMetric for Times<BOUNDS> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (sum, count, buckets) = self.added_up();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_several_threads_count_is_added_up_and_told_as_a_histogram() {
        let mut registry = Registry::default();
        let (count, times) = (Counter::<u64, Count>::default(), Times::new(&[0.001, 0.1]));
        registry.register("asked", "How often", count.clone());
        registry.register("took", "How long", times.clone());
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for milliseconds in [1, 100, 101] {
                        count.inc();
                        times.observe(Duration::from_millis(milliseconds));
                    }
                });
            }
        });
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "asked_total 18",
            "took_sum 1.212",
            "took_count 18",
            "took_bucket{le=\"0.001\"} 6",
            "took_bucket{le=\"0.1\"} 12",
            "took_bucket{le=\"+Inf\"} 18",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
