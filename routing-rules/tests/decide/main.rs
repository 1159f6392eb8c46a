//! Whole decisions, over the life of a small workspace.

mod by_hand;
mod choices;
mod clocks;
mod commands;
mod life;
mod needs;
mod older;
mod packs;
mod queues;
mod settling;
mod time;
mod traces;
mod windows;
