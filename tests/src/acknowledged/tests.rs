//! Right histories pass, and each kind of wrong one is told.

use super::*;

fn span(call: u64) -> Span {
    Span { call, answered: call + 5 }
}

/// A write to milk by sidecar 0.
fn write(call: u64, value: &str, base: u64, came: Came) -> Write {
    let value = (!value.is_empty()).then(|| value.to_owned());
    let base = (base > 0).then_some(base);
    Write { entity: "milk".into(), value, base, sidecar: 0, era: 0, span: span(call), came }
}

/// What sidecar 0 showed of milk from its cache; version 0: nothing.
fn seen(call: u64, value: &str, version: u64) -> Seen {
    let state = (version > 0).then(|| State { version, value: value.to_owned() });
    Seen { entity: "milk".into(), sidecar: 0, span: span(call), eras: (0, 0), state, reflects: Reflects::Own }
}

fn at(sidecar: usize, reflects: Reflects, seen: Seen) -> Seen {
    Seen { sidecar, reflects, ..seen }
}

/// a as 1, b as 2, perhaps c, and a deletion that was acknowledged.
fn writes() -> Vec<Write> {
    vec![write(10, "a", 0, Came::Stored(1)), write(20, "b", 1, Came::Stored(2))]
}

fn judge(more: Vec<Write>, seen: Vec<Seen>) -> Vec<String> {
    let writes = [writes(), more].concat();
    wrong(&History { writes, seen, inherited: Vec::new() }, 9)
}

#[test]
fn what_is_shown_was_written() {
    let unknown = || vec![write(30, "c", 0, Came::Unknown)];
    for (what, more, shown, right) in [
        ("the newest", vec![], vec![seen(40, "b", 2)], true),
        ("what nobody wrote", vec![], vec![seen(40, "x", 3)], false),
        ("another version", vec![], vec![seen(40, "b", 3)], false),
        ("what is written only later", vec![write(90, "c", 2, Came::Stored(3))], vec![seen(40, "c", 3)], false),
        ("what was refused", vec![write(30, "c", 0, Came::Refused(503))], vec![seen(40, "c", 3)], false),
        ("what may have been written", unknown(), vec![seen(40, "c", 3)], true),
        ("or not", unknown(), vec![seen(40, "b", 2)], true),
        ("the same written twice", unknown(), vec![seen(40, "c", 3), seen(50, "c", 4)], false),
    ] {
        let told = judge(more, shown);
        assert_eq!(told.is_empty(), right, "{what}: {told:?}");
    }
}

#[test]
fn what_must_be_known_is_shown() {
    let deleted = || vec![write(30, "", 2, Came::Deleted)];
    let perhaps = || vec![write(30, "", 2, Came::Unknown)];
    let anew = || vec![write(30, "", 2, Came::Deleted), write(40, "c", 0, Came::Stored(7))];
    for (what, more, shown, right) in [
        ("a stale state where it was written", vec![], seen(40, "a", 1), false),
        ("the same beside the write", vec![], seen(22, "a", 1), true),
        ("the same elsewhere", vec![], at(1, Reflects::Own, seen(40, "a", 1)), true),
        ("the same elsewhere, but more was asked for", vec![], at(1, Reflects::AtLeast(2), seen(40, "a", 1)), false),
        ("less was asked for", vec![], at(1, Reflects::AtLeast(1), seen(40, "a", 1)), true),
        ("the same at the API server", vec![], at(9, Reflects::All, seen(40, "a", 1)), false),
        ("an event", vec![], at(0, Reflects::Nothing, seen(40, "a", 1)), true),
        ("nothing, though it was never deleted", vec![], seen(40, "", 0), false),
        ("nothing elsewhere", vec![], at(1, Reflects::Own, seen(40, "", 0)), true),
        ("nothing after the deletion", deleted(), seen(40, "", 0), true),
        ("the deletion undone", deleted(), seen(40, "b", 2), false),
        ("nothing after what may be a deletion", perhaps(), seen(40, "", 0), true),
        ("it is still there after that", perhaps(), seen(40, "b", 2), true),
        ("nothing before the deletion was sent", perhaps(), seen(22, "", 0), false),
        ("nothing, though it was written anew", anew(), seen(50, "", 0), false),
        ("a lost write, at the end", anew(), at(9, Reflects::All, seen(90, "b", 2)), false),
        (
            "what was deleted, but may have been written late",
            vec![write(25, "c", 0, Came::Unknown), write(30, "", 2, Came::Deleted)],
            seen(50, "c", 9),
            true,
        ),
        (
            "what came before what is known",
            vec![write(25, "c", 0, Came::Unknown), write(30, "d", 0, Came::Stored(8))],
            seen(50, "c", 7),
            false,
        ),
    ] {
        let told = judge(more, vec![shown]);
        assert_eq!(told.is_empty(), right, "{what}: {told:?}");
    }
}

