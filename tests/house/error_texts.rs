//! Each error that a user can meet has a code at its end: texts of `anyhow!` and `bail!`, of
//! `CommandError::Usage`, and of `#[error("…")]`. What is wrong with a topology file is a
//! `Problem`, whose code the compiler asks for.

use std::collections::BTreeSet;

use super::codes::codes_in;
use super::{Source, is_test_only, none, sources};
use syn::visit::{self, Visit};

/// Types whose `#[error("…")]` has no code, and the reason.
const WITHOUT_CODE: &[(&str, &str)] = &[
    ("ActorError", "part of the text of an error that has a code"),
    ("BinaryError", "part of the text of an error that has a code"),
    ("BuildError", "part of the text of an error that has a code"),
    ("Error", "the engine's: the code is added where an instance or a command ends with it"),
    ("ExtractionFailure", "part of the problem document of an answer, which has a code"),
    ("FileFault", "part of the text of `SecretError`, which has a code"),
    ("InvalidChangeId", "a stream of events answers such an id with a reset: no user meets it"),
    ("InvalidToken", "part of the text of a refusal, to which the caller's interface adds the code"),
    ("JournalError", "publisher and follower act on it; a text that it passes on has a code"),
    ("JsonError", "part of the text of a dead letter, whose headers are a contract, or of an error that has a code"),
    ("LogError", "the mirror acts on it, and its log line has a code"),
    ("OverlayError", "part of the text of an error that has a code"),
    ("QueryError", "the interface that answers the caller, such as HTTP, adds the code"),
    ("ReadError", "part of `QueryError`"),
    ("Refusal", "the interface that answers the caller, such as HTTP, adds the code"),
    ("SimulationFailure", "a test fails with it: it names the seed and the check"),
    ("SinkError", "`stopped` is what a call says that was stopped: no user meets it"),
    ("SnapshotError", "the task ends with it, and the engine adds the code"),
    ("SnapshotFault", "the interface that answers the caller, such as HTTP, adds the code"),
    ("StateError", "the task ends with it, or `state` does; both add the code"),
    ("SyncError", "the interface that answers the caller, such as HTTP, adds the code"),
    ("TimeError", "part of the text of a dead letter, whose headers are a contract, or of an error that has a code"),
    ("UnknownValue", "part of the text of an error or a problem that has a code"),
];

/// The texts without a code, and the types that have one of the exceptions.
#[derive(Default)]
struct Texts {
    path: String,
    missing: Vec<String>,
    excepted: BTreeSet<String>,
}

impl Texts {
    fn of(sources: &[Source]) -> Texts {
        let mut texts = Texts::default();
        for source in sources.iter().filter(|source| !source.is_test) {
            texts.path.clone_from(&source.path);
            texts.visit_file(&source.syntax);
        }
        texts
    }

    /// Notes a text that has no code and does not end with a placeholder, which stands for a code
    /// or for a text that has one.
    fn check(&mut self, text: &str, line: usize) {
        if codes_in(text).next().is_none() && !text.ends_with('}') && !text.ends_with("}]") {
            self.missing.push(format!("{}:{line}: {text}", self.path));
        }
    }

    /// The texts of `#[error("…")]` at an item or at a variant of the type `name`.
    fn check_attributes(&mut self, attributes: &[syn::Attribute], name: &syn::Ident) {
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("error")) {
            let syn::Meta::List(list) = &attribute.meta else { continue };
            let Some(text) = first_text(list.tokens.clone()) else { continue };
            let passes_on = text.split('{').skip(1).map(|part| part.split_once('}').map_or("", |(_, rest)| rest));
            let words = passes_on.chain(text.split('{').next()).any(|part| part.chars().any(char::is_alphanumeric));
            if codes_in(&text).next().is_some() || !words {
                continue;
            }
            if WITHOUT_CODE.iter().any(|(excepted, _)| name == excepted) {
                self.excepted.insert(name.to_string());
            } else {
                let line = name.span().start().line;
                self.missing.push(format!("{}:{line}: {name}: {text}", self.path));
            }
        }
    }
}

/// The literal that the arguments of a macro or an attribute begin with.
fn first_text(tokens: proc_macro2::TokenStream) -> Option<String> {
    let first = tokens.into_iter().next()?;
    syn::parse_str::<syn::LitStr>(&first.to_string()).ok().map(|text| text.value())
}

/// The text of `"…".to_owned()` or `format!("…", …)`; `None` of another expression, whose text
/// comes from elsewhere.
fn text_of(argument: &syn::Expr) -> Option<String> {
    match argument {
        syn::Expr::MethodCall(call) => match &*call.receiver {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        syn::Expr::Macro(called) => first_text(called.mac.tokens.clone()),
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Texts {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test_only(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.check_attributes(&item.attrs, &item.ident);
        item.variants.iter().for_each(|variant| self.check_attributes(&variant.attrs, &item.ident));
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.check_attributes(&item.attrs, &item.ident);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func {
            let names: Vec<String> = function.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let text = call.args.first().and_then(text_of);
            if let ([.., kind, variant], Some(text)) = (&names[..], text)
                && (kind.as_str(), variant.as_str()) == ("CommandError", "Usage")
            {
                let line = function.path.segments.first().map_or(0, |first| first.ident.span().start().line);
                self.check(&text, line);
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let Some(last) = called.path.segments.last() else { return };
        if (last.ident == "anyhow" || last.ident == "bail")
            && let Some(text) = first_text(called.tokens.clone())
        {
            self.check(&text, last.ident.span().start().line);
        }
        visit::visit_macro(self, called);
    }
}

#[test]
fn each_error_that_a_user_can_meet_has_a_code() {
    let texts = Texts::of(&sources(&["src", "crates"]));
    let mut found = texts.missing;
    let unused = WITHOUT_CODE.iter().filter(|(name, _)| !texts.excepted.contains(*name));
    found.extend(unused.map(|(name, _)| format!("{name} is excepted, and has no text without a code")));
    none("an error without a code at its end: `… [HS1001]`, and an entry in docs/operations.md", &found);
}

#[test]
fn texts_without_a_code_are_found() {
    let text = "#[error(\"a {0}\")]\nstruct A(u8);\nenum B {\n#[error(\"b [HS0002]\")] X, #[error(transparent)] Y,\n\
        #[error(\"{0}: {1}\")] Z, #[error(\"{0} is c\")] W }\n#[error(\"d\")] struct FileFault;\n\
        fn f() { anyhow!(\"e\"); bail!(\"e [HS0003]\"); anyhow!(\"e {why}\"); CommandError::Usage(\"g\".to_owned());\n\
        CommandError::Usage(format!(\"{h} i\")); CommandError::Usage(message); CommandError::Usage(\"j [HS0004]\".to_owned()); }\n\
        #[cfg(test)] mod tests { fn t() { anyhow!(\"k\") } }";
    let syntax = syn::parse_file(text).unwrap();
    let source = Source { path: "x".to_owned(), text: text.to_owned(), syntax, is_test: false };
    let texts = Texts::of(&[source]);
    assert_eq!(texts.missing, ["x:2: A: a {0}", "x:3: B: {0} is c", "x:7: e", "x:7: g", "x:8: {h} i"]);
    assert_eq!(texts.excepted, BTreeSet::from(["FileFault".to_owned()]));
}
