//! Rule packs: what operators write, validated into what the core uses.

mod types;

pub use types::*;
