//! Rules: conditions over a message and the state before it, and what follows from them.

mod action;
mod action_read;
mod condition;
mod condition_read;
pub(crate) mod field;
mod fold;
mod index;
mod language;
mod link;
mod pattern;
mod rule_read;
mod run;
mod seen;
mod sentence;
mod shadow;

pub(crate) use action::Actions;
pub(crate) use action_read::ACTIONS;
pub(crate) use condition_read::{MAX_PATTERNS, operators};
pub(crate) use index::RuleIndex;
pub(crate) use link::{link, wanted_in_vain};
pub(crate) use rule_read::{DEFAULT_ACTIONS, MESSAGE, read_default, read_rule};
pub(crate) use shadow::warnings;

use crate::event::Happening;
use crate::pack::Place;
use condition::Condition;

/// One rule, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub name: String,
    pub at: Place,
    /// What it follows up on; none where it runs for what customers write.
    pub on: Option<Happening>,
    /// In the order written, which is the order of explanations.
    pub when: Vec<Condition>,
    /// Positions in `when`, cheapest first, which is the order of running.
    pub cheapest: Vec<usize>,
    pub then: Actions,
    pub continues: bool,
    /// Some action uses `match.<name>`.
    pub captures: bool,
}
