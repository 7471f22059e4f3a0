//! Values too large for the row of their register, each in a row of its own.

use super::block::Register;
use super::rows::{Layout, Loader, Row, RowPut};
use super::value::Value;

/// Gives each large value that still lies in its register a row of its own.
pub fn store_large<'a>(
    puts: &mut Vec<RowPut>,
    loader: &Loader<'a>,
    registers: &mut [Register<'a>],
    digest_of: impl Fn(u32) -> u128,
) {
    let layout: &Layout = &loader.layout;
    for register in registers {
        for write in &mut register.writes {
            if let Some((stored, bytes)) = write.value.to_store(layout, register.path, digest_of(write.by)) {
                layout.put_row(puts, loader.memory, Row::Value(stored.id), bytes, 0);
                write.value = Value::Stored(stored);
            }
        }
    }
}
