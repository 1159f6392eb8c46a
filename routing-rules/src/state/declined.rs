//! Who let a conversation go lately, and is not asked for it again at once.

use serde::{Deserialize, Serialize};
use switchboard_envelope::Timestamp;

/// When an agent let a conversation go, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenDeclined", into = "WrittenDeclined")]
pub struct Declined {
    pub at: Timestamp,
    pub how: LetGo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetGo {
    Declined,
    /// An offer ran out.
    Lapsed,
    /// They had it until somebody moved it.
    GaveAway,
}

/// In milliseconds, as a snapshot has its times; a time alone is of somebody who declined.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenDeclined {
    At(i64),
    How(i64, LetGo),
}

impl From<WrittenDeclined> for Declined {
    fn from(written: WrittenDeclined) -> Declined {
        match written {
            WrittenDeclined::At(at) => Declined { at: Timestamp(at), how: LetGo::Declined },
            WrittenDeclined::How(at, how) => Declined { at: Timestamp(at), how },
        }
    }
}

impl From<Declined> for WrittenDeclined {
    fn from(declined: Declined) -> WrittenDeclined {
        match declined.how {
            LetGo::Declined => WrittenDeclined::At(declined.at.0),
            how => WrittenDeclined::How(declined.at.0, how),
        }
    }
}

/// Written as a map, also when there is none.
pub(super) mod map {
    use super::Declined;
    use crate::pack::Name;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    type Declines = Option<Box<BTreeMap<Name, Declined>>>;

    pub fn serialize<S: Serializer>(declined: &Declines, to: S) -> Result<S::Ok, S::Error> {
        match declined {
            Some(all) => all.serialize(to),
            None => BTreeMap::<Name, Declined>::new().serialize(to),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Declines, D::Error> {
        Ok(Some(Box::<BTreeMap<Name, Declined>>::deserialize(from)?).filter(|all| !all.is_empty()))
    }
}
