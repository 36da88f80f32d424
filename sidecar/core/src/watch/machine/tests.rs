//! The watch protocol: scenarios one by one, and random histories against a model of the API server.

use super::*;
use crate::cache::tests::state;

pub(super) fn delta(change: Change, id: &str, version: u64) -> Delta {
    Delta { change, entity: state(id, &format!("uid-{id}"), version) }
}

fn line(change: Change, id: &str, version: u64) -> Input {
    Input::Line(WatchLine::Delta(delta(change, id, version)))
}

fn bookmark(version: u64) -> Input {
    Input::Line(WatchLine::Bookmark { version: Version(version), initial_events_end: false })
}

fn end_of_list(version: u64) -> Input {
    Input::Line(WatchLine::Bookmark { version: Version(version), initial_events_end: true })
}

fn page(version: u64, items: &[(&str, u64)], next: Option<&str>) -> Input {
    Input::Page(ListPage {
        version: Version(version),
        items: items.iter().map(|(id, version)| state(id, &format!("uid-{id}"), *version)).collect(),
        next: next.map(str::to_owned),
    })
}

fn refused(status: u16) -> Input {
    Input::Refused { status, message: "no".to_owned(), retry_after: None }
}

fn broken() -> Input {
    Input::Broken { reason: "cut".to_owned() }
}

fn stream() -> Effect {
    Effect::Request(Request::Stream { timeout: Duration::from_secs(261) })
}

fn watch(from: u64) -> Effect {
    Effect::Request(Request::Watch { from: Version(from), timeout: Duration::from_secs(261) })
}

const PROBE: Effect = Effect::Request(Request::Probe);

/// A machine and its clock.
struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { machine: Machine::new(Settings::default(), now), now }
    }

    /// One that follows the watch that a list at version 10 went over into.
    fn following() -> Self {
        let mut bench = Self::new();
        bench.step(Input::Tick);
        bench.step(Input::Opened);
        bench.step(line(Change::Added, "a", 5));
        bench.step(end_of_list(10));
        bench
    }

    /// A jitter of a half: waits are three quarters of what they may be.
    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.machine.step(input, self.now, 0.5)
    }

    fn pass(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    /// Lets the time come until something is due.
    fn due(&mut self) -> Vec<Effect> {
        self.now = self.machine.deadline();
        self.step(Input::Tick)
    }

    fn attach(&mut self, from: Option<u64>) -> Vec<Effect> {
        self.step(Input::Attach { seat: Seat::Bridge, from: from.map(Version) })
    }
}

fn failed(failures: u32, reason: &str, wait: u64) -> Effect {
    Effect::Note(Note::Failed { failures, reason: reason.to_owned(), wait: Duration::from_millis(wait) })
}

fn relisted(version: u64, items: &[(&str, u64)]) -> Effect {
    let entities = items.iter().map(|(id, version)| state(id, &format!("uid-{id}"), *version)).collect();
    Effect::Tell(Seat::Bridge, Feed::Relisted { version: Version(version), entities })
}

fn fill(version: u64, items: &[(&str, u64)]) -> Effect {
    let entities = items.iter().map(|(id, version)| state(id, &format!("uid-{id}"), *version)).collect();
    Effect::Fill { version: Version(version), entities }
}

#[test]
fn a_streaming_list_goes_over_into_the_watch() {
    let mut bench = Bench::new();
    assert_eq!(bench.step(Input::Tick), [stream()]);
    assert_eq!(bench.step(Input::Opened), []);
    assert_eq!(bench.step(line(Change::Added, "b", 5)), []);
    assert_eq!(bench.step(line(Change::Added, "a", 3)), []);
    // What happens while the list is told is part of it.
    assert_eq!(bench.step(line(Change::Modified, "a", 9)), []);
    assert_eq!(bench.step(line(Change::Deleted, "b", 10)), []);
    assert_eq!(bench.step(end_of_list(10)), [fill(10, &[("a", 9)])]);
    assert_eq!(bench.step(line(Change::Added, "c", 11)), [Effect::Observe(delta(Change::Added, "c", 11))]);
    assert_eq!(bench.step(bookmark(15)), [Effect::Bookmark(Version(15))]);
    assert_eq!(bench.step(bookmark(15)), [], "nothing new");
}

