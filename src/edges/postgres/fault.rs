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
            Fault::Row(reason) | Fault::Locked(reason) | Fault::Foreign(reason) | Fault::Down(reason) => reason,
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
            // Tables are looked for before; a function, a type or an index may still be there.
            Some(sqlx::Error::Database(refusal))
                if ["42P07", "42710", "42723"].contains(&refusal.code().unwrap_or_default().as_ref()) =>
            {
                Fault::Foreign(format!(
                    "{}, and our migrations did not make it: give the mirror a schema of its own with --postgres-schema, \
                     or rename what is there",
                    told(refusal.as_ref())
                ))
            }
            Some(sqlx::Error::Database(refusal)) => {
                Fault::Down(format!("a migration failed: {}", told(refusal.as_ref())))
            }
            _ if matches!(error, MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_)) => {
                Fault::Foreign(format!(
                    "the schema has migrations that are not those of this helixstream ({error}): run the version that made \
                     them or a later one, or give the mirror a schema of its own with --postgres-schema"
                ))
            }
            _ => Fault::Down(format!("a migration failed: {error}")),
        }
    }
}

fn told(refusal: &dyn DatabaseError) -> String {
    let message: String = refusal.message().chars().take(REASON_CHARS).collect();
    format!("{message} (SQLSTATE {})", refusal.code().unwrap_or_default())
}
