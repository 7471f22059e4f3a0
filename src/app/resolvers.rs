//! Custom resolvers: the functions that a program registers by name, the scripts that a topology
//! file names, and which of them decides for which field.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::CommandError;
use super::scripting::budget;
use memory::settings::ResolverSettings;
use memory::strategy::{Contender, CustomResolver, Resolution, ResolverFailure};
use script::Script;
use topology_file::Topology as File;
use topology_file::script::names;

/// The resolvers that a program registers, by the name that `custom:<name>` calls them by.
#[derive(Clone, Default)]
pub struct Custom(BTreeMap<String, Registered>);

/// A resolver of the program's own.
#[derive(Clone)]
struct Registered {
    resolver: Arc<dyn CustomResolver>,
    version: String,
}

impl Custom {
    /// With one more, as [`Custom::with_version`] of the empty version.
    #[must_use]
    pub fn with(self, name: &str, resolver: impl CustomResolver + 'static) -> Custom {
        self.with_version(name, "", resolver)
    }

    /// With one more; of two that have one name the later counts. The instances of an application
    /// compare what they resolve with, and a function cannot be compared: give it another version
    /// when it comes to decide otherwise, so that old and new programs never resolve side by side.
    #[must_use]
    pub fn with_version(mut self, name: &str, version: &str, resolver: impl CustomResolver + 'static) -> Custom {
        self.0.insert(name.to_owned(), Registered { resolver: Arc::new(resolver), version: version.to_owned() });
        self
    }

    /// The version of a resolver; empty where there is none of that name, or it has none.
    pub fn version(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |registered| registered.version.as_str())
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// Resolvers of the fields of a topology whose strategy is `custom`, if there are any.
pub type Resolver = Option<Arc<dyn CustomResolver>>;

/// Compiles the scripts of a topology and joins them with the program's own.
///
/// # Errors
/// A script is refused, or a resolver is missing.
pub fn join(file: &File, custom: &Custom) -> Result<Resolver, CommandError> {
    let registered = custom.0.iter().map(|(name, registered)| (name.clone(), registered.resolver.clone()));
    let mut all: BTreeMap<String, Arc<dyn CustomResolver>> = registered.collect();
    for script in &file.scripts {
        match Script::compile(&script.name, &script.text, budget(&file.values.scripts)) {
            Ok(compiled) if !custom.0.contains_key(&script.name) => {
                all.insert(script.name.clone(), Arc::new(compiled));
            }
            Ok(_) => {
                let name = &script.name;
                return Err(CommandError::Usage(format!(
                    "{}: the script `{name}` has the name of a custom resolver of this program; choose another name for the \
                     script [HS0030]",
                    file.file
                )));
            }
            // Its text is checked with the file's: what is wrong by now is the budget that a flag
            // has set.
            Err(flaw) => {
                let name = &script.name;
                return Err(CommandError::Usage(format!(
                    "{}: the script `{name}`: {}; {} [{}]",
                    file.file, flaw.message, flaw.fix, flaw.code
                )));
            }
        }
    }
    let known = names(&file.scripts, &custom.names());
    let mut by_path = ByPath { settings: file.values.resolver.clone(), whole: None, fields: BTreeMap::new() };
    let keys = file.values.custom_keys();
    for key in &keys {
        let name = file
            .values
            .resolver_of(key, &known)
            .map_err(|(message, fix)| CommandError::Usage(format!("{message}; {fix} [HS7005]")))?;
        let Some(resolver) = all.get(&name).cloned() else { continue };
        match key.strip_prefix("strategy.") {
            Some(path) => _ = by_path.fields.insert(path.to_owned(), resolver),
            None => by_path.whole = Some(resolver),
        }
    }
    Ok(if keys.is_empty() { None } else { Some(Arc::new(by_path)) })
}

/// Asks the resolver that a field's strategy names.
struct ByPath {
    settings: ResolverSettings,
    whole: Option<Arc<dyn CustomResolver>>,
    fields: BTreeMap<String, Arc<dyn CustomResolver>>,
}

impl CustomResolver for ByPath {
    fn resolve(&self, path: &str, contenders: &[Contender<'_>]) -> Result<Resolution, ResolverFailure> {
        let resolver = match self.settings.override_of(path) {
            Some((place, _)) => self.fields.get(place),
            None => self.whole.as_ref(),
        };
        let resolver = resolver.ok_or_else(|| ResolverFailure(format!("no resolver is set for {path}")))?;
        resolver.resolve(path, contenders)
    }
}
