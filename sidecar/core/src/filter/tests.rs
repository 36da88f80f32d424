//! Filters as tables: what they find, what they refuse and where, what they may cost; and odd texts by the thousand.

use std::ops::Bound;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::entity::Key;
use crate::version::Version;

fn todo_fields() -> Arc<Fields> {
    let own = json!({ "type": "object", "properties": {
            "when": { "type": "string", "format": "date-time", "nullable": true },
            "takes": { "type": "string", "format": "duration" },
            "message": { "type": "string" },
            "priority": { "type": "integer" },
            "price": { "type": "number" },
            "urgent": { "type": "boolean" },
            "tags": { "type": "array", "items": { "type": "string" } },
            "steps": { "type": "array", "items": { "type": "object", "properties": { "due": { "type": "string", "format": "date-time" } } } },
            "any": { "x-kubernetes-preserve-unknown-fields": true },
    } });
    let status = json!({ "type": "object", "properties": { "phase": { "type": "string" } } });
    Arc::new(Fields::of(
        &own,
        Some(&status),
        true,
        &["spec.priority", ".status.phase", "spec.urgent"].map(String::from),
    ))
}

pub(super) fn entity(json: &Json) -> Entity {
    Entity {
        key: Key { namespace: Some("shop".into()), id: json["id"].as_str().unwrap_or("a").into() },
        version: Version(1),
        uid: "u".into(),
        labels: Box::default(),
        deleting: false,
        annotated: false,
        marks: Default::default(),
        json: Bytes::from(json.to_string()),
    }
}

fn milk() -> Json {
    json!({
        "id": "buy-milk", "when": "2026-12-24T10:00:00+01:00", "takes": "1h30m", "message": "buy \"milk\"\n", "priority": 3, "price": 2,
        "urgent": true, "tags": ["a", "b"], "steps": [{ "due": "2026-12-01T00:00:00Z" }], "any": { "x": null, "n": 1 },
        "status": { "phase": "Scheduled" },
        "meta": { "version": "7", "createdAt": "2026-01-01T00:00:00Z", "expiresAt": null, "labels": { "app.kubernetes.io/name": "shop" } },
    })
}

fn ask(text: &str, json: &Json) -> Result<bool, FilterFault> {
    let filter = Filter::compile(text, &todo_fields()).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    filter.matches(&entity(json), &mut Budget::default())
}

#[test]
fn conditions_over_every_part_of_an_entity() {
    for (text, answer) in [
        ("true", true),
        ("id == 'buy-milk'", true),
        ("message.contains('milk') && when < timestamp('2027-01-01T00:00:00Z')", true),
        ("message == 'buy \"milk\"\\n'", true),
        ("when == timestamp('2026-12-24T09:00:00Z')", true),
        ("when - timestamp('2026-12-24T08:00:00Z') == duration('1h')", true),
        ("takes > duration('1h')", true),
        ("meta.createdAt.getFullYear() == 2026", true),
        ("meta.labels[\"app.kubernetes.io/name\"] == 'shop'", true),
        ("'app.kubernetes.io/name' in meta.labels && size(meta.labels) == 1", true),
        ("status.phase in ['Done', 'Scheduled']", true),
        ("priority >= 3 && priority < 3.5 && price * 2.0 == 4.0", true),
        ("urgent", true),
        ("!urgent", false),
        ("tags.exists(t, t == 'b') && tags.all(t, size(t) == 1) && tags.exists_one(t, t == 'a')", true),
        ("tags.map(t, t + 'x') == ['ax', 'bx'] && tags.filter(t, t != 'a') == ['b'] && tags[1] == 'b'", true),
        ("tags.map(t, t != 'a', t + 'x') == ['bx']", true),
        ("steps.all(s, s.due < timestamp('2026-12-02T00:00:00Z'))", true),
        ("tags.all(id, id != 'buy-milk') && id == 'buy-milk'", true),
        ("message.matches('^buy .m[a-i]lk')", true),
        ("message.matches('^milk')", false),
        ("any.n == 1 && any == {'x': null, 'n': 1}", true),
        ("self.id == id && has(self.when) && has(self.status.phase)", true),
        ("urgent ? priority == 3 : false", true),
    ] {
        assert_eq!(ask(text, &milk()), Ok(answer), "{text}");
    }
}

