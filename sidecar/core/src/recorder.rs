//! Kubernetes Events (events.k8s.io/v1): which of what is told become Events, which make an Event a series, and which are left out.
//!
//! Owns what waits to be written, and every decision about it: the same about the same object is one Event with a count; each object, and the sidecar as a
//! whole, may only have so many; what cannot be written soon is dropped and counted. It never does IO and never looks at a clock. `sidecar/src/events.rs`
//! hands in what drivers tell, and makes the requests, one at a time.

mod note;
#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
mod tokens;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use note::{About, Action, Custom, NoReason, Note, Reason, Severity};
pub use wire::{Answer, Write, answer, message};

use crate::backoff::Backoff;
use crate::fnv;
use tokens::{Rate, Tokens};
use wire::Seen;

/// What is not seen again for so long is something new when it is (as client-go's recorder has it).
const WINDOW: Duration = Duration::from_secs(360);
/// So many writes of an Event go out at once; then one in each [`CALM`].
const FIRST_WRITES: u32 = 3;
const CALM: Duration = Duration::from_secs(60);
/// New Events about one object.
const PER_OBJECT: Rate = Rate { burst: 10, each: Duration::from_secs(60) };
/// Writes of this sidecar, about whatever.
const OVERALL: Rate = Rate { burst: 100, each: Duration::from_millis(500) };
/// Of those, kept for what is new.
const FOR_NEW: u32 = 50;
/// New Events that wait; with at most 1 KiB of message each, some hundred kilobytes at the very worst.
const QUEUE: usize = 256;
/// Events of which is known how often they were seen.
const SERIES: usize = 512;
/// How long a new Event waits for an API server that is away.
const KEEP: Duration = Duration::from_secs(120);
/// How long nothing is tried after the right was found missing.
const DENIED: Duration = Duration::from_secs(60);
const AWAY: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(20) };

/// The time: for waits, and as people know it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Never goes back.
    pub instant: Instant,
    /// As Events have it.
    pub wall: Timestamp,
}

/// What became of something that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It is an Event.
    Created,
    /// It is in the count of an Event, written as a series.
    Counted,
    /// There was too much about one object, or in all.
    Limited,
    /// Too much waited; this was the oldest.
    Full,
    /// The API server was away for too long.
    Away,
    /// The right to write Events is missing.
    Denied,
    /// The API server does not take it.
    Refused,
}

