//! Members of a record that expressions use, found in their texts, so that no more of a record is
//! made into values of the engine than they need: an embedding that nobody asks for would cost more
//! than all the rest. What is in doubt counts as needed.

use std::collections::BTreeSet;

/// How much of the record's value is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Of an object these members.
    Members(BTreeSet<String>),
}

/// Members of a record that expressions use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    pub key: bool,
    pub headers: bool,
    pub aggregate: bool,
    pub value: Part,
}

impl Uses {
    /// Of all these texts together.
    pub fn of(texts: &[&str]) -> Uses {
        let names = |word: &str| texts.iter().any(|text| places(text, word).next().is_some());
        let members = texts.iter().flat_map(|text| places(text, "value").map(|at| member(&text[at + "value".len()..])));
        let value = members.collect::<Option<BTreeSet<String>>>().map_or(Part::Whole, Part::Members);
        Uses { key: names("key"), headers: names("headers"), aggregate: names("aggregate"), value }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where a word stands that is no part of a longer one, nor a member of something.
fn places<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + use<'t> {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = &text[..*at];
        let after = &text[*at + word.len()..];
        !before.ends_with(|c| is_word(c) || c == '.') && !after.starts_with(is_word)
    })
}

/// The member that is asked for behind `value`; nothing where it is used otherwise.
fn member(behind: &str) -> Option<String> {
    let rest = behind.strip_prefix("?.").or_else(|| behind.strip_prefix('.'))?;
    let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
    // A function of the whole value: `value.put(…)`.
    let is_call = rest[name.len()..].trim_start().starts_with('(');
    (!name.is_empty() && !is_call).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_and_what_is_in_doubt_is_whole() {
        let members = |names: &[&str]| Part::Members(names.iter().map(|name| (*name).to_owned()).collect());
        let of = |text: &str| Uses::of(&[text]).value;
        assert_eq!(of("value.status == \"deleted\" || value?.a.b > 1"), members(&["a", "status"]));
        assert_eq!(of("key"), members(&[]));
        assert_eq!(of("timestamp > 3 && my_value + value2 == x.value"), members(&[]));
        for whole in ["value", "value[\"a\"]", "value.put(\"a\", 1)", "value.len ()", "\"a\" in value", "value .a"] {
            assert_eq!(of(whole), Part::Whole, "{whole}");
        }
        let uses = Uses::of(&["headers.type == key", "aggregate + value.n"]);
        assert_eq!((uses.key, uses.headers, uses.aggregate), (true, true, true));
        assert!(!Uses::of(&["monkey"]).key);
    }
}
