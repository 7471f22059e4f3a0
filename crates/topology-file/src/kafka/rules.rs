//! Which named keys of `[kafka]` go together.

use std::collections::BTreeMap;

use super::super::codes;
use super::named_key::{Holds, MECHANISMS, Named, NamedValue, PropertyValue, of_key};

/// Settings that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyMisfit {
    /// The code of the kind, one of [`codes`].
    pub code: &'static str,
    /// The key that is meant.
    pub key: &'static str,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub fix: String,
}

/// Which of the named keys have a value, and those values that decide what the others need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    given: BTreeMap<&'static str, String>,
}

impl View {
    /// View of the values that the rules compare.
    pub fn of(values: &[NamedValue]) -> View {
        let mut view = View::default();
        for value in values {
            let text = match &value.given {
                PropertyValue::Text(text) => text.clone(),
                PropertyValue::File(_) | PropertyValue::Secret(_) => String::new(),
            };
            view.given.insert(value.named.key, text);
        }
        view
    }

    /// Sets what a key holds in effect; only of `security` and `mechanism` the value matters.
    pub fn set(&mut self, key: &'static str, value: String) {
        self.given.insert(key, value);
    }

    fn has(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    fn security(&self) -> Option<String> {
        self.given.get("security").map(|security| security.to_ascii_lowercase())
    }

    fn mechanism(&self) -> Option<&str> {
        self.given.get("mechanism").map(String::as_str)
    }

    fn first_of(&self, keys: &[&'static str]) -> Option<&'static str> {
        keys.iter().copied().find(|key| self.has(key))
    }
}

const OF_SASL: &[&str] = &["mechanism", "user", "password"];
const OF_TLS: &[&str] = &["ca_file", "certificate_file", "key_file", "key_password"];
const OF_OAUTH: &[&str] =
    &["oauth_token_endpoint_url", "oauth_client_id", "oauth_client_secret", "oauth_scope", "oauth_ca_file"];
const OF_PASSWORDS: &[&str] = &["user", "password"];

/// Keys that cannot stand beside each other, whatever else is set. A key that is not given
/// contradicts nothing.
pub fn contradictions(view: &View) -> Vec<PropertyMisfit> {
    let mut found = Vec::new();
    if let Some(security) = view.security() {
        let of_sasl: Vec<&'static str> = OF_SASL.iter().chain(OF_OAUTH).copied().collect();
        if let (false, Some(key)) = (security.starts_with("sasl"), view.first_of(&of_sasl)) {
            found.push(PropertyMisfit {
                code: codes::UNUSED_KAFKA_KEY,
                key,
                message: format!(
                    "`{key}` is for authentication by SASL, which `security = \"{security}\"` does not use"
                ),
                fix: "set `security` to sasl_ssl (or to sasl_plaintext, without encryption), or remove the key"
                    .to_owned(),
            });
        }
        if let (false, Some(key)) = (security.ends_with("ssl"), view.first_of(OF_TLS)) {
            found.push(PropertyMisfit {
                code: codes::UNUSED_KAFKA_KEY,
                key,
                message: format!("`{key}` is for TLS, which `security = \"{security}\"` does not use"),
                fix: "set `security` to ssl or sasl_ssl, or remove the key".to_owned(),
            });
        }
    }
    match view.mechanism() {
        Some("OAUTHBEARER") => {
            if let Some(key) = view.first_of(OF_PASSWORDS) {
                found.push(PropertyMisfit {
                    code: codes::UNUSED_KAFKA_KEY,
                    key,
                    message: format!("`{key}` is for the mechanisms PLAIN and SCRAM, but `mechanism` is OAUTHBEARER"),
                    fix: "remove the key, and set `oauth_client_id` and `oauth_client_secret_file`".to_owned(),
                });
            }
        }
        Some(mechanism) => {
            if let Some(key) = view.first_of(OF_OAUTH) {
                found.push(PropertyMisfit {
                    code: codes::UNUSED_KAFKA_KEY,
                    key,
                    message: format!("`{key}` is for the mechanism OAUTHBEARER, but `mechanism` is {mechanism}"),
                    fix: "set `mechanism` to OAUTHBEARER, or remove the key".to_owned(),
                });
            }
        }
        None => {}
    }
    found
}

/// Settings that are missing although the others need them: asked when file, variables and flags
/// are joined. `view` is all that is set in effect, `named` what named keys say alone: a
/// certificate that passes through is librdkafka's matter. `other_tokens`: librdkafka's own
/// settings say how a token is got, so the keys for it need not be there.
pub fn missing(view: &View, named: &View, other_tokens: bool) -> Vec<PropertyMisfit> {
    let mut found = Vec::new();
    let mut needs = |key: &'static str, why: String| {
        if !view.has(key) {
            let named = of_key(key);
            let file = named.is_some_and(|named| named.holds == Holds::Secret);
            let variable = named.map(Named::variable).unwrap_or_default();
            let fix = match file {
                true => format!("set `{key}_file` in [kafka], {variable}_FILE or {variable}"),
                false => format!("set `{key}` in [kafka], {variable} or --kafka-{}", key.replace('_', "-")),
            };
            found.push(PropertyMisfit {
                code: codes::MISSING_KAFKA_KEY,
                key,
                message: format!("`{key}` of [kafka] is not set: {why}"),
                fix,
            });
        }
    };
    let is_sasl = view.security().is_some_and(|security| security.starts_with("sasl"));
    if is_sasl {
        needs("mechanism", format!("`security` is {}; mechanisms: {MECHANISMS}", view.security().unwrap_or_default()));
        match view.mechanism() {
            Some("OAUTHBEARER") if !other_tokens => {
                for key in ["oauth_token_endpoint_url", "oauth_client_id", "oauth_client_secret"] {
                    needs(key, "`mechanism` is OAUTHBEARER, which needs it to request tokens".to_owned());
                }
            }
            Some(mechanism) if MECHANISMS.split(", ").any(|known| known == mechanism) && mechanism != "OAUTHBEARER" => {
                for key in OF_PASSWORDS.iter().copied() {
                    needs(key, format!("`mechanism` is {mechanism}"));
                }
            }
            _ => {}
        }
    }
    if named.has("certificate_file") {
        needs("key_file", "`certificate_file` needs its private key".to_owned());
    } else if named.has("key_file") {
        needs("certificate_file", "`key_file` needs its certificate".to_owned());
    } else if named.has("key_password") {
        needs("key_file", "`key_password` is the password of that private key".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(keys: &[(&'static str, &str)]) -> View {
        let mut view = View::default();
        keys.iter().for_each(|(key, value)| view.set(key, (*value).to_owned()));
        view
    }

    /// Keys with their values, and the keys that are told of.
    type Case<'c> = (&'c [(&'static str, &'c str)], &'c [&'c str]);

    fn keys(found: &[PropertyMisfit]) -> Vec<&'static str> {
        found.iter().map(|misfit| misfit.key).collect()
    }

    #[test]
    fn what_goes_together_is_not_complained_about() {
        let sound: [&[(&str, &str)]; 6] = [
            &[],
            &[("security", "ssl"), ("ca_file", "")],
            &[("security", "ssl"), ("certificate_file", ""), ("key_file", ""), ("key_password", "")],
            &[
                ("security", "sasl_ssl"),
                ("mechanism", "SCRAM-SHA-512"),
                ("user", "u"),
                ("password", ""),
                ("ca_file", ""),
            ],
            &[("security", "sasl_plaintext"), ("mechanism", "PLAIN"), ("user", "u"), ("password", "")],
            &[
                ("security", "sasl_ssl"),
                ("mechanism", "OAUTHBEARER"),
                ("oauth_token_endpoint_url", "https://idp"),
                ("oauth_client_id", "c"),
                ("oauth_client_secret", ""),
            ],
        ];
        for keys in sound {
            let view = view(keys);
            assert_eq!((contradictions(&view), missing(&view, &view, false)), (Vec::new(), Vec::new()), "{keys:?}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_told() {
        let wrong: [Case; 7] = [
            (&[("security", "ssl"), ("mechanism", "PLAIN")], &["mechanism"]),
            (&[("security", "plaintext"), ("user", "u"), ("password", "")], &["user"]),
            (&[("security", "plaintext"), ("ca_file", "")], &["ca_file"]),
            (&[("security", "sasl_plaintext"), ("mechanism", "PLAIN"), ("key_password", "")], &["key_password"]),
            (&[("security", "sasl_ssl"), ("mechanism", "OAUTHBEARER"), ("password", "")], &["password"]),
            (&[("mechanism", "PLAIN"), ("oauth_scope", "s")], &["oauth_scope"]),
            (&[("security", "plaintext"), ("oauth_client_id", ""), ("key_file", "")], &["oauth_client_id", "key_file"]),
        ];
        for (given, told) in wrong {
            assert_eq!(keys(&contradictions(&view(given))), told, "{given:?}");
        }
    }

    #[test]
    fn what_is_missing_is_told_with_every_way_to_give_it() {
        let wrong: [Case; 6] = [
            (&[("security", "sasl_ssl")], &["mechanism"]),
            (&[("security", "SASL_SSL"), ("mechanism", "PLAIN"), ("user", "u")], &["password"]),
            (&[("security", "sasl_ssl"), ("mechanism", "SCRAM-SHA-256"), ("password", "")], &["user"]),
            (
                &[("security", "sasl_ssl"), ("mechanism", "OAUTHBEARER"), ("oauth_client_id", "")],
                &["oauth_token_endpoint_url", "oauth_client_secret"],
            ),
            (&[("security", "ssl"), ("certificate_file", "")], &["key_file"]),
            (&[("security", "ssl"), ("key_file", ""), ("key_password", "")], &["certificate_file"]),
        ];
        for (given, told) in wrong {
            let view = view(given);
            assert_eq!(keys(&missing(&view, &view, false)), told, "{given:?}");
        }
        let plain = view(&[("security", "sasl_ssl"), ("mechanism", "PLAIN"), ("user", "u")]);
        let found = missing(&plain, &plain, false);
        let fix = "set `password_file` in [kafka], HELIXSTREAM_KAFKA_PASSWORD_FILE or HELIXSTREAM_KAFKA_PASSWORD";
        assert_eq!(found.first().map(|misfit| misfit.fix.as_str()), Some(fix));
        let oauth = view(&[("security", "sasl_ssl"), ("mechanism", "OAUTHBEARER")]);
        assert_eq!(missing(&oauth, &oauth, true), Vec::new());
        let certificate = view(&[("certificate_file", "")]);
        assert_eq!(missing(&certificate, &View::default(), false), Vec::new());
    }
}
