//! The rule for application ids.

/// Whether an application id can name a group, topics and transactional ids.
///
/// # Errors
/// A description of the problem.
pub fn check_application_id(id: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.is_empty() || id.len() > 128 || !id.chars().all(good) {
        return Err(format!(
            "the application id `{id}` does not consist of 1 to 128 letters, digits, `.`, `_` and `-`; internal topics are \
             named after it"
        ));
    }
    Ok(())
}
