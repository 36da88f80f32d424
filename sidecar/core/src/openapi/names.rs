//! Names that generators turn into types and functions: unique in a document, and pleasant.
//!
//! Owns how a kind is called in component names, tags and operation ids. Called by `openapi` alone.

use std::collections::BTreeMap;

use crate::kind::Kind;

/// How one kind is called in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// One of them: `Todo`.
    pub one: String,
    /// Several of them: `Todos`.
    pub many: String,
}

/// What follows the kind's name in the components of a kind. The first is the entity itself.
pub(super) const COMPONENTS: [&str; 8] = ["", "List", "Part", "Patch", "Status", "StatusPatch", "StatusWrite", "Write"];

/// A name for each kind, in order. The kind's own name where nothing else in the document is called so (another kind's list, or one of
/// `taken`); else with the group, and then the version, behind it.
pub(super) fn names(kinds: &[&Kind], taken: &[&str]) -> Vec<Names> {
    let mut precision = vec![0_usize; kinds.len()];
    loop {
        let names: Vec<Names> = kinds.iter().zip(&precision).map(|(kind, precision)| name(kind, *precision)).collect();
        let clashing = clashing(&names, taken);
        let mut sharpened = false;
        for (precision, clash) in precision.iter_mut().zip(clashing) {
            if clash && *precision < 2 {
                *precision += 1;
                sharpened = true;
            }
        }
        if !sharpened {
            return names;
        }
    }
}

/// For each name, whether one of its components is also another's.
fn clashing(names: &[Names], taken: &[&str]) -> Vec<bool> {
    let mut uses: BTreeMap<String, usize> = taken.iter().map(|name| ((*name).to_owned(), 1)).collect();
    let components = |name: &Names| COMPONENTS.map(|suffix| format!("{}{suffix}", name.one));
    for component in names.iter().flat_map(components) {
        *uses.entry(component).or_default() += 1;
    }
    names
        .iter()
        .map(|name| components(name).iter().any(|component| uses.get(component).is_some_and(|uses| *uses > 1)))
        .collect()
}

fn name(kind: &Kind, precision: usize) -> Names {
    let origin: String = [kind.group.as_str(), kind.version.as_str()].into_iter().take(precision).map(pascal).collect();
    let one = pascal(&kind.kind);
    let many = plural(&one, &kind.plural);
    Names { one: format!("{one}{origin}"), many: format!("{many}{origin}") }
}

/// The plural, which Kubernetes writes in lower case, with the kind's capitals: `NetworkPolicy`, `networkpolicies` → `NetworkPolicies`.
fn plural(one: &str, plural: &str) -> String {
    let common = one.chars().zip(plural.chars()).take_while(|(one, many)| one.to_ascii_lowercase() == *many).count();
    let kept: String = one.chars().take(common).collect();
    let rest: String = plural.chars().skip(common).collect();
    if common == 0 { pascal(&rest) } else { pascal(&format!("{kept}{rest}")) }
}

/// `k8sasbackend.com` → `K8sasbackendCom`: what a generator can use in any language.
fn pascal(text: &str) -> String {
    text.split(|letter: char| !letter.is_ascii_alphanumeric())
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, kind: &str, plural: &str) -> Kind {
        Kind {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
            has_spec: true,
            has_status: true,
            owned: true,
        }
    }

    #[test]
    fn the_plural_takes_the_kinds_capitals() {
        let table = [
            ("Todo", "todos", "Todos"),
            ("NetworkPolicy", "networkpolicies", "NetworkPolicies"),
            ("ConfigMap", "configmaps", "ConfigMaps"),
            ("Person", "people", "People"),
            ("Sheep", "sheep", "Sheep"),
            ("Ox", "cattle", "Cattle"),
        ];
        for (one, many, expected) in table {
            assert_eq!(name(&kind("a.b", one, many), 0).many, expected);
        }
    }

    #[test]
    fn a_kind_has_its_own_name_where_nothing_else_is_called_so() {
        let (todo, other, list, meta) = (
            kind("a.com", "Todo", "todos"),
            kind("b.com", "Todo", "todos"),
            kind("a.com", "TodoList", "todolists"),
            kind("a.com", "Meta", "metas"),
        );
        let one = |kinds: &[&Kind]| names(kinds, &["Meta"]).into_iter().map(|name| name.one).collect::<Vec<_>>();
        assert_eq!(one(&[&todo]), ["Todo"]);
        assert_eq!(one(&[&todo, &other]), ["TodoACom", "TodoBCom"]);
        assert_eq!(one(&[&todo, &list]), ["TodoACom", "TodoListACom"]);
        assert_eq!(one(&[&meta]), ["MetaACom"]);
    }
}
