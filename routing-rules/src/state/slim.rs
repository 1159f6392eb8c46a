//! Fields of a conversation that take little room: a million of them are open at once.

use crate::event::{Chosen, KeyHash};
use crate::ids::MessageId;
use crate::pack::{Name, OverflowStep, Skills};
use imbl::OrdMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use switchboard_envelope::{Choice, Timestamp};

/// The name of a channel, a queue or an agent, which all that name it share.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label(Arc<Name>);

impl Label {
    #[must_use]
    pub fn new(name: &str) -> Label {
        Label(Arc::new(name.to_owned()))
    }
}

impl Deref for Label {
    type Target = Name;
    fn deref(&self) -> &Name {
        &self.0
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Label {
    fn eq(&self, other: &str) -> bool {
        self.0.as_str() == other
    }
}

impl PartialEq<&str> for Label {
    fn eq(&self, other: &&str) -> bool {
        self.0.as_str() == *other
    }
}

impl PartialEq<Name> for Label {
    fn eq(&self, other: &Name) -> bool {
        *self.0 == *other
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The steps of a queue's overflow, which all that came into it share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps(Option<Arc<Vec<OverflowStep>>>);

impl Deref for Steps {
    type Target = [OverflowStep];
    fn deref(&self) -> &[OverflowStep] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Steps, D::Error> {
        let steps = Vec::<OverflowStep>::deserialize(from)?;
        Ok(Steps(Some(steps).filter(|s| !s.is_empty()).map(Arc::new)))
    }
}

/// What conversations share. Which of it is known says nothing: states that say the same are equal without.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    labels: OrdMap<Label, ()>,
    /// The last ones of each queue.
    steps: OrdMap<Label, Steps>,
    /// The last that was chosen for each queue.
    chosen: OrdMap<Label, Arc<Chosen>>,
}

/// Names are those of packs and configurations; when they were replaced so often, those that are in use are found anew.
const LABELS: usize = 20_000;

impl PartialEq for Shared {
    fn eq(&self, _: &Shared) -> bool {
        true
    }
}

impl Shared {
    pub fn label(&mut self, name: &str) -> Label {
        if let Some((label, ())) = self.labels.get_key_value(name) {
            return label.clone();
        }
        if self.labels.len() >= LABELS {
            *self = Shared::default();
        }
        let label = Label::new(name);
        self.labels.insert(label.clone(), ());
        label
    }

    pub fn chosen(&mut self, chosen: &Chosen) -> Arc<Chosen> {
        let queue = self.label(chosen.queue.as_deref().unwrap_or_default());
        match self.chosen.get(&queue) {
            Some(known) if **known == *chosen => Arc::clone(known),
            _ => {
                let new = Arc::new(chosen.clone());
                self.chosen.insert(queue, Arc::clone(&new));
                new
            }
        }
    }

    pub fn steps(&mut self, queue: &Label, steps: &[OverflowStep]) -> Steps {
        if steps.is_empty() {
            return Steps::default();
        }
        match self.steps.get(queue) {
            Some(known) if **known == *steps => known.clone(),
            _ => {
                let new = Steps(Some(Arc::new(steps.to_vec())));
                self.steps.insert(queue.clone(), new.clone());
                new
            }
        }
    }
}

/// What is mostly empty, and takes a pointer then.
#[derive(Clone)]
pub struct Rare<T>(Option<Box<T>>);

/// What can be empty.
pub trait Empty: Default + 'static {
    /// An empty one, to be looked at.
    fn empty() -> &'static Self;
    fn is_empty(&self) -> bool;
}

macro_rules! empty {
    ($($type:ty),*) => {
        $(impl Empty for $type {
            fn empty() -> &'static $type {
                static EMPTY: $type = <$type>::new();
                &EMPTY
            }
            fn is_empty(&self) -> bool {
                <$type>::is_empty(self)
            }
        })*
    };
}

empty!(Skills, BTreeSet<Name>, Vec<MessageId>, BTreeMap<String, String>, Vec<Choice>, Vec<KeyHash>);

impl<T: Empty> Rare<T> {
    /// Gives back the room of what became empty.
    pub fn settle(&mut self) {
        if self.0.as_ref().is_some_and(|all| all.is_empty()) {
            self.0 = None;
        }
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<T: Empty> From<T> for Rare<T> {
    fn from(all: T) -> Rare<T> {
        Rare(Some(all).filter(|all| !all.is_empty()).map(Box::new))
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| T::empty())
    }
}

impl<T: Empty> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Empty + PartialEq> PartialEq for Rare<T> {
    fn eq(&self, other: &Rare<T>) -> bool {
        **self == **other
    }
}

impl<T: Empty + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Empty + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(to)
    }
}

impl<'de, T: Empty + Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rare<T>, D::Error> {
        T::deserialize(from).map(Rare::from)
    }
}

/// A moment, or none, in eight bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct When(i64);

impl When {
    pub const NEVER: When = When(i64::MIN);

    #[must_use]
    pub fn get(self) -> Option<Timestamp> {
        (self != When::NEVER).then_some(Timestamp(self.0))
    }

    #[must_use]
    pub fn is_some(self) -> bool {
        self != When::NEVER
    }
}

impl Default for When {
    fn default() -> When {
        When::NEVER
    }
}

impl From<Timestamp> for When {
    fn from(at: Timestamp) -> When {
        When(at.0)
    }
}

impl From<Option<Timestamp>> for When {
    fn from(at: Option<Timestamp>) -> When {
        at.map_or(When::NEVER, When::from)
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(to)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<When, D::Error> {
        Option::<Timestamp>::deserialize(from).map(When::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_kept_once() {
        let mut shared = Shared::default();
        let (once, again) = (shared.label("sales"), shared.label("sales"));
        assert!(Arc::ptr_eq(&once.0, &again.0));
        let step = |ms| OverflowStep { after_ms: Some(ms), ..OverflowStep::default() };
        let steps = shared.steps(&once, &[step(1), step(2)]);
        assert_eq!(shared.steps(&once, &[step(1), step(2)]).as_ptr(), steps.as_ptr());
        assert_ne!(shared.steps(&once, &[step(1)]).as_ptr(), steps.as_ptr());
        let chosen = |queue: &str| Chosen { queue: Some(queue.to_owned()), ..Chosen::default() };
        assert!(Arc::ptr_eq(&shared.chosen(&chosen("sales")), &shared.chosen(&chosen("sales"))));
        assert!(shared.steps(&once, &[]).is_empty() && shared.labels.len() == 1);
        for n in 0..2 * LABELS {
            shared.label(&format!("q{n}"));
        }
        assert!(shared.labels.len() <= LABELS, "what is shared is bounded");
    }

    #[test]
    fn what_is_empty_takes_a_pointer_and_reads_as_before() {
        let mut tags: Rare<BTreeSet<Name>> = Rare::default();
        assert!(tags.is_empty() && size_of_val(&tags) == size_of::<usize>());
        tags.insert("vip".into());
        assert_eq!(tags.iter().next().map(String::as_str), Some("vip"));
        tags.clear();
        tags.settle();
        assert!(tags.0.is_none() && tags == Rare::from(BTreeSet::new()));
        let bytes = rmp_serde::to_vec(&Some(Timestamp(5))).expect("bytes");
        assert_eq!(rmp_serde::from_slice::<When>(&bytes).expect("a moment").get(), Some(Timestamp(5)));
        assert_eq!(
            rmp_serde::to_vec(&When::NEVER).expect("bytes"),
            rmp_serde::to_vec(&None::<Timestamp>).expect("bytes")
        );
    }
}
