//! Kinds of JSON values, and the schemas (JSON Schema 2020-12) that describe them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, AllOfBuilder, AnyOfBuilder, OneOfBuilder, RefBuilder, SchemaType, Type,
};
use utoipa::openapi::{ArrayBuilder, KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat};

/// A kind of JSON values.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Any value.
    Any,
    /// A text.
    Text,
    /// A text that is not empty.
    Name,
    /// A text of one to so many characters.
    NameUpTo(usize),
    /// A text that this regular expression describes.
    Pattern(&'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these words; where it is absent, the first.
    WordsOrFirst(&'static [&'static str]),
    /// A time in RFC 3339.
    Time,
    /// A UUID.
    Uuid,
    /// True or false.
    Boolean,
    /// True or false; where it is absent, false.
    Flag,
    /// True alone.
    True,
    /// False or null: a setting that is not used. The schema lets true pass, since generators of
    /// clients do not read an enumeration of values of two types.
    Unset,
    /// A whole number that is not negative.
    Count,
    /// A whole number from 1 on.
    Ordinal,
    /// A whole number of this range, and the one that stands for an absent one.
    Range { least: usize, most: usize, default: Option<usize> },
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A number from 0 to 1, and the one that stands for an absent one.
    Share { default: Option<f64> },
    /// A list of so many items at least.
    List { items: &'static Shape, least: usize },
    /// A list of one to so many items.
    ListUpTo { items: &'static Shape, most: usize },
    /// An object whose keys are not known, with values of this kind.
    Map(&'static Shape),
    /// An object with these members, in groups, and no others.
    Object(&'static [&'static [Member]]),
    /// An object with these members, in groups, and others.
    OpenObject(&'static [&'static [Member]]),
    /// A value of this kind that has at least one of these members.
    WithOneOf(&'static Shape, &'static [&'static str]),
    /// A value of one of these kinds.
    Either(&'static [Shape]),
    /// A value of this kind, or null.
    Nullable(&'static Shape),
    /// A kind with a name.
    Component(&'static Component),
}

/// A kind of values that has a name in the document.
pub(crate) struct Component {
    /// Its name.
    pub name: &'static str,
    /// Its meaning.
    pub description: &'static str,
    /// Its values.
    pub shape: Shape,
}

/// A member of an object.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub shape: Shape,
    /// Whether it is always there.
    pub is_required: bool,
    /// Its meaning; empty where the name says it all.
    pub description: &'static str,
}

/// A member that is always there.
pub(crate) const fn required(name: &'static str, shape: Shape, description: &'static str) -> Member {
    Member { name, shape, is_required: true, description }
}

/// A member that may be absent.
pub(crate) const fn optional(name: &'static str, shape: Shape, description: &'static str) -> Member {
    Member { name, shape, is_required: false, description }
}

impl Component {
    /// Its schema.
    pub fn schema(&self) -> RefOr<Schema> {
        self.shape.schema(self.description)
    }
}

impl Shape {
    /// The members of an object, of all groups.
    pub fn members(&self) -> impl Iterator<Item = &'static Member> {
        let groups: &'static [&'static [Member]] = match self {
            Shape::Object(groups) | Shape::OpenObject(groups) => groups,
            Shape::Component(component) => match component.shape {
                Shape::Object(groups) | Shape::OpenObject(groups) => groups,
                _ => &[],
            },
            _ => &[],
        };
        groups.iter().flat_map(|group| group.iter())
    }

    /// The numbers of a range; of another kind, all.
    pub fn range(&self) -> RangeInclusive<usize> {
        match self {
            Shape::Range { least, most, .. } => *least..=*most,
            _ => 0..=usize::MAX,
        }
    }

    /// The kinds that it is made of.
    pub fn parts(&self) -> Vec<Shape> {
        match self {
            Shape::List { items, .. } | Shape::ListUpTo { items, .. } => vec![**items],
            Shape::Map(values) => vec![**values],
            Shape::WithOneOf(inner, _) | Shape::Nullable(inner) => vec![**inner],
            Shape::Either(all) => all.to_vec(),
            Shape::Object(groups) | Shape::OpenObject(groups) => {
                groups.iter().flat_map(|group| group.iter()).map(|member| member.shape).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Its schema, with a description that may be empty.
    pub fn schema(&self, description: &str) -> RefOr<Schema> {
        self.build(description, false)
    }

    fn build(&self, description: &str, is_nullable: bool) -> RefOr<Schema> {
        let words = Some(description).filter(|description| !description.is_empty());
        match self {
            Shape::Nullable(inner) => inner.build(description, true),
            Shape::Component(component) => {
                let reference: RefOr<Schema> =
                    RefBuilder::new().ref_location_from_schema_name(component.name).description(words).into();
                if is_nullable { or_null(reference) } else { reference }
            }
            Shape::Either(all) => {
                let all = all.iter().fold(OneOfBuilder::new(), |builder, one| builder.item(one.schema("")));
                all.description(words).into()
            }
            Shape::WithOneOf(inner, names) => {
                let one = names
                    .iter()
                    .fold(AnyOfBuilder::new(), |builder, name| builder.item(ObjectBuilder::new().required(*name)));
                AllOfBuilder::new().item(inner.schema("")).item(one).description(words).into()
            }
            Shape::List { items, least } => {
                let list = ArrayBuilder::new().schema_type(types(Type::Array, is_nullable)).items(items.schema(""));
                list.min_items(Some(*least).filter(|least| *least > 0)).description(words).into()
            }
            Shape::ListUpTo { items, most } => {
                let list = ArrayBuilder::new().schema_type(types(Type::Array, is_nullable)).items(items.schema(""));
                list.min_items(Some(1)).max_items(Some(*most)).description(words).into()
            }
            Shape::Object(_) | Shape::OpenObject(_) => self.object(is_nullable).description(words).into(),
            Shape::Map(values) => {
                let map = ObjectBuilder::new().schema_type(types(Type::Object, is_nullable));
                let map = match values {
                    Shape::Any => map,
                    values => map.additional_properties(Some(AdditionalProperties::from(values.schema("")))),
                };
                map.description(words).into()
            }
            plain => plain.plain(is_nullable).description(words).into(),
        }
    }

    /// The schema of an object.
    fn object(&self, is_nullable: bool) -> ObjectBuilder {
        let mut object = ObjectBuilder::new().schema_type(types(Type::Object, is_nullable));
        let mut names = BTreeSet::new();
        // Of two members with one name the first counts.
        for member in self.members().filter(|member| names.insert(member.name)) {
            object = object.property(member.name, member.shape.schema(member.description));
            if member.is_required {
                object = object.required(member.name);
            }
        }
        match self {
            Shape::Object(_) => object.additional_properties(Some(AdditionalProperties::FreeForm(false))),
            _ => object,
        }
    }

    /// The schema of a text, a number or a boolean.
    fn plain(&self, is_nullable: bool) -> ObjectBuilder {
        let of = |kind: Type| ObjectBuilder::new().schema_type(types(kind, is_nullable));
        let text = || of(Type::String);
        match self {
            Shape::Text => text(),
            Shape::Name => text().min_length(Some(1)),
            Shape::NameUpTo(most) => text().min_length(Some(1)).max_length(Some(*most)),
            Shape::Pattern(pattern) => text().pattern(Some(*pattern)),
            Shape::Words(words) => text().enum_values(Some(words.iter().copied())),
            Shape::WordsOrFirst(words) => {
                let default = words.first().map(|word| Value::from(*word));
                text().enum_values(Some(words.iter().copied())).default(default)
            }
            Shape::Time => text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
            Shape::Uuid => text().format(Some(SchemaFormat::Custom("uuid".to_owned()))),
            Shape::Boolean => of(Type::Boolean),
            Shape::Flag => of(Type::Boolean).default(Some(Value::Bool(false))),
            Shape::True => of(Type::Boolean).enum_values(Some([true])),
            Shape::Unset => ObjectBuilder::new().schema_type(types(Type::Boolean, true)),
            Shape::Count => of(Type::Integer).minimum(Some(0_usize)),
            Shape::Ordinal => of(Type::Integer).minimum(Some(1_usize)),
            Shape::Range { least, most, default } => {
                of(Type::Integer).minimum(Some(*least)).maximum(Some(*most)).default(default.map(Value::from))
            }
            Shape::Integer => of(Type::Integer),
            Shape::Number => of(Type::Number),
            Shape::Share { default } => {
                of(Type::Number).minimum(Some(0_usize)).maximum(Some(1_usize)).default(default.map(Value::from))
            }
            _ => ObjectBuilder::new().schema_type(SchemaType::AnyValue),
        }
    }
}

/// The type of a schema, with null where that is a value, too.
fn types(kind: Type, is_nullable: bool) -> SchemaType {
    if is_nullable { SchemaType::Array(vec![kind, Type::Null]) } else { SchemaType::Type(kind) }
}

fn or_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    let null = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Null));
    OneOfBuilder::new().item(schema).item(null).into()
}
