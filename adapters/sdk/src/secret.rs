use std::fmt;
use std::path::{Path, PathBuf};

/// A value that must never be shown: its `Debug` prints dots.
#[derive(Clone)]
pub struct Secret {
    value: String,
    file: Option<PathBuf>,
}

impl Secret {
    #[must_use]
    pub fn new(value: impl Into<String>) -> Secret {
        Secret { value: value.into(), file: None }
    }

    /// The file that it was read from, where another one may stand by now.
    #[must_use]
    pub fn of_file(self, file: impl Into<PathBuf>) -> Secret {
        Secret { file: Some(file.into()), ..self }
    }

    /// The value itself, for signing and authenticating only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }

    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.value == other.value
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}
