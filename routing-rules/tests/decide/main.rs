//! Whole decisions, over the life of a small workspace.

mod commands;
mod life;
mod settling;
mod time;