#[test]
fn an_api_server_that_cannot_stream_is_asked_for_pages() {
    for status in [400, 403, 422] {
        let mut bench = Bench::new();
        bench.step(Input::Tick);
        let first = Effect::Request(Request::Page { limit: 500, after: None });
        assert_eq!(bench.step(refused(status)), [Effect::Note(Note::Paging), first.clone()]);
        let second = Effect::Request(Request::Page { limit: 500, after: Some("next".into()) });
        assert_eq!(bench.step(page(10, &[("a", 3)], Some("next"))), [second]);
        assert_eq!(bench.step(page(10, &[("b", 4)], None)), [fill(10, &[("a", 3), ("b", 4)]), watch(10)]);
        // It is remembered.
        bench.step(Input::Line(WatchLine::Error { code: 410, message: String::new(), retry_after: None }));
        assert!(matches!(bench.machine.state, State::Filling { source: Source::Pages(None), .. }));
    }
}

#[test]
fn a_list_that_is_forbidden_is_tried_again_both_ways() {
    let mut bench = Bench::new();
    bench.step(Input::Tick);
    bench.step(refused(403));
    assert_eq!(bench.step(refused(403)), [Effect::HangUp, failed(1, "answered 403: no", 600)]);
    assert_eq!(bench.due(), [stream()]);
}

#[test]
fn a_token_that_expired_between_pages_starts_the_list_over() {
    let mut bench = Bench::new();
    bench.step(Input::Tick);
    bench.step(refused(422));
    bench.step(page(10, &[("a", 3)], Some("next")));
    assert_eq!(bench.step(refused(410)), [Effect::HangUp, failed(1, "answered 410: no", 600)]);
    assert_eq!(bench.due(), [Effect::Request(Request::Page { limit: 500, after: None })]);
    let effects = bench.step(page(20, &[("b", 4)], None));
    assert_eq!(effects, [Effect::Note(Note::Recovered), fill(20, &[("b", 4)]), watch(20)]);
}

#[test]
fn a_list_that_is_cut_is_made_again_from_the_beginning() {
    let mut bench = Bench::new();
    bench.step(Input::Tick);
    bench.step(line(Change::Added, "gone-meanwhile", 3));
    bench.step(broken());
    assert_eq!(bench.due(), [stream()]);
    bench.step(Input::Opened);
    assert_eq!(bench.step(end_of_list(12)), [Effect::Note(Note::Recovered), fill(12, &[])]);
}

#[test]
fn a_watch_that_was_healthy_is_opened_again_at_once_after_a_look_at_the_newest_version() {
    for end in [Input::Ended, broken()] {
        let mut bench = Bench::following();
        bench.step(line(Change::Added, "b", 12));
        assert_eq!(bench.pass(60).step(end), [PROBE]);
        assert_eq!(bench.step(page(15, &[("a", 5)], Some("more"))), [watch(12)]);
    }
}

#[test]
fn a_watch_that_hardly_began_is_opened_again_after_a_growing_wait() {
    let mut bench = Bench::following();
    assert_eq!(bench.step(broken()), [Effect::HangUp, failed(1, "cut", 600)]);
    assert_eq!(bench.pass(0).step(Input::Tick), [], "not yet");
    assert_eq!(bench.due(), [PROBE]);
    assert_eq!(bench.step(broken()), [Effect::HangUp, failed(2, "cut", 1200)]);
    assert_eq!(bench.due(), [PROBE]);
    assert_eq!(bench.step(page(10, &[], None)), [Effect::Note(Note::Recovered), watch(10)]);
    assert_eq!(bench.step(Input::Ended), [Effect::HangUp, failed(3, "the watch ended", 2400)]);
    bench.due();
    bench.step(page(10, &[], None));
    // Having lived long enough, it begins with a short wait.
    assert_eq!(bench.pass(11).step(refused(500)), [Effect::HangUp, failed(1, "answered 500: no", 600)]);
}

