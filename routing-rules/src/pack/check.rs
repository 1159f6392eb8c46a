//! What a pack's test expects, compared with what happened.

use super::{ConvStatus, Name, Priority};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Display, Formatter};

/// What a test names must be exactly so; what it leaves out may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// `Some(None)` is written '' and means: in no queue.
    pub queue: Option<Option<Name>>,
    /// `Some(None)` is written '' and means: no agent has it.
    pub agent: Option<Option<Name>>,
    pub priority: Option<Priority>,
    pub tags: Option<BTreeSet<String>>,
    /// Attributes of the conversation; those of the contact are written `contact.<name>`, and only the named ones count.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Ids of the replies sent, in order.
    pub replies: Option<Vec<Name>>,
    pub state: Option<ConvStatus>,
    /// `opted_in` or `opted_out`.
    pub consent: Option<String>,
    /// Names of the rules that hit, in order.
    pub rules: Option<Vec<String>>,
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    pub queue: Option<Name>,
    pub agent: Option<Name>,
    pub priority: Priority,
    pub tags: BTreeSet<String>,
    pub attributes: BTreeMap<String, String>,
    pub contact_attributes: BTreeMap<String, String>,
    pub replies: Vec<Name>,
    pub state: Option<ConvStatus>,
    pub consent: Option<String>,
    pub rules: Vec<String>,
}

/// `queue billing, agent ann, state assigned, priority high, tags refund, …`: what there is of it.
impl Display for Actual {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let or_none = |o: &Option<Name>| o.clone().unwrap_or_else(|| "none".into());
        write!(f, "queue {}", or_none(&self.queue))?;
        if let Some(agent) = &self.agent {
            write!(f, ", agent {agent}")?;
        }
        if let Some(state) = self.state {
            write!(f, ", state {}", state.as_str())?;
        }
        write!(f, ", priority {}", self.priority.as_str())?;
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        let own = self.attributes.iter().map(|(k, v)| format!("{k}={v}"));
        let contact = self.contact_attributes.iter().map(|(k, v)| format!("contact.{k}={v}"));
        let attributes: Vec<String> = own.chain(contact).collect();
        for (what, list) in [
            ("tags", tags.join(" ")),
            ("attributes", attributes.join(" ")),
            ("replies", self.replies.join(" ")),
            ("consent", self.consent.clone().unwrap_or_default()),
        ] {
            if !list.is_empty() {
                write!(f, ", {what} {list}")?;
            }
        }
        Ok(())
    }
}

impl Expect {
    /// A sentence for each expectation that was not met; empty when all were.
    #[must_use]
    pub fn check(&self, actual: &Actual) -> Vec<String> {
        let mut wrong = Vec::new();
        let nothing = |o: &Option<Name>| o.clone().unwrap_or_else(|| "none".into());
        if let Some(q) = &self.queue {
            compare("queue", &nothing(q), &nothing(&actual.queue), &mut wrong);
        }
        if let Some(a) = &self.agent {
            compare("agent", &nothing(a), &nothing(&actual.agent), &mut wrong);
        }
        if let Some(p) = self.priority {
            compare("priority", &p.as_str(), &actual.priority.as_str(), &mut wrong);
        }
        if let Some(s) = self.state {
            let seen = actual.state.map_or("none", ConvStatus::as_str);
            compare("state", &s.as_str(), &seen, &mut wrong);
        }
        if let Some(c) = &self.consent {
            compare("consent", c, &nothing(&actual.consent), &mut wrong);
        }
        if let Some(t) = &self.tags {
            compare("tags", t, &actual.tags, &mut wrong);
        }
        if let Some(r) = &self.replies {
            compare("replies", r, &actual.replies, &mut wrong);
        }
        if let Some(r) = &self.rules {
            compare("rules", r, &actual.rules, &mut wrong);
        }
        if let Some(a) = &self.attributes {
            self.attributes(a, actual, &mut wrong);
        }
        wrong
    }

    fn attributes(&self, wanted: &BTreeMap<String, String>, actual: &Actual, wrong: &mut Vec<String>) {
        let own: BTreeMap<&String, &String> = wanted.iter().filter(|(k, _)| !k.starts_with("contact.")).collect();
        let seen: BTreeMap<&String, &String> = actual.attributes.iter().collect();
        compare("attributes", &own, &seen, wrong);
        for (key, value) in wanted {
            let Some(name) = key.strip_prefix("contact.") else { continue };
            let seen = actual.contact_attributes.get(name).map_or("none", String::as_str);
            compare(&format!("attribute {key}"), &value.as_str(), &seen, wrong);
        }
    }
}

fn compare<T: PartialEq + Debug + ?Sized>(what: &str, wanted: &T, seen: &T, wrong: &mut Vec<String>) {
    if wanted != seen {
        wrong.push(format!("{what}: expected {wanted:?}, got {seen:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_must_be_exactly_so_and_the_rest_may_be_anything() {
        let actual = Actual {
            queue: Some("billing".into()),
            tags: ["refund".to_owned()].into(),
            attributes: [("order".to_owned(), "1".to_owned())].into(),
            contact_attributes: [("plan".to_owned(), "gold".to_owned()), ("vip".to_owned(), "yes".to_owned())].into(),
            ..Actual::default()
        };
        assert!(Expect::default().check(&actual).is_empty());
        let ok = Expect {
            queue: Some(Some("billing".into())),
            agent: Some(None),
            attributes: Some([("order".into(), "1".into()), ("contact.plan".into(), "gold".into())].into()),
            ..Expect::default()
        };
        assert_eq!(ok.check(&actual), Vec::<String>::new());
        let bad = Expect { queue: Some(None), tags: Some(BTreeSet::new()), replies: Some(vec!["x".into()]), ..ok };
        assert_eq!(
            bad.check(&actual),
            [
                "queue: expected \"none\", got \"billing\"",
                "tags: expected {}, got {\"refund\"}",
                "replies: expected [\"x\"], got []"
            ]
        );
        let few = Expect { attributes: Some(BTreeMap::new()), ..Expect::default() };
        assert_eq!(few.check(&actual).len(), 1, "an attribute too many is a difference");
    }
}
