//! Identifiers in statements of SQL.

/// An identifier as SQL accepts any: in double quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_can_be_a_schema() {
        assert_eq!(quoted("a\"; drop"), "\"a\"\"; drop\"");
    }
}