#[test]
fn no_sidecar_goes_back() {
    let deleted = || vec![write(30, "", 2, Came::Deleted), write(60, "c", 0, Came::Stored(5))];
    let other = |call, value, version| at(1, Reflects::Own, seen(call, value, version));
    for (what, more, shown, right) in [
        ("forth", vec![], vec![other(30, "a", 1), other(40, "b", 2)], true),
        ("back", vec![], vec![other(30, "b", 2), other(40, "a", 1)], false),
        ("back at another one", vec![], vec![other(30, "b", 2), at(2, Reflects::Own, seen(40, "a", 1))], true),
        ("back, beside each other", vec![], vec![other(30, "b", 2), other(33, "a", 1)], true),
        ("gone without a deletion", vec![], vec![other(30, "b", 2), other(40, "", 0)], false),
        (
            "gone past the cache, which is behind",
            deleted(),
            vec![other(32, "b", 2), Seen { reflects: Reflects::All, ..other(40, "", 0) }, other(50, "b", 2)],
            true,
        ),
        ("gone by the deletion", deleted(), vec![other(32, "b", 2), other(40, "", 0)], true),
        ("and come back", deleted(), vec![other(32, "b", 2), other(40, "", 0), other(50, "b", 2)], false),
        ("and written anew", deleted(), vec![other(32, "b", 2), other(40, "", 0), other(70, "c", 5)], true),
        ("and gone again without a deletion", deleted(), vec![other(70, "c", 5), other(80, "", 0)], false),
        ("not there yet", vec![], vec![other(12, "", 0), other(13, "", 0), other(30, "a", 1)], true),
    ] {
        let told = judge(more, shown);
        assert_eq!(told.is_empty(), right, "{what}: {told:?}");
    }
}

#[test]
fn a_write_is_refused_for_a_reason() {
    assert_ne!(judge(vec![write(30, "c", 2, Came::Refused(412))], vec![]), [""; 0]);
    assert_eq!(judge(vec![write(30, "c", 2, Came::Refused(503))], vec![]), [""; 0]);
    let excused = vec![write(30, "c", 0, Came::Unknown), write(40, "d", 2, Came::Refused(412))];
    assert_eq!(judge(excused, vec![]), [""; 0]);
}

#[test]
fn a_restored_store_begins_a_new_era() {
    let inherited = |value: &str, version| {
        vec![(1, BTreeMap::from([("milk".to_owned(), State { version, value: value.to_owned() })]))]
    };
    let later = |seen: Seen| Seen { eras: (1, 1), ..seen };
    let between = |seen: Seen| Seen { eras: (0, 1), ..seen };
    for (what, inherited, shown, right) in [
        (
            "back to a",
            inherited("a", 1),
            vec![seen(30, "b", 2), between(seen(40, "b", 2)), between(seen(50, "a", 1)), later(seen(60, "a", 1))],
            true,
        ),
        ("what was undone", inherited("a", 1), vec![later(seen(60, "b", 2))], false),
        ("what never was", inherited("x", 1), vec![], false),
        ("what never was, meanwhile", inherited("a", 1), vec![between(seen(50, "x", 3))], false),
        ("nothing, though it is there", inherited("a", 1), vec![at(9, Reflects::All, later(seen(60, "", 0)))], false),
    ] {
        let told = wrong(&History { writes: writes(), seen: shown, inherited }, 9);
        assert_eq!(told.is_empty(), right, "{what}: {told:?}");
    }
}
