use crate::{Adapter, ConfigProblem, Settings, settings::Key};
use std::sync::Arc;
use std::time::Duration;

/// A kind of channel, as far as the daemon must know it: it reads the keys, makes the schema of them, and builds the adapter. A
/// crate that exports one is a channel once the daemon's registry lists it.
pub struct Kind {
    /// What the configuration and rules call it.
    pub name: &'static str,
    /// One line for editors.
    pub about: &'static str,
    /// The keys that it takes beside those of every channel.
    pub keys: &'static [Key],
    /// One of these keys at least is written; for the schema.
    pub either: &'static [&'static str],
    /// A key, and the others that it needs; for the schema.
    pub needs: &'static [(&'static str, &'static [&'static str])],
    /// How often it catches up, unless the configuration says otherwise.
    pub poll: Option<Duration>,
    /// The most sends in a time, as `1/s`, unless the configuration says otherwise.
    pub rate: Option<&'static str>,
    /// Everything that is wrong between its keys, also while some are missing.
    pub check: fn(&Settings) -> Vec<ConfigProblem>,
    /// Makes an adapter out of settings that are complete; with everything that is wrong between them.
    pub build: Build,
}

/// See [`Kind::build`].
pub type Build = fn(&Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>>;

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kind").field("name", &self.name).finish_non_exhaustive()
    }
}
