//! One scene each: what is shown, when, and what is said until then.

use std::time::Duration;

use super::*;
use crate::kind::tests::todo;
use crate::ledger::position::Position;

const KEY: &str = "kab.c.shop.todos.k8sasbackend.com";
const SOURCE: &str = "/clusters/c/apis/k8sasbackend.com/v1/todos";

/// A replica of two partitions, and the offsets that the test has come to.
struct Scene {
    replica: Replica,
    offsets: Offsets,
    /// What the next position says: the ends at the one before.
    sent: Offsets,
    clock: u64,
}

impl Scene {
    fn new() -> Self {
        Self::with_limit(usize::MAX)
    }

    fn with_limit(limit: usize) -> Self {
        let offsets = Offsets::from([(0, 0), (1, 0)]);
        let subject = Subject {
            cluster: "c".to_owned(),
            topic: "t".to_owned(),
            kind: Arc::new(todo()),
            namespace: Some("shop".into()),
        };
        Self { replica: Replica::new(subject, offsets.clone(), limit), sent: offsets.clone(), offsets, clock: 0 }
    }

    /// One that has been filled with `milk` at version 5.
    fn filled() -> Self {
        let mut scene = Self::new();
        scene.state(0, "milk", "u1", 5);
        scene.position(Some(5));
        scene.replica.positions_read().unwrap();
        assert!(matches!(scene.cut().unwrap().content, Content::Whole(all) if all.len() == 1));
        scene
    }

    fn record(
        &mut self,
        partition: i32,
        id: &str,
        (uid, version): (&str, u64),
        event: Option<&str>,
        skipped: Option<&str>,
    ) -> Result<(), Fault> {
        let offset = self.offsets.get_mut(&partition).unwrap();
        let place = Place { partition, offset: *offset };
        *offset += 1;
        let value = format!(r#"{{"id":"{id}","meta":{{"version":"{version}","labels":{{}},"deleting":false}}}}"#);
        self.replica.take(&Record {
            key: &format!("shop/{id}"),
            id: event.map(|_| format!("{uid}/{version}")).as_deref(),
            event_type: event.map(|event| format!("com.k8sasbackend.v1.todo.{event}")).as_deref(),
            source: event.map(|_| SOURCE),
            skipped,
            value: event.map(|_| value.as_bytes()),
            place,
        })
    }

    fn state(&mut self, partition: i32, id: &str, uid: &str, version: u64) {
        self.record(partition, id, (uid, version), Some("updated"), None).unwrap();
    }

    fn met(&mut self, partition: i32, id: &str, uid: &str, version: u64) {
        self.record(partition, id, (uid, version), Some("snapshot"), None).unwrap();
    }

    fn deleted(&mut self, partition: i32, id: &str, uid: &str, version: u64, skipped: Option<&str>) {
        self.record(partition, id, (uid, version), Some("deleted"), skipped).unwrap();
        self.tombstone(partition, id);
    }

    fn tombstone(&mut self, partition: i32, id: &str) {
        self.record(partition, id, ("", 0), None, None).unwrap();
    }

    fn position(&mut self, version: Option<u64>) {
        let position = Position { version: version.map(Version), offsets: self.sent.clone() }.to_json("t");
        self.sent = self.offsets.clone();
        self.clock += 1;
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock);
        self.replica.position(KEY, Some(position.as_bytes()), written).unwrap();
    }

    /// The next cut, when everything there is has been read.
    fn cut(&mut self) -> Option<Cut> {
        if self.replica.wants_ends() {
            self.replica.ends(self.offsets.clone()).unwrap();
        }
        self.replica.next_cut()
    }

    fn changes(&mut self) -> Vec<(Change, String, u64)> {
        let Content::Changes(changes) = self.cut().unwrap().content else { panic!("the whole state was shown") };
        let told = |delta: Delta| (delta.change, delta.entity.key.id.to_string(), delta.entity.version.0);
        changes.into_iter().map(told).collect()
    }

    fn whole(&mut self) -> Vec<(String, u64)> {
        let Content::Whole(all) = self.cut().unwrap().content else { panic!("only changes were shown") };
        all.into_iter().map(|entity| (entity.key.id.to_string(), entity.version.0)).collect()
    }
}

