//! Names, file names and phrases of logs and errors that the field's terms have replaced, and that
//! must not come back. English in comments is free: only identifiers, paths of files and string
//! literals count.

use super::{files, none, sources};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeMap;

/// Where the names of the field are kept to.
const FOLDERS: &[&str] = &["src", "crates", "examples", "benches"];

/// Identifiers that are gone, and the term in their place.
const IDENTIFIERS: &[(&str, &str)] = &[
    ("Taking", "PendingRestoration"),
    ("start_taking", "start_restoration"),
    ("retry_taking", "retry_restoration"),
    ("take_all_again", "restore_all_again"),
    ("within_the_log", "move_into_log"),
    ("is_found_again", "is_confirmed"),
    ("is_untold", "has_empty_metadata"),
    ("Slot", "AssignedTask, InstanceDir, PackedRecord or ConnectionPermit"),
    ("SlotError", "StateDirError"),
    ("Stuck", "BlockedTask"),
    ("Outbox", "RecordCollector"),
    ("Owners", "TaskLocks"),
    ("Ownership", "TaskLock"),
    ("stand_by", "try_lock_standby"),
    ("is_wanted", "is_requested"),
    ("is_standby_wanted", "is_standby_requested"),
    ("stood_by", "add_standby_records"),
    ("Warm", "StandbyTask"),
    ("is_told", "is_reported"),
    ("look_around", "check_membership_and_transactions"),
    ("look_for_hidden", "find_hanging_transactions"),
    ("remedied", "recover"),
    ("wait_out", "tolerate_failed_poll"),
    ("lose_producer", "recover_producer"),
    ("send_smaller", "resend_in_smaller_batches"),
    ("tell_unmade", "log_creation_failure"),
    ("unmade_told", "creation_failure_logged"),
    ("Cut", "Checkpoint"),
    ("StoreCut", "StoreCheckpoint"),
    ("greatest_metadata", "max_metadata_bytes"),
    ("make_room", "shrink_cache"),
    ("has_work", "has_background_work"),
    ("begin_work", "begin_background_step"),
    ("bury", "send_dead_letter"),
    ("buries_source", "dead_letter_is_source"),
    ("Taker", "OutputTarget"),
    ("Takers", "Outputs"),
    ("takers", "outputs"),
    ("give_one", "emit_to"),
    ("Gives", "OutputForm"),
    ("Told", "OperatorParams, or CommitContext"),
    ("CommitOrigin", "CommitContext"),
    ("Findings", "UnconfirmedLosses"),
    ("Standing", "SchemaState"),
    ("tell_users", "emit_user_changes"),
    ("tell_repeated_lines", "log_repeated_lines"),
    ("tell_of_no_purge", "log_unsupported_purge"),
    ("give_password", "replace_password"),
    ("ask_coordinator", "request_from_coordinator"),
    ("take_step", "run_step"),
    ("note_ends", "advance_to_ends"),
    ("Said", "ParamText"),
    ("Chore", "MaintenanceTask"),
    ("chores", "maintenance"),
    ("tend", "run_maintenance"),
    ("upkeep", "maintenance"),
    ("Notice", "StartupRow"),
    ("Keeps", "RowPolicy"),
    ("arise", "detect"),
    ("OutputCollector", "RecordCollector"),
    ("ChangelogReader", "RestoreConsumer"),
    ("first_pause", "first_backoff"),
    ("longest_pause", "longest_backoff"),
    ("FIRST_REST", "FIRST_RECORD_BACKOFF"),
    ("LONGEST_REST", "LONGEST_RECORD_BACKOFF"),
    ("SOURCE_PAUSE", "LONGEST_POLL_BACKOFF"),
    ("UnconfirmedFindings", "UnconfirmedLosses"),
    ("Finding", "LogLoss"),
    ("set_consumption", "set_fetch_state"),
    ("ConsumptionState", "FetchState"),
];