/// An outcome, with [`Reason::label`] of what it became of.
pub type Count = (&'static str, Outcome);

/// What is told, until it is written.
#[derive(Debug)]
pub struct Recorder {
    instance: String,
    salt: u64,
    named: u64,
    series: HashMap<u64, Series>,
    /// Those that are not Events yet, oldest first.
    new: VecDeque<u64>,
    objects: HashMap<u64, Tokens>,
    overall: Option<Tokens>,
    in_flight: Option<Flight>,
    failures: u32,
    paused_until: Option<Instant>,
    denied_until: Option<Instant>,
    swept: Option<Instant>,
    counts: Vec<Count>,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    id: u64,
    count: u32,
}

/// Something that was told once or many times.
#[derive(Debug)]
struct Series {
    about: About,
    note: Note,
    name: String,
    first: Timestamp,
    last: Timestamp,
    count: u32,
    /// How many of them the API server knows of; 0: it is no Event yet.
    stored: u32,
    writes: u32,
    born: Instant,
    seen: Instant,
    /// When it may be written again.
    free_at: Instant,
}

impl Series {
    fn seen(&self) -> Seen {
        Seen { count: self.count, first: self.first, last: self.last }
    }

    fn is_due(&self) -> bool {
        self.stored > 0 && self.stored < self.count
    }
}

impl Recorder {
    /// With nothing to write. `instance` is the sidecar's own name; `salt`, random, makes the names of its Events its own.
    pub fn new(instance: &str, salt: u64) -> Self {
        let end = instance.floor_char_boundary(instance.len().min(128));
        Self {
            instance: instance.get(..end).unwrap_or_default().to_owned(),
            salt,
            named: 0,
            series: HashMap::new(),
            new: VecDeque::new(),
            objects: HashMap::new(),
            overall: None,
            in_flight: None,
            failures: 0,
            paused_until: None,
            denied_until: None,
            swept: None,
            counts: Vec::new(),
        }
    }

    /// Takes in what is told.
    pub fn tell(&mut self, about: &About, note: Note, now: Now) {
        self.sweep(now.instant);
        let note = note.cut();
        let (object, id) = identify(about, &note);
        if let Some(series) = self.series.get_mut(&id) {
            series.count = series.count.saturating_add(1);
            (series.last, series.seen) = (now.wall, now.instant);
            return;
        }
        let label = note.reason.label();
        if self.denied_until.is_some_and(|until| now.instant < until) {
            self.counts.push((label, Outcome::Denied));
            return;
        }
        let full = |rate| Tokens::full(rate, now.instant);
        let of_object = self.objects.entry(object).or_insert_with(|| full(PER_OBJECT));
        let overall = self.overall.get_or_insert_with(|| full(OVERALL));
        if overall.ready_at(0) > now.instant || !of_object.take(0, now.instant) || !overall.take(0, now.instant) {
            self.counts.push((label, Outcome::Limited));
            return;
        }
        self.make_room();
        let name = self.name(about);
        let (first, born) = (now.wall, now.instant);
        let series = Series {
            about: about.clone(),
            note,
            name,
            first,
            last: first,
            count: 1,
            stored: 0,
            writes: 0,
            born,
            seen: born,
            free_at: born,
        };
        self.series.insert(id, series);
        self.new.push_back(id);
    }

    /// The request to make now, if any; its end must be told to [`Recorder::done`] before there is another.
    pub fn next(&mut self, now: Instant) -> Option<Write> {
        if self.in_flight.is_some() || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        while let Some(id) = self.new.pop_front() {
            let Some(series) = self.series.get(&id) else { continue };
            if now.saturating_duration_since(series.born) > KEEP {
                self.drop_series(id, Outcome::Away);
                continue;
            }
            let write = wire::create(&series.name, &series.about, &series.note, &self.instance, series.seen());
            self.in_flight = Some(Flight { id, count: series.count });
            return Some(write);
        }
        let (id, due) = self.due()?;
        if due > now || !self.overall.as_mut().is_some_and(|overall| overall.take(FOR_NEW, now)) {
            return None;
        }
        let series = self.series.get(&id)?;
        let write = wire::patch(&series.name, &series.about, series.seen());
        self.in_flight = Some(Flight { id, count: series.count });
        Some(write)
    }

    /// When [`Recorder::next`] has something, as far as is known; nothing while a request is under way.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.in_flight.is_some() {
            return None;
        }
        let first = self.new.front().and_then(|id| self.series.get(id)).map(|series| series.born);
        let due = first.or_else(|| {
            let tokens = self.overall.as_ref().map(|overall| overall.ready_at(FOR_NEW));
            self.due().map(|(_, due)| tokens.map_or(due, |tokens| due.max(tokens)))
        })?;
        Some(self.paused_until.map_or(due, |until| due.max(until)))
    }

    /// The end of the request under way.
    pub fn done(&mut self, answer: Answer, now: Instant) {
        let Some(Flight { id, count }) = self.in_flight.take() else { return };
        let Some(series) = self.series.get_mut(&id) else { return };
        let was_new = series.stored == 0;
        if !matches!(answer, Answer::Away(_)) {
            (self.failures, self.paused_until) = (0, None);
        }
        match answer {
            Answer::Stored => {
                series.stored = count;
                series.writes += 1;
                series.free_at = if series.writes < FIRST_WRITES { now } else { now + CALM };
                let outcome = if was_new { Outcome::Created } else { Outcome::Counted };
                self.counts.push((series.note.reason.label(), outcome));
            }
            Answer::Away(retry_after) => {
                self.failures = self.failures.saturating_add(1);
                let jitter = (fnv::mix(self.salt ^ u64::from(self.failures)) >> 11) as f64 / (1_u64 << 53) as f64;
                let wait = AWAY.delay(self.failures, jitter).max(retry_after.unwrap_or_default());
                self.paused_until = Some(now + wait);
                if was_new {
                    self.new.push_front(id);
                }
            }
            Answer::Denied => {
                self.denied_until = Some(now + DENIED);
                series.free_at = now + DENIED;
                if was_new {
                    self.new.push_front(id);
                }
                while let Some(id) = self.new.pop_front() {
                    self.drop_series(id, Outcome::Denied);
                }
            }
            // Events live for an hour: what goes on for longer is a new one then.
            Answer::Gone if !was_new => {
                (series.stored, series.writes, series.born) = (0, 0, now);
                let about = series.about.clone();
                let name = self.name(&about);
                if let Some(series) = self.series.get_mut(&id) {
                    series.name = name;
                }
                self.new.push_back(id);
            }
            Answer::Gone | Answer::Refused => self.drop_series(id, Outcome::Refused),
        }
    }

    /// Lets what waits for a better time go at once: the process is ending.
    pub fn hasten(&mut self, now: Instant) {
        for series in self.series.values_mut() {
            series.free_at = series.free_at.min(now);
        }
    }

    /// What became of what was told since the last call.
    pub fn counts(&mut self) -> Vec<Count> {
        std::mem::take(&mut self.counts)
    }

    /// The next count to write, and when.
    fn due(&self) -> Option<(u64, Instant)> {
        let due = self.series.iter().filter(|(_, series)| series.is_due());
        due.map(|(id, series)| (*id, series.free_at)).min_by_key(|(_, free_at)| *free_at)
    }

    /// Forgets what was not seen for long and is written, so that it is something new when it is seen again.
    fn sweep(&mut self, now: Instant) {
        const PAUSE: Duration = Duration::from_secs(10);
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < PAUSE) {
            return;
        }
        self.swept = Some(now);
        let in_flight = self.in_flight.map(|flight| flight.id);
        self.series.retain(|id, series| {
            let is_over = now.saturating_duration_since(series.seen) > WINDOW;
            !is_over || series.stored == 0 || Some(*id) == in_flight
        });
        self.objects.retain(|_, tokens| !tokens.is_full(now));
    }

    /// For one more.
    fn make_room(&mut self) {
        if self.new.len() >= QUEUE
            && let Some(oldest) = self.new.pop_front()
        {
            self.drop_series(oldest, Outcome::Full);
        }
        if self.series.len() >= SERIES {
            let in_flight = self.in_flight.map(|flight| flight.id);
            let known = self.series.iter().filter(|(id, series)| series.stored > 0 && Some(**id) != in_flight);
            if let Some(id) = known.min_by_key(|(_, series)| series.seen).map(|(id, _)| *id) {
                self.drop_series(id, Outcome::Full);
            }
        }
    }

    /// Forgets it; counts it where the API server does not know all of it.
    fn drop_series(&mut self, id: u64, outcome: Outcome) {
        if let Some(series) = self.series.remove(&id)
            && series.stored < series.count
        {
            self.counts.push((series.note.reason.label(), outcome));
        }
    }

    fn name(&mut self, about: &About) -> String {
        self.named += 1;
        wire::name(about, self.salt.wrapping_add(self.named))
    }
}

/// Which object, and which series about it: of messages that differ in numbers alone, the first stands for all.
fn identify(about: &About, note: &Note) -> (u64, u64) {
    let fold = |hash, text: &str| fnv::fold(fnv::fold(hash, text.as_bytes()), &[0xff]);
    let About { api_version, kind, namespace, name, uid } = about;
    let parts = [api_version, kind, namespace.as_deref().unwrap_or(""), name, uid.as_deref().unwrap_or("")];
    let object = parts.into_iter().fold(fnv::BASIS, fold);
    let words = [note.severity.as_str(), note.reason.as_str(), note.action.as_str()].into_iter().fold(object, fold);
    let class = note.message.split(|letter: char| letter.is_ascii_digit()).filter(|part| !part.is_empty());
    (fnv::mix(object), fnv::mix(class.fold(words, fold)))
}
