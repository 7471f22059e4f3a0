//! Resolver settings of an application, as its row of `memory_resolver_settings`: the functions of
//! migrations/ default to it.

use std::collections::BTreeMap;

use memory::event::Limits;
use memory::settings::ResolverSettings;
use mirror::ports::{Cells, StartupRow};

/// The settings of an application, as it starts with them.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolverSettingsRow {
    /// Settings of the resolver, and the application id.
    pub resolver: ResolverSettings,
    /// Limits of accepted events.
    pub limits: Limits,
    /// Bytes above which an output goes to the dead letters.
    pub max_output_bytes: usize,
}

impl StartupRow for ResolverSettingsRow {
    fn table(&self) -> &'static str {
        "memory_resolver_settings"
    }

    fn key(&self) -> (&'static str, &str) {
        ("application_id", &self.resolver.application_id)
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "strategy",
            "overrides",
            "delete_policy",
            "trust_clocks",
            "unclocked",
            "max_clock_skew_ns",
            "tombstone_retention_ns",
            "max_value_bytes",
            "max_clock_entries",
            "max_contenders",
            "max_output_bytes",
        ]
    }

    fn cells(&self, to: &mut dyn Cells) {
        let of = &self.resolver;
        to.text(of.strategy.as_str());
        to.json(&overrides(of));
        to.text(of.delete_policy.as_str());
        to.boolean(of.trust_clocks);
        to.text(of.unclocked.as_str());
        to.integer(i64::try_from(of.max_clock_skew_ns).unwrap_or(i64::MAX));
        match of.tombstone_retention_ns {
            None => to.null(),
            Some(ns) => to.integer(i64::try_from(ns).unwrap_or(i64::MAX)),
        }
        for size in
            [self.limits.max_value_bytes, self.limits.max_clock_entries, of.max_contenders, self.max_output_bytes]
        {
            to.integer(i64::try_from(size).unwrap_or(i64::MAX));
        }
    }
}

/// Strategy names by path.
fn overrides(of: &ResolverSettings) -> Vec<u8> {
    let names: BTreeMap<&str, &str> =
        of.overrides.iter().map(|(path, strategy)| (path.as_str(), strategy.as_str())).collect();
    serde_json::json!(names).to_string().into_bytes()
}
