//! Whole decisions, over the life of a small workspace.

mod by_hand;
mod choices;
mod commands;
mod life;
mod settling;
mod time;
mod windows;
