//! Texts of settings in messages. A URL that stands at a wrong place may hold a password, so no
//! text is repeated that could be one, or a part of one.

/// The text in backticks, or `other` where it may be a part of a URL.
pub(super) fn quoted(text: &str, other: &str) -> String {
    quoted_of(text, text, other)
}

/// As [`quoted`], for a text that was cut out of another one: that may be the URL.
pub(super) fn quoted_of(text: &str, whole: &str, other: &str) -> String {
    if whole.contains('@') || whole.contains("//") { other.to_owned() } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_url_is_not_repeated() {
        assert_eq!(quoted("kafka", "of that name"), "`kafka`");
        for text in ["postgres://u:pw@db", "u:pw@db", "http://db", "//u:pw"] {
            assert_eq!(quoted(text, "of that name"), "of that name");
        }
    }
}