#[test]
fn history_that_is_gone_after_an_outage_is_no_reason_to_wait() {
    let mut bench = Bench::following();
    bench.pass(60).step(broken());
    for _ in 0..6 {
        bench.step(broken());
        bench.due();
    }
    assert_eq!(bench.step(page(30, &[], None)), [Effect::Note(Note::Recovered), watch(10)]);
    bench.step(Input::Opened);
    let gone = Input::Line(WatchLine::Error { code: 410, message: String::new(), retry_after: None });
    assert_eq!(bench.step(gone), [Effect::Note(Note::Refill(Refill::Expired)), stream()]);
    bench.step(end_of_list(31));
    // And then a cut is the first failure again.
    assert_eq!(bench.step(broken()), [Effect::HangUp, failed(1, "cut", 600)]);
}

#[test]
fn silence_ends_a_watch_and_bookmarks_keep_it() {
    let mut bench = Bench::following();
    for version in 11..15 {
        assert_eq!(bench.pass(70).step(Input::Tick), []);
        bench.step(bookmark(version));
    }
    assert_eq!(bench.due(), [Effect::Note(Note::Silent(Duration::from_secs(75))), PROBE]);
    // An answer whose head does not come is given up sooner.
    assert_eq!(bench.machine.deadline(), bench.now + Duration::from_secs(30));
    assert_eq!(bench.due(), [Effect::HangUp, failed(1, "nothing came for 30 s", 600)]);
    bench.due();
    assert_eq!(bench.step(page(20, &[("a", 5)], None)), [Effect::Note(Note::Recovered), watch(14)]);
}

#[test]
fn a_kind_that_is_gone_is_not_read_and_listed_again_when_it_is_back() {
    let gone = |failures, wait| {
        [
            Effect::Lose(Loss::Gone),
            Effect::HangUp,
            failed(failures, "the API server does not serve this kind: no", wait),
        ]
    };
    let mut bench = Bench::following();
    bench.attach(Some(10));
    bench.step(page(10, &[("a", 5)], None));
    // The watch ends with the definition, after it has told that everything is deleted.
    bench.pass(60).step(Input::Ended);
    assert_eq!(bench.step(refused(404)), gone(1, 600));
    assert_eq!(bench.due(), [stream()]);
    assert_eq!(bench.step(refused(404)), gone(2, 1200));
    bench.due();
    bench.step(Input::Opened);
    bench.step(line(Change::Added, "b", 30));
    assert_eq!(
        bench.step(end_of_list(31)),
        [fill(31, &[("b", 30)]), relisted(31, &[("b", 30)])],
        "the bridge sees the difference"
    );

    let mut bench = Bench::new();
    bench.due();
    let never_had = [Effect::HangUp, failed(1, "the API server does not serve this kind: no", 600)];
    assert_eq!(bench.step(refused(404)), never_had);
}

#[test]
fn more_than_fits_is_not_kept_and_tried_again_after_a_while() {
    let footprint = state("a", "uid-a", 1).footprint();
    let full = || [Effect::HangUp, Effect::Lose(Loss::Full), Effect::Note(Note::Full(Duration::from_secs(60)))];
    let mut bench = Bench::new();
    bench.machine.settings.cache_bytes = 2 * footprint;
    bench.due();
    bench.step(Input::Opened);
    for (id, version) in [("a", 1), ("b", 2), ("a", 3)] {
        assert_eq!(bench.step(line(Change::Added, id, version)), [], "another state of the same entity takes no more");
    }
    assert_eq!(bench.step(line(Change::Added, "c", 4)), full());
    let again = bench.now + Duration::from_secs(60);
    assert_eq!((bench.machine.deadline(), bench.due()), (again, vec![stream()]));
    // The same in pages.
    bench.step(refused(422));
    assert_eq!(bench.step(page(9, &[("a", 1), ("b", 2), ("c", 4)], None)), full());
    bench.due();
    assert_eq!(bench.step(page(10, &[("a", 1)], None)), [fill(10, &[("a", 1)]), watch(10)]);
    // And when the watch brings too much; the bridge sees the difference when it fits.
    bench.step(Input::Opened);
    assert_eq!(bench.attach(Some(10)), [PROBE]);
    bench.step(page(10, &[("a", 1)], None));
    assert_eq!(bench.step(Input::Full), full());
    bench.due();
    assert_eq!(
        bench.step(page(20, &[("b", 15)], None)),
        [fill(20, &[("b", 15)]), relisted(20, &[("b", 15)]), watch(20)]
    );
}