#[test]
fn nothing_is_shown_before_everything_that_the_position_speaks_of_has_been_read() {
    let mut scene = Scene::new();
    scene.state(0, "milk", "u1", 5);
    scene.position(Some(7));
    assert!(!scene.replica.wants_ends(), "there may be a newer position");
    scene.replica.positions_read().unwrap();
    assert!(scene.replica.wants_ends());
    scene.replica.ends(Offsets::from([(0, 1), (1, 2)])).unwrap();
    assert_eq!((scene.replica.next_cut(), scene.replica.left()), (None, 2));
    scene.state(1, "bread", "u2", 7);
    assert_eq!(scene.replica.next_cut(), None);
    scene.replica.reach(1, 2);
    let cut = scene.replica.next_cut().unwrap();
    assert_eq!((cut.version, cut.written), (Version(7), SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
    assert!(matches!(cut.content, Content::Whole(all) if all.len() == 2));
}

#[test]
fn changes_of_several_partitions_are_shown_in_the_order_of_their_versions() {
    let mut scene = Scene::filled();
    scene.state(1, "bread", "u2", 8);
    scene.deleted(1, "bread", "u2", 10, None);
    scene.state(0, "milk", "u1", 7);
    scene.state(0, "milk", "u1", 9);
    scene.state(0, "milk", "u1", 12);
    scene.position(Some(11));
    let told = |change, id: &str, version| (change, id.to_owned(), version);
    assert_eq!(
        scene.changes(),
        [
            told(Change::Modified, "milk", 7),
            told(Change::Added, "bread", 8),
            told(Change::Modified, "milk", 9),
            told(Change::Deleted, "bread", 10),
        ]
    );
    scene.position(Some(12));
    assert_eq!(scene.changes(), [told(Change::Modified, "milk", 12)]);
    scene.position(Some(20));
    assert_eq!(scene.changes(), [], "an idle broadcast only says how far it is");
}

#[test]
fn a_repetition_changes_nothing() {
    let mut scene = Scene::filled();
    scene.state(1, "bread", "u2", 6);
    scene.deleted(1, "bread", "u2", 8, None);
    scene.state(0, "milk", "u1", 9);
    scene.position(Some(9));
    assert_eq!(scene.changes().len(), 3);
    scene.state(1, "bread", "u2", 6);
    scene.state(0, "milk", "u1", 5);
    scene.state(0, "milk", "u1", 9);
    scene.state(0, "milk", "u1", 10);
    scene.state(0, "milk", "u1", 10);
    scene.position(Some(10));
    assert_eq!(scene.changes(), [(Change::Modified, "milk".to_owned(), 10)]);
    scene.deleted(1, "bread", "u2", 8, None);
    scene.position(Some(11));
    assert_eq!(scene.changes(), []);
}

#[test]
fn while_the_broadcast_compares_nothing_is_shown_and_then_the_whole_state() {
    let mut scene = Scene::filled();
    scene.state(0, "eggs", "u3", 6);
    scene.position(Some(6));
    assert!(scene.replica.wants_ends());
    scene.position(None);
    assert!(!scene.replica.wants_ends(), "what was under way is given up");
    scene.met(1, "bread", "u2", 8);
    scene.deleted(0, "milk", "u1", 6, Some("unknown"));
    assert_eq!(scene.cut(), None);
    scene.position(Some(9));
    assert_eq!(scene.whole(), [("bread".to_owned(), 8), ("eggs".to_owned(), 6)]);
}

#[test]
fn after_a_restore_the_last_record_of_each_key_is_right_whatever_its_version() {
    let mut scene = Scene::filled();
    for version in [900, 901] {
        scene.state(0, "milk", "u1", version);
        scene.state(1, "gone", "u4", version);
    }
    scene.position(Some(901));
    assert_eq!(scene.changes().len(), 4);
    scene.state(0, "milk", "u1", 950);
    scene.position(None);
    scene.met(0, "milk", "u1", 500);
    scene.deleted(1, "gone", "u4", 902, Some("unknown"));
    scene.position(Some(600));
    scene.state(0, "milk", "u1", 601);
    assert_eq!(scene.whole(), [("milk".to_owned(), 500)]);
    scene.position(Some(601));
    assert_eq!(scene.changes(), [(Change::Modified, "milk".to_owned(), 601)]);
    scene.position(Some(1000));
    assert_eq!(scene.changes(), [], "nothing of the time before the restore waits any more");
}

#[test]
fn what_was_sent_before_a_position_belongs_to_it_whatever_its_version() {
    let mut scene = Scene::filled();
    scene.state(1, "bread", "u2", 6);
    scene.position(Some(6));
    assert_eq!(scene.changes().len(), 1);
    scene.deleted(1, "bread", "u2", 8, None);
    scene.position(Some(8));
    scene.position(None);
    // Restored to before the deletion's version, where there is no such entity either: nothing is told again.
    scene.position(Some(7));
    assert_eq!(scene.whole(), [("milk".to_owned(), 5)]);
}

#[test]
fn what_does_not_follow_from_what_was_shown_is_shown_as_a_whole() {
    type Act = fn(&mut Scene);
    let acts: [(&str, Act); 3] = [
        ("a tombstone whose deletion was compacted away", |scene| scene.tombstone(0, "milk")),
        ("another entity of the same name", |scene| scene.state(0, "milk", "u9", 8)),
        ("the deletion of another entity of the same name", |scene| scene.deleted(0, "milk", "u9", 8, None)),
    ];
    for (what, act) in acts {
        let mut scene = Scene::filled();
        act(&mut scene);
        scene.position(Some(10));
        assert!(matches!(scene.cut().unwrap().content, Content::Whole(_)), "{what}");
    }
}

#[test]
fn what_was_compared_is_shown_with_the_next_position_also_when_it_is_read_before_the_broadcast_says_so() {
    type Act = fn(&mut Scene);
    let acts: [(&str, Act); 4] = [
        ("a state in the past", |scene| scene.met(0, "milk", "u1", 3)),
        ("a new entity in the past", |scene| scene.met(1, "bread", "u2", 2)),
        ("a deletion in the past", |scene| scene.deleted(0, "milk", "u1", 3, Some("unknown"))),
        ("a deletion in the future", |scene| scene.deleted(0, "milk", "u1", 60, Some("unknown"))),
    ];
    for (what, act) in acts {
        let mut scene = Scene::filled();
        scene.position(Some(7));
        act(&mut scene);
        assert_eq!(scene.cut(), None, "{what}");
        scene.position(None);
        assert_eq!(scene.cut(), None, "{what}");
        scene.position(Some(4));
        assert!(matches!(scene.cut().unwrap().content, Content::Whole(_)), "{what}");
    }
    let mut scene = Scene::filled();
    scene.met(0, "milk", "u1", 5);
    scene.position(Some(7));
    assert_eq!(scene.changes(), [], "what is known already says nothing");
}

#[test]
fn a_topic_that_was_made_anew_or_has_more_partitions_is_begun_again() {
    let mut scene = Scene::filled();
    scene.position(Some(6));
    assert!(scene.replica.wants_ends());
    assert_eq!(scene.replica.ends(Offsets::from([(0, 0), (1, 0)])), Err(Fault::Recreated));
    assert_eq!(scene.replica.ends(Offsets::from([(0, 1), (1, 0), (2, 0)])), Err(Fault::Repartitioned));
    let position = Position { version: Some(Version(7)), offsets: Offsets::from([(2, 1)]) }.to_json("t");
    let heard = scene.replica.position(KEY, Some(position.as_bytes()), SystemTime::UNIX_EPOCH);
    assert_eq!(heard, Err(Fault::Repartitioned));
}

#[test]
fn more_than_fits_is_said_and_what_is_superseded_does_not_count() {
    let mut scene = Scene::with_limit(600 * FOLD);
    scene.position(Some(1_000_000));
    scene.replica.positions_read().unwrap();
    for version in 1..20 * FOLD as u64 {
        scene.state(0, "milk", "u1", version);
    }
    assert_eq!(scene.whole().len(), 1);
    let mut scene = Scene::with_limit(600 * FOLD);
    scene.position(Some(1_000_000));
    scene.replica.positions_read().unwrap();
    let full = (1..20 * FOLD as u64)
        .find_map(|version| scene.record(0, &version.to_string(), ("u", version), Some("created"), None).err());
    assert_eq!(full, Some(Fault::Full));
}

#[test]
fn what_is_waited_for_is_said_in_words_that_help() {
    let mut scene = Scene::new();
    assert_eq!(scene.replica.waiting(), Waiting::Reading);
    scene.replica.positions_read().unwrap();
    assert_eq!(
        scene.replica.waiting().to_string(),
        "nobody has broadcast todos of namespace shop and cluster c to the topic t; a sidecar that owns the kind, with source: watch and kafka, has to"
    );
    let stranger = Record {
        key: "shop/x",
        id: Some("u/1"),
        event_type: Some("com.k8sasbackend.v1.todo.created"),
        source: Some("/clusters/prod/apis/k8sasbackend.com/v1/todos"),
        skipped: None,
        value: Some(b"{}"),
        place: Place { partition: 0, offset: 0 },
    };
    scene.replica.take(&stranger).unwrap();
    let text = scene.replica.waiting().to_string();
    assert!(text.contains("tells of /clusters/prod/apis/k8sasbackend.com/v1/todos and not of"), "{text}");
    scene.replica.position("kab.c.bar.todos.k8sasbackend.com", Some(b"{}"), SystemTime::UNIX_EPOCH).unwrap();
    let text = scene.replica.waiting().to_string();
    assert!(text.contains("what is broadcast is each of bar"), "{text}");
    scene.position(None);
    assert_eq!(scene.replica.waiting(), Waiting::Comparing);
    let other = Position::default().to_json("other");
    scene.replica.position(KEY, Some(other.as_bytes()), SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(scene.replica.waiting(), Waiting::Elsewhere { topic: "other" });
}
