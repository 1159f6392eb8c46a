//! The routing core of Switchboard: conversations, contacts, queues, agents, rules and clocks as pure functions.
//!
//! [`decide`] takes the state, one input, the time and the rule pack, and returns events; [`State::apply`] folds an event
//! into the state. There is no clock, no randomness, no I/O and no async here: the state is exactly the fold of the events,
//! so it can be simulated, replayed, and explained. This crate knows nothing of channels' providers, of tokio, of NATS or of
//! SQLite.
#![forbid(unsafe_code)]

pub mod decide;
pub mod event;
pub mod ids;
pub mod invariants;
pub mod pack;
pub mod replay;
mod rules;
pub mod state;
pub mod trial;
pub mod waiting;

pub use decide::{Decision, Input, Verdict, decide};
pub use event::Event;
pub use pack::RulePack;
pub use state::State;
