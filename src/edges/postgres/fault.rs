//! What an error of Postgres calls for: another try later, or a look at the rows.

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// A row is not to Postgres' liking; the reason.
    Row(String),
    /// A row with that key is there already.
    Duplicate,
    /// Another session holds what we need, longer than we wait for it.
    Locked(String),
    /// Anything else: down, full, read-only, overloaded, misconfigured. Later it may be better.
    Down(String),
}

/// Longest reason, in characters: Postgres quotes what it was given.
const REASON_CHARS: usize = 500;

impl Fault {
    /// The reason, for people.
    pub(super) fn reason(self) -> String {
        match self {
            Fault::Row(reason) | Fault::Locked(reason) | Fault::Down(reason) => reason,
            Fault::Duplicate => "a row of this record is there already".to_owned(),
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Fault {
        let sqlx::Error::Database(refusal) = &error else { return Fault::Down(error.to_string()) };
        let code = refusal.code().unwrap_or_default();
        match code.as_ref() {
            "23505" => Fault::Duplicate,
            "55P03" => Fault::Locked(told(refusal.as_ref())),
            // Bad data, a constraint, a limit of the program, a trigger's exception, and "internal" ones, among them "out of
            // memory for one value". Should one of these be about more than a row, the raw row fails too: then it is `Down`.
            code if ["22", "23", "54", "P0", "XX"].contains(&code.get(..2).unwrap_or_default()) => {
                Fault::Row(told(refusal.as_ref()))
            }
            _ => Fault::Down(told(refusal.as_ref())),
        }
    }
}

impl From<MigrateError> for Fault {
    fn from(error: MigrateError) -> Fault {
        let cause = match &error {
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => Some(cause),
            _ => None,
        };
        match cause {
            Some(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some("42P07") => Fault::Down(format!(
                "{}, and our migrations did not make it: rename it, or give the mirror a database of its own",
                told(refusal.as_ref())
            )),
            Some(sqlx::Error::Database(refusal)) => {
                Fault::Down(format!("a migration failed: {}", told(refusal.as_ref())))
            }
            _ => Fault::Down(format!("a migration failed: {error}")),
        }
    }
}

fn told(refusal: &dyn DatabaseError) -> String {
    let message: String = refusal.message().chars().take(REASON_CHARS).collect();
    format!("{message} (SQLSTATE {})", refusal.code().unwrap_or_default())
}
