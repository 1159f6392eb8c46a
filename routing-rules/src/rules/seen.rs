//! What one run of the rules sees: the message, the state before it, and what earlier rules of the run have set.

use super::field::Field;
use super::fold::fold;
use super::language;
use crate::pack::template::{Values, Var};
use crate::pack::{Name, RulePack, RunOutcome, SeenMessage, SeenState, SetTarget};
use std::cell::OnceCell;
use std::collections::BTreeMap;

pub(crate) struct Seen<'a> {
    pub pack: &'a RulePack,
    pub message: &'a SeenMessage,
    pub state: &'a SeenState,
    /// What the run has decided so far.
    pub so_far: &'a RunOutcome,
    pub texts: &'a Texts,
}

/// What is computed at most once a message, and only when a condition asks.
#[derive(Default)]
pub(crate) struct Texts {
    text: OnceCell<String>,
    subject: OnceCell<String>,
    /// Weekday from Monday 0, and minute of the day.
    clock: OnceCell<(usize, u16)>,
    language: OnceCell<&'static str>,
    /// Opening hours that were asked for.
    #[expect(clippy::disallowed_types, reason = "it keeps what is worked out for one run, and is no state")]
    hours: std::cell::RefCell<BTreeMap<Name, Option<bool>>>,
}

impl Texts {
    /// The language of the text, where a condition asked and the adapter did not know.
    pub(crate) fn language(&self) -> Option<&'static str> {
        self.language.get().copied()
    }
}

fn filled(s: &str) -> Option<&str> {
    (!s.is_empty()).then_some(s)
}

fn flag(b: bool) -> &'static str {
    if b { "true" } else { "false" }
}

impl<'a> Seen<'a> {
    pub(crate) fn folded_text(&self) -> Option<&'a str> {
        filled(self.texts.text.get_or_init(|| fold(&self.message.text).into_owned()))
    }

    pub(crate) fn folded_subject(&self) -> Option<&'a str> {
        let subject = self.message.subject.as_deref().unwrap_or_default();
        filled(self.texts.subject.get_or_init(|| fold(subject).into_owned()))
    }

    fn clock(&self) -> (usize, u16) {
        *self.texts.clock.get_or_init(|| {
            let local = self.pack.local(self.state.now);
            let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
            (usize::from(local.weekday().to_monday_zero_offset().unsigned_abs()), minute)
        })
    }

    pub(crate) fn weekday(&self) -> usize {
        self.clock().0
    }

    pub(crate) fn minute(&self) -> u16 {
        self.clock().1
    }

    pub(crate) fn hours_open(&self, id: &str) -> Option<bool> {
        if let Some(known) = self.texts.hours.borrow().get(id) {
            return *known;
        }
        let open = self.pack.hours_open(id, self.state.now);
        self.texts.hours.borrow_mut().insert(id.to_owned(), open);
        open
    }

    /// Numbers, the minute of the day, and the weekday from Monday 0.
    pub(crate) fn measure(&self, field: &Field) -> Option<f64> {
        match field {
            Field::Time => Some(f64::from(self.minute())),
            Field::Weekday => u8::try_from(self.weekday()).ok().map(f64::from),
            field => self.number(field),
        }
    }

    /// As the adapter said, else as the text shows.
    fn language(&self) -> &str {
        match &self.message.language {
            Some(said) => language::primary(said),
            None => self.texts.language.get_or_init(|| language::detect(&self.message.text)),
        }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let set = self.so_far.set.iter().find(|(t, _)| matches!(t, SetTarget::Conversation(n) if n == name));
        set.map(|(_, v)| v.as_str()).or_else(|| self.state.attributes.get(name).map(String::as_str))
    }

    fn contact_attribute(&self, name: &str) -> Option<&str> {
        let set = self.so_far.set.iter().find(|(t, _)| matches!(t, SetTarget::Contact(n) if n == name));
        set.map(|(_, v)| v.as_str()).or_else(|| self.state.contact_attributes.get(name).map(String::as_str))
    }

    /// Whether any value of the field holds; false when it has none. Fields of numbers have no texts.
    pub(crate) fn any_value(&self, field: &Field, holds: &mut dyn FnMut(&str) -> bool) -> bool {
        let (m, s) = (self.message, self.state);
        let one = match field {
            Field::Tags => return self.so_far.tags.iter().chain(&s.tags).any(|v| holds(v)),
            Field::ContactTags => return s.contact_tags.iter().any(|v| holds(v)),
            Field::ContactIdentities => return s.contact_identities.iter().any(|v| holds(v)),
            Field::Content => {
                return [filled(&m.text), m.subject.as_deref()]
                    .into_iter()
                    .flatten()
                    .any(|v| !v.is_empty() && holds(v));
            }
            Field::Channel => Some(m.channel.as_str()),
            Field::Kind => Some(m.kind.as_str()),
            Field::Visibility => Some(if m.public { "public" } else { "private" }),
            Field::Text => Some(m.text.as_str()),
            Field::Subject => m.subject.as_deref(),
            Field::From => m.from.as_deref(),
            Field::To => m.to.as_deref(),
            Field::Authenticated => m.authenticated.map(flag),
            Field::Language => Some(self.language()),
            Field::HasAttachment => Some(flag(m.has_attachment)),
            Field::Automatic => Some(flag(m.automatic)),
            Field::Choice => m.choice.as_deref(),
            // An attribute that is set to the empty text is set.
            Field::Meta(n) => return m.meta.get(n).is_some_and(|v| holds(v)),
            Field::Attribute(n) => return self.attribute(n).is_some_and(holds),
            Field::ContactAttribute(n) => return self.contact_attribute(n).is_some_and(holds),
            Field::State => s.state.map(|x| x.as_str()),
            Field::Queue => s.queue.as_deref(),
            Field::Priority => s.priority.map(|p| p.as_str()),
            Field::New => Some(flag(s.new)),
            Field::ContactConsent => s.contact_consent.as_deref(),
            Field::ContactAgent => s.contact_agent.as_deref(),
            Field::Age | Field::Messages | Field::Silence | Field::ContactOpen => None,
            Field::Hours | Field::Weekday | Field::Time => None,
        };
        one.and_then(filled).is_some_and(holds)
    }

    /// The field as a number: a count, milliseconds, or a text that is one.
    #[expect(clippy::cast_precision_loss, reason = "durations stay far below 2^53 ms, and only comparisons use it")]
    pub(crate) fn number(&self, field: &Field) -> Option<f64> {
        let s = self.state;
        let parse = |v: &str| v.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        match field {
            Field::Age => Some(s.age_ms as f64),
            Field::Messages => Some(f64::from(s.messages)),
            Field::Silence => s.silence_ms.map(|ms| ms as f64),
            Field::ContactOpen => Some(f64::from(s.contact_open)),
            Field::Meta(n) => self.message.meta.get(n).and_then(|v| parse(v)),
            Field::Attribute(n) => self.attribute(n).and_then(parse),
            Field::ContactAttribute(n) => self.contact_attribute(n).and_then(parse),
            _ => None,
        }
    }
}

