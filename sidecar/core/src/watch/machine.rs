//! The watch's state and its one `step`: owns what was told to whom. Never does IO and never looks at a clock: `now` and the
//! randomness are arguments. The informer calls it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Effect, Input, ListPage, Loss, Note, Refill, Request, Seat, WatchLine};
use crate::backoff::Backoff;
use crate::entity::{ByKey, Entity};
use crate::feed::{Change, Delta, Feed};
use crate::shelf::Shelf;
use crate::version::Version;

/// The machine's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Items of a page of a paged list.
    pub page: usize,
    /// A request whose head, or a list whose body, has not come for so long is given up.
    pub answer: Duration,
    /// A watch that has been silent for so long is given up. The API server sends a bookmark each minute, a second or two late.
    pub silence: Duration,
    /// The API server ends a watch after between four fifths and the whole of this.
    pub lifetime: Duration,
    /// A watch that lived so long was healthy: it is opened again at once when it ends.
    pub settled: Duration,
    /// What the entities may take, keys and labels included.
    pub cache_bytes: usize,
    /// Until it is tried again whether they fit: as dear as a list of all that does.
    pub full: Duration,
    /// Between failures.
    pub backoff: Backoff,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            page: 500,
            answer: Duration::from_secs(30),
            silence: Duration::from_secs(75),
            lifetime: Duration::from_secs(290),
            settled: Duration::from_secs(10),
            cache_bytes: usize::MAX,
            full: Duration::from_secs(60),
            // A list of one is all that it costs to see whether the API server is back, and until then every read is stale.
            backoff: Backoff { base: Duration::from_millis(800), max: Duration::from_secs(10) },
        }
    }
}

/// The state of one watch.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    state: State,
    /// What the cache was told, up to here; absent before the first fill.
    told: Option<Version>,
    attached: BTreeMap<Seat, Place>,
    /// What of history is known to be gone since the last fill.
    gone: Gone,
    /// Failures since something was last told.
    failures: u32,
    /// How often history was lost since a watch last was healthy.
    refills: u32,
    /// Whether a failure was noted and no recovery yet.
    troubled: bool,
    /// Whether lists are streamed, as far as known.
    streams: bool,
}

#[derive(Debug)]
enum State {
    /// No request in flight.
    Waiting { until: Instant, then: Next },
    /// Asking for the newest version, before a watch is opened again.
    Probing { heard: Heard },
    /// Collecting the whole state.
    Filling { source: Source, found: Shelf, bytes: usize, heard: Heard },
    /// Following a watch; it has told everything up to `cursor`, which lies before `told` while it replays for a seat.
    Following { cursor: Version, since: Instant, heard: Heard },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Fill,
    Resume,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Stream,
    /// The version of the first page, once it is there.
    Pages(Option<Version>),
}

/// When the answer was last heard of, and how long it may be silent from then.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    patience: Duration,
}

/// How far whoever has a seat has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Attached, but where to go on is not settled.
    Asked(Option<Version>),
    /// Was told everything up to here.
    Live(Version),
}

/// What cannot be told any more, change by change, to those who are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gone {
    Nothing,
    /// What follows this version, or an older one.
    After(Version),
    Everything,
}

impl Machine {
    /// A watch that has yet to begin: its deadline is `now`.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            state: State::Waiting { until: now, then: Next::Fill },
            told: None,
            attached: BTreeMap::new(),
            gone: Gone::Nothing,
            failures: 0,
            refills: 0,
            troubled: false,
            streams: true,
        }
    }

    /// When [`Input::Tick`] is due unless something else happens before.
    pub fn deadline(&self) -> Instant {
        match &self.state {
            State::Waiting { until, .. } => *until,
            State::Probing { heard } | State::Filling { heard, .. } | State::Following { heard, .. } => {
                heard.at + heard.patience
            }
        }
    }

    /// Takes an input. `jitter` is a random number in 0..1.
    pub fn step(&mut self, input: Input, now: Instant, jitter: f64) -> Vec<Effect> {
        let mut step = Step { machine: self, now, jitter, effects: Vec::new() };
        step.take(input);
        step.effects
    }
}

/// One step under way.
struct Step<'a> {
    machine: &'a mut Machine,
    now: Instant,
    jitter: f64,
    effects: Vec<Effect>,
}