#[test]
fn what_an_entity_lacks_neither_matches_nor_fails() {
    let bare = json!({ "id": "bare", "when": null, "tags": [], "meta": { "labels": {}, "expiresAt": null } });
    for (text, answer) in [
        ("message == 'x'", false),
        ("message != 'x'", false),
        ("!(message == 'x')", false),
        ("message.contains('x')", false),
        ("when < timestamp('2027-01-01T00:00:00Z')", false),
        ("when == null", true),
        ("meta.expiresAt < timestamp('2027-01-01T00:00:00Z')", false),
        ("meta.labels['a'] == 'b'", false),
        ("status.phase == 'Done'", false),
        ("has(status.phase)", false),
        ("!has(status.phase)", true),
        ("!has(self.message) || message.contains('x')", true),
        ("has(self.message)", false),
        ("has(self.status.phase)", false),
        ("priority + 1 == 2 || id == 'bare'", true),
        ("tags[0] == 'a'", false),
        ("'a' in tags", false),
        ("tags.exists(t, t.contains('a'))", false),
    ] {
        assert_eq!(ask(text, &bare), Ok(answer), "{text}");
    }
}

#[test]
fn a_condition_without_meaning_for_an_entity_names_it() {
    for (text, told) in [
        ("any.x.y.z == 1", None),
        ("any.n.contains('a')", Some("contains")),
        ("any.n < 'a'", Some("<")),
        ("any.n", Some("true or false")),
        ("any.n / 0 == 1", Some("zero")),
        ("timestamp('9999-12-31T00:00:00Z') + duration('2562047h') > timestamp('2026-01-01T00:00:00Z')", Some("")),
        ("timestamp(message) < timestamp('2026-01-01T00:00:00Z')", Some("timestamp")),
    ] {
        match (ask(text, &milk()), told) {
            (Err(FilterFault::Evaluation { id, message }), Some(told)) => {
                assert_eq!(&*id, "buy-milk");
                assert!(message.to_lowercase().contains(told), "{text}: {message}");
            }
            (Ok(false), None) => {}
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_wrong_text_is_told_with_its_place() {
    let (deep, long, loops) =
        ("[".repeat(30) + "id" + &"]".repeat(30), "x".repeat(3_000), "tags.all(a, tags.all(b, tags.all(c, a == c)))");
    let tokens = format!("id in [{}]", vec!["1"; 300].join(","));
    let conditionals = "urgent ? true : ".repeat(20) + "false";
    let sum = vec!["priority"; 40].join(" + ") + " == 1";
    for (text, at, told) in [
        ("", None, "a filter is an expression"),
        ("  // nothing", None, "a filter is an expression"),
        ("whem == 1", Some(1), "unknown field \"whem\"; known are id, any, message"),
        ("id == 'é' && whem == 1", Some(14), "unknown field \"whem\""),
        ("self.whem == 1", Some(6), "unknown field \"whem\""),
        (".id == 'a'", None, "unknown field \".id\""),
        ("id ==", Some(6), ""),
        ("id == 'a", Some(7), ""),
        ("id = 'a'", Some(4), ""),
        ("id == 'a' extra", Some(11), "extra"),
        ("(id == 'a'", Some(11), "')'"),
        ("id == 'a' &&\n  priority ==", Some(27), ""),
        ("priority", None, "no boolean"),
        ("priority + 1", None, "calculation"),
        ("'a'", None, "true or false"),
        ("size(tags)", None, "conversion"),
        ("when < '2027-01-01T00:00:00Z'", Some(1), "compare it with timestamp(\"2027-01-01T00:00:00Z\")"),
        ("'1h' == takes", Some(9), "compare it with duration"),
        ("message.lower() == 'a'", Some(9), "there is no method \"lower\""),
        ("now() > when", Some(1), "there is no function \"now\""),
        ("type(id) == string", Some(1), "there is no function"),
        ("message.matches(id)", Some(9), "one pattern"),
        ("message.matches('(')", Some(9), "the pattern cannot be used"),
        ("message.matches('(a{1000}){1000}')", Some(9), "the pattern cannot be used"),
        ("Todo{id: 'a'} == self", Some(1), "makes no objects"),
        ("has(when)", Some(5), "has(self.NAME)"),
        ("any.?x == 1", None, ""),
        (deep.as_str(), None, "24"),
        (long.as_str(), None, "at most 2048 bytes"),
        (loops, None, "loops"),
        (tokens.as_str(), None, "at most 512"),
        (conditionals.as_str(), None, "question marks"),
        (sum.as_str(), None, "levels deep"),
    ] {
        let fault = Filter::compile(text, &todo_fields()).err().unwrap_or_else(|| panic!("{text} was taken"));
        assert!(fault.message.contains(told), "{text}: {fault}");
        assert!(!fault.message.contains("<input>") && !fault.message.is_empty(), "{text}: {fault}");
        if at.is_some() {
            assert_eq!(fault.at, at, "{text}: {fault}");
        }
    }
}

#[test]
fn texts_that_made_other_parsers_overflow_are_only_refused() {
    for text in [
        "[".repeat(500),
        "(".repeat(250) + "urgent" + &")".repeat(250),
        "urgent && (".repeat(50) + "urgent" + &")".repeat(50),
        "{".repeat(700),
        "!".repeat(500) + "urgent",
        "-".repeat(500) + "1",
        "a?b:".repeat(500),
        format!(">{}?[{}{}l\u{0}?(-", "{".repeat(63), "(".repeat(11), "{".repeat(26)),
        "{[!(".repeat(60),
        "any".to_owned() + &".x".repeat(250),
        "any".to_owned() + &"[0]".repeat(160),
        "any".to_owned() + &".size()".repeat(100),
        "1".to_owned() + &"+1".repeat(250),
        "1 in ".repeat(200),
    ] {
        let _ = Filter::compile(&text, &todo_fields())
            .map(|filter| filter.matches(&entity(&milk()), &mut Budget::default()));
    }
}

#[test]
fn loops_over_large_lists_are_bounded_by_what_a_list_may_cost() {
    let large = json!({ "id": "large", "tags": vec!["tag"; 20_000] });
    for text in [
        "tags.all(a, tags.all(b, a == b))",
        "tags.map(a, tags.map(b, tags)).size() > 0",
        "tags.filter(a, tags.exists(b, b == 'x')).size() > 0",
        "tags.exists_one(a, tags.exists_one(b, a + b == 'x'))",
        "tags.exists(a, tags.exists(b, a + b == 'x')) || id == 'large'",
    ] {
        let filter = Filter::compile(text, &todo_fields()).unwrap();
        assert_eq!(filter.matches(&entity(&large), &mut Budget(LIST_BUDGET / 5)), Err(FilterFault::Budget), "{text}");
    }
    assert_eq!(ask("tags.all(t, t == 'tag')", &json!({ "id": "a", "tags": vec!["tag"; 1_000] })), Ok(true));
}

#[test]
fn the_budget_is_that_of_the_whole_list() {
    let filter = Filter::compile("message.contains('milk')", &todo_fields()).unwrap();
    let mut budget = Budget(20);
    let todo = entity(&milk());
    let asked = (0..100).take_while(|_| filter.matches(&todo, &mut budget).is_ok()).count();
    assert!((1..20).contains(&asked), "{asked}");
    assert_eq!(filter.matches(&todo, &mut budget), Err(FilterFault::Budget));
}

#[test]
fn what_an_index_can_answer_is_found() {
    let lookups =
        |text: &str| -> Vec<Lookup> { Filter::compile(text, &todo_fields()).unwrap().lookups().cloned().collect() };
    let text = |value: &str| IndexValue::Text(value.into());
    assert_eq!(lookups("id == 'a'"), [Lookup::Id(vec!["a".into()])]);
    assert_eq!(lookups("'a' == self.id"), [Lookup::Id(vec!["a".into()])]);
    assert_eq!(
        lookups("message.contains('x') && status.phase in ['A', 'B'] && meta.labels.app == 'x'"),
        [Lookup::Field(1, vec![text("A"), text("B")]), Lookup::Label("app".into(), vec!["x".into()])]
    );
    assert_eq!(lookups("priority == 3u"), [Lookup::Field(0, vec![IndexValue::Whole(3)])]);
    assert_eq!(lookups("priority == 3.0 && message == 'a'"), [Lookup::Field(0, vec![IndexValue::Whole(3)])]);
    let urgent = |value| [Lookup::Field(2, vec![IndexValue::Bool(value)])];
    assert_eq!((lookups("urgent"), lookups("!urgent")), (urgent(true).to_vec(), urgent(false).to_vec()));
    let whole = IndexValue::Whole;
    assert_eq!(
        lookups("priority > 2"),
        [Lookup::Range(0, Bound::Excluded(whole(2)), Bound::Excluded(IndexValue::Bool(false)))]
    );
    assert_eq!(
        lookups("3 >= priority"),
        [Lookup::Range(0, Bound::Included(whole(i64::MIN)), Bound::Included(whole(3)))]
    );
    assert_eq!(
        lookups("status.phase < 'B'"),
        [Lookup::Range(1, Bound::Included(text("")), Bound::Excluded(text("B")))]
    );
    assert_eq!(lookups("meta.labels['app'] in ['x', 5]"), [Lookup::Label("app".into(), vec!["x".into()])]);
    for none in [
        "id != 'a'",
        "id == 'a' || urgent",
        "!(id == 'a')",
        "message == 'a'",
        "id == message",
        "priority == 0.5",
        "id == null",
        "price > 1.0",
        "priority == 9223372036854775807",
        "id in [message]",
        "tags.all(id, id == 'a')",
    ] {
        assert_eq!(lookups(none), [], "{none}");
    }
}

/// Texts that look like filters, well-formed or nearly.
fn filterish() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "id",
        "when",
        "message",
        "priority",
        "tags",
        "any",
        "status.phase",
        "meta.labels",
        "self",
        "t",
        "==",
        "!=",
        "<",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "?",
        ":",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        "in",
        "has(",
        ".all(t,",
        ".exists(t,",
        ".map(t,",
        ".filter(t,",
        ".exists_one(",
        ".size()",
        ".contains(",
        ".matches(",
        "timestamp(",
        "duration(",
        "int(",
        "string(",
        "double(",
        "uint(",
        "bool(",
        "bytes(",
        ".getHours(",
        "'a'",
        "\"b\"",
        "r'\\d'",
        "b'x'",
        "'''",
        "\"2026-01-01T00:00:00Z\"",
        "'1h'",
        "0",
        "1",
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551615u",
        "1e308",
        "0x1F",
        "1.5",
        "true",
        "null",
        "`",
        "\\",
        "é",
        "\u{0}",
        "//",
        "\n",
    ]);
    prop::collection::vec(word, 1..40).prop_map(|words| words.join(" "))
}

