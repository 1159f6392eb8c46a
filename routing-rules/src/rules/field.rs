//! The fields that conditions can ask for, and what may be asked of each.

use crate::pack::Name;
use crate::pack::people_read::PRIORITIES;

/// What kind of value a field has, which decides the operators that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Text,
    /// Text that may hold a number, so that it also has an order.
    Free,
    /// Several texts.
    Many,
    Flag,
    Number,
    /// Milliseconds, written with units.
    Duration,
    Words(&'static [&'static str]),
    Hours,
    Weekday,
    Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Channel,
    Kind,
    Visibility,
    Text,
    Subject,
    Content,
    From,
    To,
    Authenticated,
    Language,
    HasAttachment,
    Automatic,
    Choice,
    Meta(String),
    State,
    Queue,
    Priority,
    Tags,
    Attribute(String),
    Age,
    Messages,
    Silence,
    New,
    ContactIdentities,
    ContactTags,
    ContactAttribute(String),
    ContactConsent,
    ContactOpen,
    ContactAgent,
    Hours,
    Weekday,
    Time,
}

pub(crate) const STATES: &[&str] = &["queued", "offered", "assigned", "pending", "snoozed", "closed"];

/// Every field with a fixed name. The order is that of the documentation.
pub(crate) const FIELDS: [(&str, Field, Class); 29] = [
    ("channel", Field::Channel, Class::Text),
    ("kind", Field::Kind, Class::Text),
    ("visibility", Field::Visibility, Class::Words(&["private", "public"])),
    ("text", Field::Text, Class::Text),
    ("subject", Field::Subject, Class::Text),
    ("content", Field::Content, Class::Text),
    ("from", Field::From, Class::Text),
    ("to", Field::To, Class::Text),
    ("authenticated", Field::Authenticated, Class::Flag),
    ("language", Field::Language, Class::Text),
    ("has_attachment", Field::HasAttachment, Class::Flag),
    ("automatic", Field::Automatic, Class::Flag),
    ("choice", Field::Choice, Class::Text),
    ("state", Field::State, Class::Words(STATES)),
    ("queue", Field::Queue, Class::Text),
    ("priority", Field::Priority, Class::Words(PRIORITIES)),
    ("tags", Field::Tags, Class::Many),
    ("age", Field::Age, Class::Duration),
    ("messages", Field::Messages, Class::Number),
    ("silence", Field::Silence, Class::Duration),
    ("new", Field::New, Class::Flag),
    ("contact.identities", Field::ContactIdentities, Class::Many),
    ("contact.tags", Field::ContactTags, Class::Many),
    ("contact.consent", Field::ContactConsent, Class::Words(&["opted_in", "opted_out"])),
    ("contact.open", Field::ContactOpen, Class::Number),
    ("contact.agent", Field::ContactAgent, Class::Text),
    ("hours", Field::Hours, Class::Hours),
    ("weekday", Field::Weekday, Class::Weekday),
    ("time", Field::Time, Class::Time),
];

/// Names of fields that end in a name of the operator's or the adapter's own.
pub(crate) const OPEN_FIELDS: [&str; 3] = ["meta.", "attributes.", "contact.attributes."];

impl Field {
    /// The field of a dotted name.
    pub(crate) fn parse(name: &str) -> Option<Field> {
        let own = |prefix: &str| name.strip_prefix(prefix).filter(|n| is_key(n)).map(Name::from);
        if let Some((_, field, _)) = FIELDS.iter().find(|(n, ..)| *n == name) {
            return Some(field.clone());
        }
        own("meta.")
            .map(Field::Meta)
            .or_else(|| own("attributes.").map(Field::Attribute))
            .or_else(|| own("contact.attributes.").map(Field::ContactAttribute))
    }

    pub(crate) fn class(&self) -> Class {
        FIELDS.iter().find(|(_, f, _)| f == self).map_or(Class::Free, |(.., c)| *c)
    }

    /// The place of a fixed name in [`FIELDS`]; beyond its end for a name of the operator's own.
    pub(crate) fn place(&self) -> usize {
        FIELDS.iter().position(|(_, f, _)| f == self).unwrap_or(FIELDS.len())
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Field::Meta(n) => format!("meta.{n}"),
            Field::Attribute(n) => format!("attributes.{n}"),
            Field::ContactAttribute(n) => format!("contact.attributes.{n}"),
            f => FIELDS.iter().find(|(_, x, _)| x == f).map(|(n, ..)| (*n).to_owned()).unwrap_or_default(),
        }
    }
}

/// The name of an attribute or of an adapter's fact.
pub(crate) fn is_key(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}