#[test]
fn another_definition_has_everything_listed_again() {
    let redefined = || Effect::Note(Note::Refill(Refill::Redefined));
    let mut bench = Bench::following();
    assert_eq!(bench.step(Input::Redefined), [redefined(), stream()]);
    assert_eq!(bench.step(Input::Redefined), [redefined(), stream()], "what was listed may be the old one's");
    bench.step(broken());
    assert_eq!(bench.step(Input::Redefined), [redefined()]);
    assert_eq!(bench.due(), [stream()]);
}

#[test]
fn the_wait_that_the_api_server_asks_for_is_kept() {
    let mut bench = Bench::new();
    bench.step(Input::Tick);
    let busy = Input::Refused { status: 429, message: "busy".into(), retry_after: Some(Duration::from_secs(7)) };
    assert_eq!(bench.step(busy), [Effect::HangUp, failed(1, "answered 429: busy", 7000)]);
    bench.due();
    let busy = WatchLine::Error { code: 429, message: "busy".into(), retry_after: Some(Duration::from_secs(9)) };
    assert_eq!(bench.step(Input::Line(busy)), [Effect::HangUp, failed(2, "answered 429: busy", 9000)]);
}

#[test]
fn history_that_is_gone_is_normal_once_and_waited_for_when_it_happens_again() {
    let gone = || Input::Line(WatchLine::Error { code: 410, message: "Expired".into(), retry_after: None });
    let mut bench = Bench::following();
    bench.pass(60);
    assert_eq!(bench.step(gone()), [Effect::Note(Note::Refill(Refill::Expired)), stream()]);
    bench.step(Input::Opened);
    bench.step(end_of_list(20));
    assert_eq!(bench.step(gone()), [Effect::Note(Note::Refill(Refill::Expired)), Effect::HangUp]);
    assert_eq!(bench.due(), [stream()]);
    // Told as a status instead of a line.
    let mut bench = Bench::following();
    assert_eq!(bench.step(refused(410)), [Effect::Note(Note::Refill(Refill::Expired)), stream()]);
}

#[test]
fn a_store_restored_to_the_past_is_seen_before_the_watch_waits_for_the_future() {
    let mut bench = Bench::following();
    bench.attach(Some(10));
    bench.step(page(10, &[], None));
    bench.pass(60).step(broken());
    assert_eq!(bench.step(page(7, &[], None)), [Effect::Note(Note::Refill(Refill::Restored)), stream()]);
    let effects = bench.step(end_of_list(8));
    assert_eq!(effects, [fill(8, &[]), relisted(8, &[])]);
}

#[test]
fn a_position_is_not_believed_when_the_store_was_restored_while_the_cache_fills() {
    let mut bench = Bench::following();
    bench.step(refused(410));
    bench.attach(Some(5));
    assert_eq!(bench.step(end_of_list(8)), [fill(8, &[]), relisted(8, &[])]);
}

#[test]
fn a_watch_that_goes_back_is_not_believed() {
    let mut bench = Bench::following();
    bench.step(bookmark(20));
    assert_eq!(bench.step(line(Change::Added, "b", 20)), [], "told already");
    let effects = bench.step(line(Change::Added, "b", 19));
    assert_eq!(effects, [Effect::Note(Note::Refill(Refill::Restored)), stream()]);
}

#[test]
fn a_bridge_gets_what_it_has_not_told_and_the_cache_nothing_twice() {
    let mut bench = Bench::following();
    bench.step(line(Change::Modified, "a", 12));
    assert_eq!(bench.attach(Some(8)), [PROBE]);
    assert_eq!(bench.step(page(13, &[], None)), [watch(8)]);
    let replayed = delta(Change::Added, "b", 10);
    assert_eq!(bench.step(line(Change::Added, "b", 10)), [Effect::Tell(Seat::Bridge, Feed::Delta(replayed))]);
    let replayed = delta(Change::Modified, "a", 12);
    assert_eq!(bench.step(line(Change::Modified, "a", 12)), [Effect::Tell(Seat::Bridge, Feed::Delta(replayed))]);
    let new = delta(Change::Added, "c", 13);
    assert_eq!(
        bench.step(line(Change::Added, "c", 13)),
        [Effect::Observe(new.clone()), Effect::Tell(Seat::Bridge, Feed::Delta(new))]
    );
    assert_eq!(
        bench.step(bookmark(14)),
        [Effect::Bookmark(Version(14)), Effect::Tell(Seat::Bridge, Feed::Bookmark(Version(14)))]
    );
    // Cut while it replays: on from where the bridge is, not the cache.
    bench.attach(Some(9));
    bench.step(page(14, &[], None));
    bench.step(line(Change::Added, "b", 10));
    bench.pass(60).step(broken());
    assert_eq!(bench.step(page(14, &[], None)), [watch(10)]);
}

