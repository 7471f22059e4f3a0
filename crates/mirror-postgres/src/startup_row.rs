//! The row that a writer leaves when it starts, in place of the one of its key.

use sqlx::postgres::Postgres;
use sqlx::{AssertSqlSafe, Executor, Transaction};

use mirror::ports::{Cells, StartupRow};

use super::copy::{CellWriter, cell_count};
use super::fault::Fault;
use super::rows::copy_in;

/// Writes the row. Who starts at the same time waits: a table of notices is small, and readers are
/// not held up.
pub(super) async fn write_startup_row(
    startup_row: &dyn StartupRow,
    mut open: Transaction<'_, Postgres>,
) -> Result<(), Fault> {
    let (table, (column, key)) = (startup_row.table(), startup_row.key());
    open.execute(AssertSqlSafe(format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))).await?;
    let replaced = AssertSqlSafe(format!("DELETE FROM {table} WHERE {column} = $1"));
    sqlx::query(replaced).bind(key).persistent(false).execute(&mut *open).await?;
    let columns = [&[column], startup_row.columns()].concat();
    let mut row = cell_count(columns.len()).to_vec();
    let mut cells = CellWriter::new(&mut row);
    cells.text(key);
    startup_row.cells(&mut cells);
    copy_in(&mut open, table, &columns.join(", "), &row).await?;
    open.commit().await?;
    Ok(())
}
