//! A walk over a value in Avro's binary form (Avro specification, "Binary encoding"), before it is
//! read: it proves that the value is whole, and bounds the memory that reading it takes.
//!
//! apache-avro reads what is cut off as null: a string, a boolean or a union at the end of the
//! bytes. It bounds each allocation, but not their sum, and a few bytes can stand for very many
//! values: an array of nulls, or of records whose fields are null, takes no bytes for its items.

use std::cell::OnceCell;

use apache_avro::Schema;
use apache_avro::schema::{RecordSchema, ResolvedSchema};
use apache_avro::types::Value;

/// Memory that a value needs, and the union around it has another one in a box.
const VALUE_BYTES: usize = size_of::<Value>();
/// Memory that a field of a record or an entry of a map needs beside its value and the text of its
/// name.
const NAME_BYTES: usize = 2 * size_of::<String>();

/// Values that may stand in each other. A named type may be used again inside of others that are
/// used again, so a flat schema can stand for values of any depth, and each level needs some of the
/// thread's stack, here and in apache-avro.
const MAX_DEPTH: usize = 256;

/// Walks over the value of `schema`, a writer's schema without logical types, at the beginning of
/// `body`. Returns what stands behind it.
///
/// # Errors
/// The value is cut off or malformed, its parts stand more than 256 deep in each other, or reading
/// it would take more than `max_bytes` of memory.
pub(super) fn walk<'b>(schema: &Schema, body: &'b [u8], max_bytes: usize) -> Result<&'b [u8], String> {
    let mut walk = Walk { root: schema, names: OnceCell::new(), left: body, depth: 0, budget: max_bytes, max_bytes };
    walk.value(schema)?;
    Ok(walk.left)
}

struct Walk<'s, 'b> {
    root: &'s Schema,
    /// The named types; only a schema that uses one twice needs them.
    names: OnceCell<ResolvedSchema<'s>>,
    left: &'b [u8],
    /// How many values stand around the one at hand.
    depth: usize,
    /// How much memory the rest may take.
    budget: usize,
    max_bytes: usize,
}

impl<'s> Walk<'s, '_> {
    fn value(&mut self, schema: &'s Schema) -> Result<(), String> {
        if self.depth >= MAX_DEPTH {
            return Err(format!("its values stand more than {MAX_DEPTH} deep in each other"));
        }
        self.depth += 1;
        self.value_at_depth(schema)?;
        self.depth -= 1;
        Ok(())
    }

    fn value_at_depth(&mut self, schema: &'s Schema) -> Result<(), String> {
        self.spend(VALUE_BYTES)?;
        match schema {
            Schema::Null => Ok(()),
            Schema::Boolean => self.skip(1),
            Schema::Int | Schema::Long | Schema::Enum(_) => self.long().map(drop),
            Schema::Float => self.skip(4),
            Schema::Double => self.skip(8),
            Schema::Bytes | Schema::String => self.text(),
            Schema::Fixed(fixed) => {
                self.spend(fixed.size)?;
                self.skip(fixed.size)
            }
            Schema::Array(array) => self.blocks(|walk| walk.value(&array.items)),
            Schema::Map(map) => self.blocks(|walk| {
                walk.spend(NAME_BYTES)?;
                walk.text()?;
                walk.value(&map.types)
            }),
            Schema::Union(union) => {
                let index = self.long()?;
                let branch = usize::try_from(index).ok().and_then(|index| union.variants().get(index));
                self.value(branch.ok_or_else(|| format!("a union has no branch {index}"))?)
            }
            Schema::Record(record) => self.record(record),
            Schema::Ref { name } => {
                let found = self.names()?.get_names().get(name).copied();
                self.value_at_depth(found.ok_or_else(|| format!("the type {name} is not defined"))?)
            }
            other => Err(format!("a type that no reduced schema has: {other:?}")),
        }
    }

    fn names(&self) -> Result<&ResolvedSchema<'s>, String> {
        if let Some(names) = self.names.get() {
            return Ok(names);
        }
        let names = ResolvedSchema::try_from(self.root).map_err(|e| e.to_string())?;
        Ok(self.names.get_or_init(|| names))
    }

    fn record(&mut self, record: &'s RecordSchema) -> Result<(), String> {
        for field in &record.fields {
            self.spend(NAME_BYTES + field.name.len())?;
            self.value(&field.schema)?;
        }
        Ok(())
    }

    /// The blocks of an array or a map.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The size of the block in bytes, which only a reader that skips it needs.
                self.long()?;
                count = count.checked_neg().ok_or("a block has too many items")?;
            }
            // Each item spends some of the budget, so this ends, whatever the count says.
            for _ in 0..count {
                item(self)?;
            }
        }
    }

    fn text(&mut self) -> Result<(), String> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| format!("a length is {length}"))?;
        self.skip(length)?;
        self.spend(length)
    }

    /// A whole number: seven bits a byte, the low ones first, then zigzag.
    fn long(&mut self) -> Result<i64, String> {
        let mut bits = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some((byte, left)) = self.left.split_first() else { return Err(cut_off()) };
            self.left = left;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        Err("a number has more than ten bytes".to_owned())
    }

    fn skip(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self.left.get(bytes..).ok_or_else(cut_off)?;
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.budget.checked_sub(bytes);
        self.budget =
            left.ok_or_else(|| format!("reading it would take more than {} MiB of memory", self.max_bytes >> 20))?;
        Ok(())
    }
}