#[test]
fn a_bridge_that_is_ahead_of_the_watch_is_not_told_twice() {
    let mut bench = Bench::following();
    bench.attach(Some(12));
    assert_eq!(bench.step(page(13, &[], None)), [watch(10)]);
    let known = delta(Change::Added, "b", 12);
    assert_eq!(bench.step(line(Change::Added, "b", 12)), [Effect::Observe(known)]);
    let new = delta(Change::Added, "c", 13);
    let effects = bench.step(line(Change::Added, "c", 13));
    assert_eq!(effects, [Effect::Observe(new.clone()), Effect::Tell(Seat::Bridge, Feed::Delta(new))]);
}

#[test]
fn a_bridge_without_a_version_gets_everything() {
    let mut bench = Bench::following();
    assert_eq!(bench.attach(None), [Effect::Note(Note::Refill(Refill::Attached)), stream()]);
    bench.step(line(Change::Added, "a", 5));
    assert_eq!(bench.step(end_of_list(11)), [fill(11, &[("a", 5)]), relisted(11, &[("a", 5)])]);
}

#[test]
fn a_bridge_with_a_version_from_the_future_gets_everything() {
    let mut bench = Bench::following();
    assert_eq!(bench.attach(Some(99)), [PROBE]);
    assert_eq!(bench.step(page(13, &[], None)), [Effect::Note(Note::Refill(Refill::Restored)), stream()]);
    // The new list may even have come past it.
    assert_eq!(bench.step(end_of_list(100)), [fill(100, &[]), relisted(100, &[])]);
}

#[test]
fn a_bridge_whose_history_is_gone_gets_everything() {
    let mut bench = Bench::following();
    bench.attach(Some(2));
    assert_eq!(bench.step(page(10, &[], None)), [watch(2)]);
    let gone = Input::Line(WatchLine::Error { code: 410, message: "Expired".into(), retry_after: None });
    assert_eq!(bench.step(gone), [Effect::Note(Note::Refill(Refill::Expired)), stream()]);
    assert_eq!(bench.step(end_of_list(11)), [fill(11, &[]), relisted(11, &[])]);
}

#[test]
fn a_bridge_that_comes_while_the_cache_fills_is_served_by_that_list() {
    for (from, expected) in [
        (Some(10), vec![fill(10, &[])]),
        (Some(4), vec![fill(10, &[]), watch(4)]),
        (Some(11), vec![fill(10, &[]), relisted(10, &[])]),
        (None, vec![fill(10, &[]), relisted(10, &[])]),
    ] {
        let mut bench = Bench::new();
        bench.step(Input::Tick);
        assert_eq!(bench.attach(from), []);
        assert_eq!(bench.step(end_of_list(10)), expected, "{from:?}");
    }
}

#[test]
fn a_bridge_that_comes_while_the_watch_waits_is_served_when_it_is_open_again() {
    let mut bench = Bench::following();
    bench.step(broken());
    assert_eq!(bench.attach(Some(6)), []);
    assert_eq!(bench.due(), [PROBE]);
    assert_eq!(bench.attach(Some(7)), [], "another one instead");
    assert_eq!(bench.step(page(10, &[], None)), [Effect::Note(Note::Recovered), watch(7)]);
    let told = delta(Change::Added, "b", 8);
    assert_eq!(bench.step(line(Change::Added, "b", 8)), [Effect::Tell(Seat::Bridge, Feed::Delta(told))]);
    assert_eq!(bench.step(Input::Detach { seat: Seat::Bridge }), []);
    assert_eq!(bench.step(line(Change::Added, "c", 9)), []);
    assert_eq!(bench.step(line(Change::Added, "d", 11)), [Effect::Observe(delta(Change::Added, "d", 11))]);
}