impl Step<'_> {
    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => self.tick(),
            Input::Opened => self.heard(),
            Input::Line(line) => self.line(line),
            Input::Page(page) => self.page(page),
            Input::Refused { status, message, retry_after } => self.refused(status, message, retry_after),
            Input::Broken { reason } => self.ended(reason),
            Input::Ended => self.ended("the watch ended".to_owned()),
            Input::Attach { seat, from } => self.attach(seat, from),
            Input::Detach { seat } => drop(self.machine.attached.remove(&seat)),
            Input::Redefined => self.redefined(),
            Input::Full => self.full(),
        }
    }

    fn tick(&mut self) {
        if self.now < self.machine.deadline() {
            return;
        }
        match &self.machine.state {
            State::Waiting { then: Next::Fill, .. } => self.fill(),
            State::Waiting { then: Next::Resume, .. } => self.probe(),
            State::Following { heard, .. } if heard.patience == self.machine.settings.silence => {
                let silent = heard.patience;
                self.silent(silent);
            }
            State::Probing { heard } | State::Filling { heard, .. } | State::Following { heard, .. } => {
                let reason = format!("nothing came for {} s", heard.patience.as_secs());
                self.ended(reason);
            }
        }
    }

    fn attach(&mut self, seat: Seat, from: Option<Version>) {
        self.machine.attached.insert(seat, Place::Asked(from));
        // In every other state the question comes up by itself: when the fill or the probe is answered.
        if let State::Following { .. } = self.machine.state {
            if from.is_some() {
                self.probe();
            } else {
                self.note(Note::Refill(Refill::Attached));
                self.fill();
            }
        }
    }

    fn redefined(&mut self) {
        self.note(Note::Refill(Refill::Redefined));
        self.machine.gone = Gone::Everything;
        match &mut self.machine.state {
            State::Waiting { then, .. } => *then = Next::Fill,
            State::Probing { .. } | State::Filling { .. } | State::Following { .. } => self.fill(),
        }
    }

    fn heard(&mut self) {
        let patience = self.machine.settings.silence;
        match &mut self.machine.state {
            State::Following { heard, .. } | State::Filling { heard, source: Source::Stream, .. } => {
                *heard = Heard { at: self.now, patience };
            }
            State::Waiting { .. } | State::Probing { .. } | State::Filling { .. } => {}
        }
    }

    fn line(&mut self, line: WatchLine) {
        self.heard();
        if let WatchLine::Error { code, message, retry_after } = line {
            return self.refused(code, message, retry_after);
        }
        self.recovered();
        match (&mut self.machine.state, line) {
            (State::Filling { source: Source::Stream, found, bytes, .. }, WatchLine::Delta(delta)) => {
                let (more, less) = collect(found, delta);
                *bytes = *bytes + more - less;
                if *bytes > self.machine.settings.cache_bytes {
                    self.full();
                }
            }
            (
                State::Filling { source: Source::Stream, found, .. },
                WatchLine::Bookmark { version, initial_events_end: true },
            ) => {
                let entities = std::mem::take(found).into_iter().map(|ByKey(entity)| entity).collect();
                self.filled(version, entities, true);
            }
            (State::Following { cursor, .. }, WatchLine::Delta(delta)) => {
                self.machine.failures = 0;
                let version = delta.entity.version;
                if version < *cursor {
                    return self.restored();
                }
                // The version of the last line once more would be the same change once more.
                if version > *cursor {
                    *cursor = version;
                    self.tell_delta(delta);
                }
            }
            (State::Following { cursor, .. }, WatchLine::Bookmark { version, .. }) if version >= *cursor => {
                *cursor = version;
                self.machine.failures = 0;
                self.tell_bookmark(version);
            }
            _ => {}
        }
    }

    fn tell_delta(&mut self, delta: Delta) {
        let version = delta.entity.version;
        if self.machine.told.is_none_or(|told| version > told) {
            self.machine.told = Some(version);
            self.effects.push(Effect::Observe(delta.clone()));
        }
        self.tell(version, || Feed::Delta(delta.clone()));
    }

    fn tell_bookmark(&mut self, version: Version) {
        if self.machine.told.is_none_or(|told| version > told) {
            self.machine.told = Some(version);
            self.effects.push(Effect::Bookmark(version));
        }
        self.tell(version, || Feed::Bookmark(version));
    }

    /// To those who have not had it.
    fn tell(&mut self, version: Version, feed: impl Fn() -> Feed) {
        for (seat, place) in &mut self.machine.attached {
            if let Place::Live(position) = place
                && version > *position
            {
                *position = version;
                self.effects.push(Effect::Tell(*seat, feed()));
            }
        }
    }

    fn page(&mut self, page: ListPage) {
        self.recovered();
        match &mut self.machine.state {
            State::Probing { .. } => self.probed(page.version),
            State::Filling { source: Source::Pages(version), found, bytes, .. } => {
                let version = *version.get_or_insert(page.version);
                for entity in page.items {
                    let (more, less) = collect(found, Delta { change: Change::Added, entity });
                    *bytes = *bytes + more - less;
                }
                if *bytes > self.machine.settings.cache_bytes {
                    return self.full();
                }
                if let Some(after) = page.next {
                    return self.next_page(after);
                }
                let entities = std::mem::take(found).into_iter().map(|ByKey(entity)| entity).collect();
                self.filled(version, entities, false);
            }
            State::Waiting { .. } | State::Filling { .. } | State::Following { .. } => {}
        }
    }

    fn next_page(&mut self, after: String) {
        let fresh = self.request_made();
        if let State::Filling { heard, .. } = &mut self.machine.state {
            *heard = fresh;
        }
        self.effects.push(Effect::Request(Request::Page { limit: self.machine.settings.page, after: Some(after) }));
    }

    /// The whole state is there. `streaming`: the same answer goes on as a watch.
    fn filled(&mut self, version: Version, entities: Vec<Arc<Entity>>, streaming: bool) {
        let restored = self.machine.told.is_some_and(|told| version < told);
        self.machine.told = Some(version);
        // Not before: a list that always breaks off in its middle is dear.
        self.machine.failures = 0;
        self.effects.push(Effect::Fill { version, entities: entities.clone() });
        let gone = std::mem::replace(&mut self.machine.gone, Gone::Nothing);
        let mut position = version;
        for (seat, place) in &mut self.machine.attached {
            let kept = match *place {
                _ if restored => None,
                Place::Live(at) => (gone < Gone::After(at)).then_some(at),
                // Whoever asks knows what it has; only what cannot be is known to be gone.
                Place::Asked(from) => from.filter(|from| gone < Gone::After(*from) || gone == Gone::Everything),
            };
            *place = match kept.filter(|kept| *kept <= version) {
                Some(kept) => {
                    position = position.min(kept);
                    Place::Live(kept)
                }
                None => {
                    self.effects.push(Effect::Tell(*seat, Feed::Relisted { version, entities: entities.clone() }));
                    Place::Live(version)
                }
            };
        }
        if streaming && position == version {
            let heard = Heard { at: self.now, patience: self.machine.settings.silence };
            self.machine.state = State::Following { cursor: version, since: self.now, heard };
        } else {
            self.watch(position);
        }
    }

    /// The newest version there is; before a watch is opened again.
    fn probed(&mut self, newest: Version) {
        let Some(told) = self.machine.told else { return self.fill() };
        if newest < told {
            return self.restored();
        }
        let mut position = told;
        let (mut unknown, mut future) = (false, false);
        for place in self.machine.attached.values_mut() {
            match *place {
                Place::Asked(Some(from)) if from > newest => (*place, future) = (Place::Asked(None), true),
                Place::Asked(None) => unknown = true,
                Place::Asked(Some(from)) | Place::Live(from) => position = position.min(from),
            }
        }
        if future {
            return self.refill(Refill::Restored);
        }
        if unknown {
            self.note(Note::Refill(Refill::Attached));
            return self.fill();
        }
        for place in self.machine.attached.values_mut() {
            if let Place::Asked(Some(from)) = *place {
                *place = Place::Live(from);
            }
        }
        self.watch(position);
    }

    fn refused(&mut self, status: u16, message: String, retry_after: Option<Duration>) {
        match (&self.machine.state, status) {
            (State::Following { cursor, .. }, 410) => {
                self.machine.gone = self.machine.gone.max(Gone::After(*cursor));
                return self.refill(Refill::Expired);
            }
            // 422: no streaming lists in this API server, or switched off; 400 and 403: something between that does not let them through.
            (State::Filling { source: Source::Stream, .. }, 400 | 403 | 422) => {
                self.machine.streams = false;
                self.note(Note::Paging);
                return self.fill();
            }
            (State::Probing { .. } | State::Filling { .. } | State::Following { .. }, 404) => {
                return self.gone(message, retry_after.unwrap_or_default());
            }
            // Then it was not the streaming.
            (State::Filling { source: Source::Pages(None), .. }, 400..=499) => self.machine.streams = true,
            _ => {}
        }
        self.fail(format!("answered {status}: {message}"), retry_after.unwrap_or_default());
    }

    /// An open watch tells nothing, not even a bookmark: its connection is dead, or the API server is not what it was.
    fn silent(&mut self, silent: Duration) {
        self.note(Note::Silent(silent));
        if self.settled() {
            self.machine.troubled = true;
            return self.probe();
        }
        self.fail(format!("nothing came for {} s", silent.as_secs()), Duration::ZERO);
    }

    /// There is more than may be held.
    fn full(&mut self) {
        let wait = self.machine.settings.full;
        self.machine.gone = Gone::Everything;
        self.machine.state = State::Waiting { until: self.now + wait, then: Next::Fill };
        self.effects.extend([Effect::HangUp, Effect::Lose(Loss::Full), Effect::Note(Note::Full(wait))]);
    }

    /// The API server does not serve the kind, or not any more.
    fn gone(&mut self, message: String, at_least: Duration) {
        self.machine.gone = Gone::Everything;
        if self.machine.told.is_some() {
            self.effects.push(Effect::Lose(Loss::Gone));
        }
        self.fail(format!("the API server does not serve this kind: {message}"), at_least);
        if let State::Waiting { then, .. } = &mut self.machine.state {
            *then = Next::Fill;
        }
    }

    /// The answer broke off. A watch that was healthy is opened again at once.
    fn ended(&mut self, reason: String) {
        if self.settled() {
            return self.probe();
        }
        self.fail(reason, Duration::ZERO);
    }

    /// Whether the watch was healthy; then what was before does not count.
    fn settled(&mut self) -> bool {
        let settled = matches!(self.machine.state, State::Following { since, .. }
            if self.now.saturating_duration_since(since) >= self.machine.settings.settled);
        if settled {
            self.machine.failures = 0;
            self.machine.refills = 0;
        }
        settled
    }

    fn fail(&mut self, reason: String, at_least: Duration) {
        let then = match self.machine.state {
            State::Filling { .. } => Next::Fill,
            State::Waiting { then, .. } => then,
            State::Probing { .. } | State::Following { .. } => Next::Resume,
        };
        self.settled();
        self.machine.failures = self.machine.failures.saturating_add(1);
        self.machine.troubled = true;
        let wait = self.machine.settings.backoff.delay(self.machine.failures, self.jitter).max(at_least);
        self.machine.state = State::Waiting { until: self.now + wait, then };
        self.effects.push(Effect::HangUp);
        self.note(Note::Failed { failures: self.machine.failures, reason, wait });
    }

    /// The store was restored to the past. A version of a past that was undone means nothing, even where it seems to fit.
    fn restored(&mut self) {
        self.machine.gone = Gone::Everything;
        for place in self.machine.attached.values_mut() {
            *place = Place::Asked(None);
        }
        self.refill(Refill::Restored);
    }

    /// History is lost: list again, at once the first time, and with a backoff when it happens again and again.
    fn refill(&mut self, why: Refill) {
        self.note(Note::Refill(why));
        self.settled();
        self.machine.refills = self.machine.refills.saturating_add(1);
        if self.machine.refills == 1 {
            return self.fill();
        }
        let wait = self.machine.settings.backoff.delay(self.machine.refills, self.jitter);
        self.machine.state = State::Waiting { until: self.now + wait, then: Next::Fill };
        self.effects.push(Effect::HangUp);
    }

    fn fill(&mut self) {
        let heard = self.request_made();
        let (source, request) = if self.machine.streams {
            (Source::Stream, Request::Stream { timeout: self.lifetime() })
        } else {
            (Source::Pages(None), Request::Page { limit: self.machine.settings.page, after: None })
        };
        self.machine.state = State::Filling { source, found: Shelf::default(), bytes: 0, heard };
        self.effects.push(Effect::Request(request));
    }

    fn probe(&mut self) {
        self.machine.state = State::Probing { heard: self.request_made() };
        self.effects.push(Effect::Request(Request::Probe));
    }

    fn watch(&mut self, from: Version) {
        self.machine.state = State::Following { cursor: from, since: self.now, heard: self.request_made() };
        self.effects.push(Effect::Request(Request::Watch { from, timeout: self.lifetime() }));
    }

    fn request_made(&self) -> Heard {
        Heard { at: self.now, patience: self.machine.settings.answer }
    }

    /// Spread, so that many sidecars do not come back at one time.
    fn lifetime(&self) -> Duration {
        self.machine.settings.lifetime.mul_f64(0.8 + 0.2 * self.jitter.clamp(0.0, 1.0))
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.machine.troubled) {
            self.note(Note::Recovered);
        }
    }

    fn note(&mut self, note: Note) {
        self.effects.push(Effect::Note(note));
    }
}

/// A streaming list tells states of one version, then the changes up to its end. Answers how many bytes came and how many went.
fn collect(found: &mut Shelf, delta: Delta) -> (usize, usize) {
    let Delta { change, entity } = delta;
    let (more, before) = match change {
        Change::Added | Change::Modified => {
            let (more, before) = (entity.footprint(), found.take(&entity.key));
            found.insert(ByKey(entity));
            (more, before)
        }
        Change::Deleted => (0, found.take(&entity.key)),
    };
    (more, before.map_or(0, |before| before.footprint()))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
