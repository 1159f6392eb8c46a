//! Whole decisions, over the life of a small workspace.

mod by_hand;
mod commands;
mod life;
mod settling;
mod time;