const NOTIFIER: Seat = Seat::Notifier;

#[test]
fn a_second_seat_gets_what_it_has_not_told_and_the_first_nothing_twice() {
    let mut bench = Bench::following();
    bench.attach(Some(10));
    assert_eq!(bench.step(page(12, &[], None)), [watch(10)]);
    bench.step(line(Change::Added, "b", 12));
    assert_eq!(bench.step(Input::Attach { seat: NOTIFIER, from: Some(Version(4)) }), [PROBE]);
    assert_eq!(bench.step(page(12, &[], None)), [watch(4)]);
    let missed = || Feed::Delta(delta(Change::Added, "a", 5));
    assert_eq!(bench.step(line(Change::Added, "a", 5)), [Effect::Tell(NOTIFIER, missed())]);
    bench.step(line(Change::Added, "b", 12));
    let new = delta(Change::Added, "c", 13);
    let told = |seat| Effect::Tell(seat, Feed::Delta(delta(Change::Added, "c", 13)));
    assert_eq!(bench.step(line(Change::Added, "c", 13)), [Effect::Observe(new), told(Seat::Bridge), told(NOTIFIER)]);
    // And one that goes leaves the other as it is.
    bench.step(Input::Detach { seat: Seat::Bridge });
    let told = Effect::Tell(NOTIFIER, Feed::Bookmark(Version(15)));
    assert_eq!(bench.step(bookmark(15)), [Effect::Bookmark(Version(15)), told]);
}

#[test]
fn a_seat_whose_history_is_gone_or_that_has_none_does_not_have_the_other_told_everything() {
    let everything = |version| Effect::Tell(NOTIFIER, Feed::Relisted { version: Version(version), entities: vec![] });
    for from in [Some(Version(2)), None, Some(Version(99))] {
        let mut bench = Bench::following();
        bench.attach(Some(10));
        bench.step(page(10, &[], None));
        bench.step(Input::Attach { seat: NOTIFIER, from });
        if from.is_some() {
            bench.step(page(11, &[], None));
        }
        if from == Some(Version(2)) {
            bench.step(Input::Line(WatchLine::Error { code: 410, message: "Expired".into(), retry_after: None }));
        }
        assert_eq!(bench.step(end_of_list(12)), [fill(12, &[]), everything(12), watch(10)], "{from:?}");
        let missed = Effect::Tell(Seat::Bridge, Feed::Delta(delta(Change::Added, "b", 11)));
        assert_eq!(bench.step(line(Change::Added, "b", 11)), [missed]);
        // If history behind the other one is gone too, that shows now.
        let gone = Input::Line(WatchLine::Error { code: 410, message: "Expired".into(), retry_after: None });
        if !bench.step(gone).contains(&stream()) {
            assert_eq!(bench.due(), [stream()]);
        }
        let told = |seat| Effect::Tell(seat, Feed::Relisted { version: Version(20), entities: vec![] });
        let expected = [fill(20, &[]), told(Seat::Bridge), watch(12)];
        assert_eq!(bench.step(end_of_list(20)), expected, "the notifier was told everything up to 12 {from:?}");
    }
}

#[test]
fn requests_are_spelled_as_kubernetes_reads_them() {
    let timeout = Duration::from_millis(261_900);
    for (request, query, watches) in [
        (Request::Probe, "limit=1", false),
        (Request::Page { limit: 500, after: None }, "limit=500", false),
        (Request::Page { limit: 500, after: Some("a+b/=".into()) }, "limit=500&continue=a%2Bb%2F%3D", false),
        (
            Request::Watch { from: Version(7), timeout },
            "watch=true&resourceVersion=7&allowWatchBookmarks=true&timeoutSeconds=261",
            true,
        ),
        (
            Request::Stream { timeout },
            "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=261",
            true,
        ),
    ] {
        assert_eq!((request.query().as_str(), request.is_watch()), (query, watches));
    }
}
