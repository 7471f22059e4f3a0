//! Errors of Postgres by their remedy: another attempt later, or another form of the rows.

use sqlx::error::DatabaseError;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// A row is not to Postgres' liking; the reason.
    Row(String),
    /// A row with that key is there already: one of ours, or in an index that somebody has added.
    /// The reason names the index.
    Duplicate(String),
    /// Another session holds what we need, longer than we wait for it.
    Locked(String),
    /// Tables are in our way that are not ours.
    Foreign(String),
    /// Anything else: down, full, read-only, overloaded, misconfigured. Later it may be better.
    Down(String),
}

/// Longest reason, in characters: Postgres quotes what it was given.
const REASON_CHARS: usize = 500;

impl Fault {
    /// The reason, for people.
    pub(super) fn reason(self) -> String {
        match self {
            Fault::Row(reason)
            | Fault::Duplicate(reason)
            | Fault::Locked(reason)
            | Fault::Foreign(reason)
            | Fault::Down(reason) => reason,
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Fault {
        let sqlx::Error::Database(refusal) = &error else { return Fault::Down(format!("{error} [HS4514]")) };
        let code = refusal.code().unwrap_or_default();
        match code.as_ref() {
            "23505" => Fault::Duplicate(describe_refusal(refusal.as_ref())),
            "55P03" => Fault::Locked(describe_refusal(refusal.as_ref())),
            // Bad data, a constraint, a limit of the program, a trigger's exception, and "internal"
            // ones, among them "out of memory for one value". Should one of these be about more
            // than a row, the raw row fails too: then it is `Down`.
            code if ["22", "23", "54", "P0", "XX"].contains(&code.get(..2).unwrap_or_default()) => {
                Fault::Row(describe_refusal(refusal.as_ref()))
            }
            code => {
                let class = code_of(code);
                Fault::Down(format!("{} [{class}]", describe_refusal(refusal.as_ref())))
            }
        }
    }
}

/// The fault that stands for an error of a migration.
pub(super) fn of_migration(error: sqlx::Error) -> Fault {
    let sqlx::Error::Database(refusal) = &error else {
        return Fault::Down(format!("a migration failed: {error} [HS4509]"));
    };
    // Tables are looked for before; a function, a type or an index may still be there.
    if ["42P07", "42710", "42723"].contains(&refusal.code().unwrap_or_default().as_ref()) {
        return Fault::Foreign(format!(
            "{}, and our migrations did not make it: choose a schema of its own for the mirror with --postgres-schema, \
             or rename what is there [HS4503]",
            describe_refusal(refusal.as_ref())
        ));
    }
    Fault::Down(format!("a migration failed: {} [HS4509]", describe_refusal(refusal.as_ref())))
}

/// The code of our own for a refusal with this SQLSTATE.
fn code_of(sqlstate: &str) -> &'static str {
    match sqlstate {
        "42501" => "HS4512",
        "28P01" | "28000" => "HS4507",
        "42P05" | "26000" => "HS4513",
        _ => "HS4511",
    }
}

/// Message of Postgres, cut to a length, with its code, and the remedy where it is known.
fn describe_refusal(refusal: &dyn DatabaseError) -> String {
    let message: String = refusal.message().chars().take(REASON_CHARS).collect();
    let code = refusal.code().unwrap_or_default();
    let remedy = match code.as_ref() {
        "42501" => "; docs/postgres.md lists the GRANTs that the mirror's role needs",
        "28P01" | "28000" => "; docs/postgres.md says where user and password are read from",
        "42P05" | "26000" => {
            "; a pooler between us and Postgres mixes up sessions: docs/postgres.md says which are supported"
        }
        _ => "",
    };
    format!("{message} (SQLSTATE {code}){remedy}")
}