/// Ends of paths that are gone, and the name in their place.
const FILES: &[(&str, &str)] = &[
    ("runtime/take.rs", "restoration.rs"),
    ("runtime/restore.rs", "changelog_reader.rs"),
    ("runtime/gone.rs", "offset_out_of_range.rs"),
    ("runtime/slot.rs", "assigned_task.rs"),
    ("runtime/outbox.rs", "record_collector.rs"),
    ("runtime/owners.rs", "task_locks.rs"),
    ("runtime/placement.rs", "standby_assignment.rs"),
    ("runtime/hidden.rs", "hanging_transaction.rs"),
    ("runtime/remedy.rs", "recovery.rs"),
    ("store/cut.rs", "checkpoint.rs"),
    ("/takers.rs", "outputs.rs"),
    ("/slots.rs", "state_dir.rs"),
    ("/look.rs", "source_topics.rs, or tables.rs"),
    ("/upkeep.rs", "maintenance.rs"),
    ("mirror/shown.rs", "test_cells.rs"),
    ("/notice.rs", "startup_row.rs"),
    ("scripts/look", "show-results"),
    ("app/stop.rs", "command_error.rs"),
    ("app/pages.rs", "metrics_page.rs"),
    ("app/status.rs", "live_line.rs"),
    ("app/guard.rs", "state_guard.rs"),
    ("app/topologies.rs", "topology_command.rs"),
    ("app/topology.rs", "topology_from_file.rs"),
    ("app/topology_builder.rs", "topology_from_file.rs"),
    ("/ask.rs", "request.rs, admin_request.rs or query.rs"),
    ("/pump.rs", "main_loop.rs"),
    ("streams-kafka/src/restore.rs", "restore_consumer.rs"),
    ("runtime/findings.rs", "log_loss.rs"),
    ("runtime/consumption.rs", "fetch_state.rs"),
    ("runtime/agreement.rs", "topology_agreement.rs"),
    ("runtime/setup.rs", "internal_topics.rs"),
];

/// Phrases of logs, errors, help texts and descriptions of keys that are gone: a reader would not
/// search for them.
const PHRASES: &[&str] = &[
    "not taken yet, tried again",
    "is told by no key of its own",
    "tells the operator nothing",
    "is told by",
    "stood by for",
    "the how-manieth",
    "processing again: ",
    "is made anew: ",
    "has tended its rows",
    "does not answer to our leaving",
    "could not be looked at",
    "what is processed is committed first",
    "what is read is written first",
    "state folder",
    "folder of the state",
    "folder of the standby task",
];

/// Names of types that had several meanings. Each has one definition in the whole workspace, or
/// none; any other type name has one in its crate.
const ONE_MEANING: &[&str] =
    &["Header", "Kind", "Status", "Settings", "Writer", "Write", "Slot", "Plan", "Reading", "Given"];

/// The question words by which no text begins: the noun of the thing stands there.
const QUESTION_WORDS: &[&str] = &["What ", "Who ", "Whom ", "Whose "];

/// Headings of the entries of docs/operations.md, which `helixstream explain` prints.
const HEADINGS: &[&str] = &["What happened", "What to do"];

#[test]
fn identifiers_that_are_gone_do_not_come_back() {
    let mut found = Vec::new();
    for source in sources(FOLDERS) {
        visit(tokens(&source.text), &mut |token| {
            let TokenTree::Ident(ident) = token else { return };
            if let Some((name, term)) = IDENTIFIERS.iter().find(|(name, _)| ident == name) {
                let line = ident.span().start().line;
                found.push(format!("{}:{line}: {name} is called {term}", source.path));
            }
        });
    }
    none("the field has a term for it", &found);
}

#[test]
fn file_names_that_are_gone_do_not_come_back() {
    let paths = files(&["src", "crates", "scripts"]);
    let gone = |path: &String| {
        let (_, name) = FILES.iter().find(|(end, _)| path.ends_with(end))?;
        Some(format!("{path}: it is called {name}"))
    };
    none("the field has a term for it", &paths.iter().filter_map(gone).collect::<Vec<_>>());
}

#[test]
fn phrases_that_are_gone_do_not_come_back() {
    let mut found = Vec::new();
    for source in sources(FOLDERS) {
        visit(tokens(&source.text), &mut |token| {
            let TokenTree::Literal(literal) = token else { return };
            let text = literal.to_string();
            if let Some(phrase) = PHRASES.iter().find(|phrase| text.contains(**phrase)) {
                found.push(format!("{}:{}: {phrase}", source.path, literal.span().start().line));
            }
        });
    }
    none("a log line or an error says it in words that one would search for", &found);
}