/// Texts that are well-formed, whatever their types.
fn well_formed() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "id",
        "when",
        "takes",
        "message",
        "priority",
        "price",
        "urgent",
        "tags",
        "any.n",
        "any.x",
        "status.phase",
        "meta.labels",
        "self",
        "'a'",
        "b'x'",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615u",
        "1e308",
        "0.0",
        "true",
        "null",
        "[]",
        "{'a': 1}",
        "timestamp('9999-12-31T23:59:59Z')",
        "timestamp('0001-01-01T00:00:00Z')",
        "duration('2562047h')",
        "duration('-2562047h')",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let function = prop::sample::select(vec![
            "int",
            "uint",
            "double",
            "string",
            "bool",
            "bytes",
            "timestamp",
            "duration",
            "size",
            "!",
            "-",
        ]);
        let method = prop::sample::select(vec![
            "contains",
            "startsWith",
            "endsWith",
            "getHours",
            "getDayOfYear",
            "getMilliseconds",
        ]);
        let macros = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            (function, inner.clone()).prop_map(|(function, inner)| format!("{function}({inner})")),
            (inner.clone(), method, inner.clone()).prop_map(|(on, method, inner)| format!("({on}).{method}({inner})")),
            (inner.clone(), macros, inner.clone()).prop_map(|(on, name, inner)| format!("({on}).{name}(id, {inner})")),
            (inner.clone(), inner.clone()).prop_map(|(on, inner)| format!("({on})[{inner}]")),
            (inner.clone(), inner.clone(), inner).prop_map(|(if_, then, else_)| format!("({if_} ? {then} : {else_})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_odd_to_read(text in "\\PC{0,120}") {
        let _ = Filter::compile(&text, &todo_fields());
    }

    #[test]
    fn no_filter_is_too_odd_to_ask(text in filterish()) {
        if let Ok(filter) = Filter::compile(&text, &todo_fields()) {
            let _ = filter.matches(&entity(&milk()), &mut Budget::default());
        }
    }

    #[test]
    fn no_well_formed_filter_is_too_odd_to_ask(text in well_formed()) {
        if let Ok(filter) = Filter::compile(&text, &todo_fields()) {
            match filter.matches(&entity(&milk()), &mut Budget::default()) {
                // Only arithmetic on dates is known to panic inside the library, where the panic is caught.
                Err(FilterFault::Evaluation { message, .. }) if message.contains("out of range") => {
                    prop_assert!(text.contains("timestamp") || text.contains("duration") || text.contains("when") || text.contains("takes"), "{}", text);
                }
                _ => {}
            }
        }
    }
}