/// The values of a template: what the run sees, and what a rule's patterns captured.
pub(crate) struct Filling<'a> {
    pub seen: &'a Seen<'a>,
    pub captures: &'a BTreeMap<String, String>,
}

impl Values for Filling<'_> {
    fn value(&self, var: &Var) -> Option<String> {
        let (m, s) = (self.seen.message, self.seen.state);
        let some = |v: Option<&str>| v.and_then(filled).map(str::to_owned);
        let name = s.contact_name.as_deref().map(str::trim);
        match var {
            Var::ContactName => some(name),
            Var::ContactFirstName => some(name.and_then(|n| n.split_whitespace().next())),
            Var::AgentName => {
                let agent = s.contact_agent.as_ref().and_then(|id| self.seen.pack.agents.get(id));
                some(agent.map(|a| a.name.as_str()))
            }
            Var::ContactTags => Some(joined(s.contact_tags.iter())),
            Var::ContactAttribute(n) => self.seen.contact_attribute(n).map(str::to_owned),
            Var::ConversationQueue => some(self.seen.so_far.queue.as_deref().or(s.queue.as_deref())),
            Var::ConversationTags => {
                let new = self.seen.so_far.tags.iter().filter(|t| !s.tags.contains(*t));
                Some(joined(s.tags.iter().chain(new)))
            }
            Var::ConversationAttribute(n) => self.seen.attribute(n).map(str::to_owned),
            Var::MessageText => Some(m.text.clone()),
            Var::MessageSubject => some(m.subject.as_deref()),
            Var::MessageFrom => some(m.from.as_deref()),
            Var::MessageChannel => Some(m.channel.clone()),
            Var::MessageMeta(n) => m.meta.get(n).cloned(),
            Var::Queue(asked) => Some(asked.mark().to_string()),
            Var::Match(n) => self.captures.get(n).cloned(),
            Var::Now => Some(s.now.to_string()),
            // Hours that stay closed for more than a year still give a sentence.
            Var::NextOpen(id) => {
                Some(self.seen.pack.hours(id)?.next_open_text(s.now).unwrap_or_else(|| "later".into()))
            }
            Var::NextOpenDate(id) => {
                let h = self.seen.pack.hours(id)?;
                Some(h.next_open(s.now).map(|t| h.local(t).date().to_string()).unwrap_or_default())
            }
            Var::NextOpenTime(id) => {
                let h = self.seen.pack.hours(id)?;
                Some(h.next_open(s.now).map(|t| h.local(t).strftime("%H:%M").to_string()).unwrap_or_default())
            }
        }
    }
}

fn joined<'a>(tags: impl Iterator<Item = &'a String>) -> String {
    tags.map(String::as_str).collect::<Vec<_>>().join(", ")
}