#[test]
fn a_type_name_has_one_meaning() {
    let mut defined: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for source in sources(FOLDERS).into_iter().filter(|source| !source.is_test) {
        for name in types(&source.syntax) {
            defined.entry((member(&source.path), name)).or_default().push(source.path.clone());
        }
    }
    let mut found = Vec::new();
    for ((_, name), paths) in defined {
        // An alias for the errors of a module is what `std::io::Result` is.
        if paths.len() > 1 && name != "Result" {
            found.push(format!("{name}: {}", paths.join(", ")));
        }
    }
    for name in ONE_MEANING {
        let everywhere = sources(FOLDERS).into_iter().filter(|source| !source.is_test);
        let paths: Vec<String> =
            everywhere.filter(|source| types(&source.syntax).iter().any(|t| t == name)).map(|s| s.path).collect();
        if paths.len() > 1 {
            found.push(format!("{name}: {}", paths.join(", ")));
        }
    }
    none("a type is named with the full noun of what it is, once in its crate", &found);
}

/// The member of the workspace that a file belongs to; the root package's folders are members here.
fn member(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let depth = if parts[0] == "crates" { 2 } else { 1 };
    parts[..depth].join("/")
}

/// The types that the outermost items of a file define.
fn types(file: &syn::File) -> Vec<String> {
    let name = |item: &syn::Item| match item {
        syn::Item::Struct(item) => Some(item.ident.to_string()),
        syn::Item::Enum(item) => Some(item.ident.to_string()),
        syn::Item::Trait(item) => Some(item.ident.to_string()),
        syn::Item::Type(item) => Some(item.ident.to_string()),
        _ => None,
    };
    file.items.iter().filter_map(name).collect()
}

#[test]
fn texts_begin_with_no_question_word() {
    let mut found = Vec::new();
    for source in sources(FOLDERS).into_iter().filter(|source| !source.is_test && !source.path.contains("/tests/")) {
        visit(tokens(&source.text), &mut |token| {
            let TokenTree::Literal(literal) = token else { return };
            let text = literal.to_string();
            let is_question = text.strip_prefix('"').is_some_and(begins_with_question);
            if is_question && !HEADINGS.iter().any(|heading| text.contains(heading)) {
                found.push(format!("{}:{}: {text}", source.path, literal.span().start().line));
            }
        });
        let docs = question_docs(&source.text).into_iter();
        found.extend(docs.map(|(line, text)| format!("{}:{line}: {text}", source.path)));
    }
    none("a description or a help text begins with the noun of the thing", &found);
}

fn begins_with_question(text: &str) -> bool {
    QUESTION_WORDS.iter().any(|word| text.starts_with(word)) && !text.trim_end().ends_with('?')
}

/// The doc comments whose paragraphs begin with a question word.
fn question_docs(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut begins = true;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some(text) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            begins = true;
            continue;
        };
        let text = text.trim();
        if begins && begins_with_question(text) {
            found.push((index + 1, text));
        }
        begins = text.is_empty();
    }
    found
}

#[test]
fn question_words_are_found_at_the_beginning_of_a_paragraph_alone() {
    let text = "/// What it takes.\n/// Who reads this knows\nfn f() {}\n//! A node.\n//!\n//! Whom it calls.\n// What is no doc.\n";
    assert_eq!(question_docs(text), [(1, "What it takes."), (6, "Whom it calls.")]);
    assert!(begins_with_question("What is missing") && !begins_with_question("What is missing?"));
    let file = syn::parse_file("pub enum Kind { A }\nmod inner { struct Node; }").unwrap();
    assert_eq!(types(&file), ["Kind"]);
    assert_eq!(member("crates/json/src/lib.rs"), "crates/json");
    assert_eq!(member("src/app/mod.rs"), "src");
}

#[test]
fn names_and_phrases_are_found_and_comments_are_free() {
    let seen = |text: &str| {
        let mut seen = Vec::new();
        visit(tokens(text), &mut |token| match token {
            TokenTree::Ident(_) | TokenTree::Literal(_) => seen.push(token.to_string()),
            _ => {}
        });
        seen
    };
    let text = "/// An Outbox.\n#[doc = \"an Outbox\"]\nfn f() {\n// Outbox\ninfo!(\"stood by for\", outbox);\n}";
    assert_eq!(seen(text), ["fn", "f", "info", "\"stood by for\"", "outbox"]);
}

fn tokens(text: &str) -> TokenStream {
    text.parse().unwrap()
}

/// Calls `look_at` with each token but those of comments, which are attributes `doc` here.
fn visit(tokens: TokenStream, look_at: &mut dyn FnMut(&TokenTree)) {
    for token in tokens {
        match &token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket && is_doc(group.stream()) => {}
            TokenTree::Group(group) => visit(group.stream(), look_at),
            _ => look_at(&token),
        }
    }
}

fn is_doc(tokens: TokenStream) -> bool {
    matches!(tokens.into_iter().next(), Some(TokenTree::Ident(ident)) if ident == "doc")
}