fn cut_off() -> String {
    "it is cut off".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: &str, body: &[u8]) -> Result<usize, String> {
        let schema = Schema::parse_str(schema).unwrap();
        walk(&schema, body, 1 << 20).map(<[u8]>::len)
    }

    #[test]
    fn each_type_is_walked_over_and_nothing_behind_it() {
        for (schema, body) in [
            (r#""null""#, &b""[..]),
            (r#""boolean""#, b"\x01"),
            (r#""long""#, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            (r#""float""#, b"1234"),
            (r#""double""#, b"12345678"),
            (r#""string""#, b"\x06abc"),
            (r#"{"type":"fixed","name":"F","size":3}"#, b"abc"),
            (r#"{"type":"enum","name":"E","symbols":["A"]}"#, b"\x00"),
            (r#"["null","string"]"#, b"\x02\x02a"),
            (r#"{"type":"array","items":"long"}"#, b"\x04\x02\x02\x03\x04\x02\x02\x00"),
            (r#"{"type":"map","values":"long"}"#, b"\x02\x02k\x02\x00"),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"fixed","name":"F","size":1}},
                    {"name":"b","type":"F"}]}"#,
                b"ab",
            ),
        ] {
            assert_eq!(of(schema, body), Ok(0), "{schema}");
            assert_eq!(of(schema, &[body, b"more"].concat()), Ok(4), "{schema}");
            for end in 0..body.len() {
                assert_eq!(of(schema, &body[..end]), Err(cut_off()), "{schema} of {end} bytes");
            }
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (schema, body, part) in [
            (r#"["null","string"]"#, &b"\x04"[..], "no branch 2"),
            (r#"["null","string"]"#, b"\x01", "no branch -1"),
            (r#""string""#, b"\x01", "a length is -1"),
            (r#""long""#, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "more than ten bytes"),
            (r#"{"type":"array","items":"null"}"#, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "too many items"),
        ] {
            let error = of(schema, body).unwrap_err();
            assert!(error.contains(part), "{schema}: {error}");
        }
    }

    #[test]
    fn values_that_stand_too_deep_in_each_other_are_refused() {
        // Each record uses the one before it by its name, so the text of the schema is flat.
        let nested = |levels: usize| {
            let record = |n: usize| {
                let inner = if n == 0 { "null".to_owned() } else { format!("C{}", n - 1) };
                let fields = format!(r#"[{{"name":"a","type":"{inner}"}}]"#);
                format!(r#"{{"name":"f{n}","type":{{"type":"record","name":"C{n}","fields":{fields}}}}}"#)
            };
            let fields: Vec<String> = (0..levels).map(record).collect();
            format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","))
        };
        let of = |levels: usize| {
            let schema = Schema::parse_str(&nested(levels)).unwrap();
            walk(&schema, b"", 64 << 20).map(<[u8]>::len)
        };
        // Around the null at the bottom stand the outermost record and all levels.
        assert_eq!(of(MAX_DEPTH - 2), Ok(0));
        let error = of(MAX_DEPTH - 1).unwrap_err();
        assert!(error.contains("more than 256 deep"), "{error}");
    }

    #[test]
    fn few_bytes_that_stand_for_many_values_are_refused() {
        let nulls = r#"{"type":"array","items":"null"}"#;
        assert_eq!(of(nulls, b"\x14\x00"), Ok(0), "ten of them");
        let fields: Vec<String> = (0..1000).map(|n| format!(r#"{{"name":"f{n}","type":"null"}}"#)).collect();
        let record = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","));
        for (schema, body) in [
            (nulls.to_owned(), &b"\xfe\xff\xff\xff\x0f\x00"[..]),
            (format!(r#"{{"type":"array","items":{record}}}"#), b"\xc8\x01\x00"),
        ] {
            let error = of(&schema, body).unwrap_err();
            assert!(error.contains("more than 1 MiB of memory"), "{error}");
        }
    }
}
