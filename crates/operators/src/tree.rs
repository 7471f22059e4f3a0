//! A JSON value of which single fields are kept, dropped and set, without looking into the others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use json::{Value, ValueKind, write_string};

/// A value: whole, or opened where a path goes through it. Members are sorted, as canonical JSON
/// has them.
#[derive(Clone, Debug)]
pub(super) enum Tree<'v> {
    /// Canonical JSON, not looked into.
    Made(Cow<'v, [u8]>),
    /// A part of the record, not looked into.
    Whole(Value<'v>),
    /// An object.
    Object(BTreeMap<Cow<'v, str>, Tree<'v>>),
}

/// A path through what is no object, by its length up to there.
pub(super) struct NoObject(pub usize);

impl<'v> Tree<'v> {
    /// Opens an object; `None` where it is none.
    fn open(&mut self) -> Option<&mut BTreeMap<Cow<'v, str>, Tree<'v>>> {
        if let Tree::Whole(value) = self {
            if value.kind() != ValueKind::Object {
                return None;
            }
            let members = value.members().map(|(key, member)| (Cow::Borrowed(key), Tree::Whole(member)));
            *self = Tree::Object(members.collect());
        }
        match self {
            Tree::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Takes the value at a path out.
    pub fn remove(&mut self, path: &[&str]) -> Option<Tree<'v>> {
        match path {
            [] => None,
            [last] => self.open()?.remove(*last),
            [first, rest @ ..] => self.open()?.get_mut(*first)?.remove(rest),
        }
    }

    /// Puts a value at a path; objects on the way are made where nothing is.
    pub fn put(&mut self, path: &[&'v str], value: Tree<'v>) -> Result<(), NoObject> {
        self.put_at(path, 0, value)
    }

    fn put_at(&mut self, path: &[&'v str], at: usize, value: Tree<'v>) -> Result<(), NoObject> {
        let Some(name) = path.get(at) else {
            *self = value;
            return Ok(());
        };
        let members = self.open().ok_or(NoObject(at))?;
        let empty = || Tree::Object(BTreeMap::new());
        members.entry(Cow::Borrowed(*name)).or_insert_with(empty).put_at(path, at + 1, value)
    }

    /// Appends it as canonical JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Tree::Made(json) => out.extend_from_slice(json),
            Tree::Whole(value) => value.write_canonical(out),
            Tree::Object(members) => {
                out.push(b'{');
                for (at, (key, member)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_string(out, key);
                    out.push(b':');
                    member.write(out);
                }
                out.push(b'}');
            }
        }
    }
}
