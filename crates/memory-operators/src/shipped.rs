//! The specifications of the operators of this crate.

use std::sync::Arc;
use std::time::Duration;

use super::{Decode, Resolve, ResolveOptions, UserOptions, UserSnapshots};
use memory::event::{Encoding, Limits};
use memory::settings::ResolverSettings;
use memory::strategy::CustomResolver;
use operators::spec::{
    Form, OperatorContext, OperatorSpec, OutputForm, OutputSpec, ProcessorSupplier, RetentionSupport,
};

/// The settings that the operators of this crate work by: the environment of their
/// [`OperatorContext`].
#[derive(Clone)]
pub struct MemoryEnvironment {
    /// The settings of the resolver.
    pub resolver: ResolverSettings,
    /// Decides the fields whose strategy is `custom`.
    pub custom: Option<Arc<dyn CustomResolver>>,
    /// The limits of events.
    pub limits: Limits,
    /// The interval of stream time at whose end the snapshots of changed users are emitted.
    pub snapshot_interval: Duration,
    /// After so many changes a user's snapshot is emitted at once; 0: never.
    pub snapshot_changes: u64,
}

/// The operators of this crate.
pub fn specs() -> Vec<OperatorSpec> {
    vec![decode(), resolve(), user_snapshots()]
}

const fn output(name: &'static str, form: Form) -> OutputSpec {
    OutputSpec::required(name, OutputForm::Always(form))
}

fn decode() -> OperatorSpec {
    let build = |context: &dyn OperatorContext| {
        let MemoryEnvironment { limits, resolver, .. } = context.environment_of()?;
        let carries = resolver.tombstone_retention_ns.is_some();
        let (limits, encoding, codec) = match context.input()?.source {
            Some(source) => (*limits, source.encoding, source.codec),
            // The output of another operator is JSON, whose bytes were counted as they came.
            None => (Limits { max_value_bytes: usize::MAX, ..*limits }, Encoding::Json, None),
        };
        Ok(ProcessorSupplier::new(move || Decode::new(limits, codec.clone()).of(encoding).carrying(carries)))
    };
    OperatorSpec {
        accepts: vec![Form::Message, Form::Json],
        outputs: vec![output("events", Form::Event)],
        reads_source: true,
        ..OperatorSpec::new("decode", "decodes events of every encoding into one compact form, keyed by memory", build)
    }
}

fn resolve() -> OperatorSpec {
    let build = |context: &dyn OperatorContext| {
        let MemoryEnvironment { resolver, custom, .. } = context.environment_of()?;
        let options = Arc::new(ResolveOptions {
            settings: resolver.clone(),
            custom: custom.clone(),
            store: context.store()?.name,
            snapshots: context.output("snapshots")?,
            conflicts: context.output("conflicts")?,
            users: context.output("users")?,
        });
        Ok(ProcessorSupplier::new(move || Resolve::new(options.clone())))
    };
    OperatorSpec {
        accepts: vec![Form::Event],
        outputs: vec![
            output("snapshots", Form::Memory),
            output("conflicts", Form::Conflict),
            OutputSpec::optional("users", OutputForm::Always(Form::UserChange)),
        ],
        stores: 1,
        retention: RetentionSupport::Instead("to forget deleted memories, set `tombstone_retention` in `[resolver]`"),
        is_keyed: true,
        stores_memories: true,
        settings: &["resolver"],
        ..OperatorSpec::new("resolve", "applies events to memories", build)
    }
}

fn user_snapshots() -> OperatorSpec {
    let build = |context: &dyn OperatorContext| {
        let MemoryEnvironment { snapshot_interval, snapshot_changes, .. } = context.environment_of()?;
        let options = Arc::new(UserOptions {
            application_id: context.application_id().to_owned(),
            store: context.store()?.name,
            changes: *snapshot_changes,
            snapshots: context.output("snapshots")?,
        });
        let supplier = ProcessorSupplier::new(move || UserSnapshots::new(options.clone()));
        Ok(supplier.punctuated_every(*snapshot_interval))
    };
    OperatorSpec {
        accepts: vec![Form::UserChange],
        outputs: vec![output("snapshots", Form::UserSnapshot)],
        stores: 1,
        is_keyed: true,
        settings: &["snapshots"],
        ..OperatorSpec::new("user_snapshots", "stores the memories of users, and emits users that have changed", build)
    }
}
