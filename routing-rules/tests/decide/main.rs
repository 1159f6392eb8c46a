//! Whole decisions, over the life of a small workspace.

mod again;
mod blocked;
mod by_hand;
mod choices;
mod clocks;
mod commands;
mod delivery;
mod faults;
mod life;
mod loops;
mod needs;
mod notices;
mod older;
mod overtaken;
mod packs;
mod parts;
mod queues;
mod receipts;
mod reopening;
mod scope;
mod settling;
mod time;
mod traces;
mod watched;
mod windows;
