//! Who is signed in, in the data directory, so that a restart signs nobody out. The file holds hashes of session ids, which open
//! nothing. A session ends with the token that it was opened with: when that is gone, or was changed, it is not read again.

use super::sessions::Identity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use switchboard_envelope::Timestamp;

/// The name of the file in the data directory.
pub const FILE: &str = "sessions.json";
/// Far above what the most sessions take.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A session as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The hash of its id.
    pub id: [u8; 32],
    pub identity: Identity,
    pub created: Timestamp,
    pub seen: Timestamp,
}

#[derive(Default, Serialize, Deserialize)]
struct Document {
    /// What each token was, by its name.
    tokens: BTreeMap<String, String>,
    sessions: Vec<Stored>,
}

/// The file.
pub struct Kept {
    path: PathBuf,
    tokens: BTreeMap<String, String>,
}

impl Kept {
    /// `tokens` says of each configured token what it is: any text that changes when its secret, its scopes or its agent do.
    #[must_use]
    pub fn new(data: &Path, tokens: BTreeMap<String, String>) -> Kept {
        Kept { path: data.join(FILE), tokens }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The sessions whose token is as it was. A file that cannot be read holds none: then people sign in again.
    pub(super) fn read(&self) -> Vec<Stored> {
        let small = std::fs::metadata(&self.path).is_ok_and(|m| m.len() <= MAX_FILE);
        let bytes = if small { std::fs::read(&self.path).unwrap_or_default() } else { vec![] };
        let document: Document = serde_json::from_slice(&bytes).unwrap_or_default();
        let same = |s: &Stored| document.tokens.get(&s.identity.token) == self.tokens.get(&s.identity.token);
        document.sessions.iter().filter(|s| same(s)).cloned().collect()
    }

    /// Replaces the file as a whole; it is on the disk then, so that who signed out stays signed out.
    pub(super) fn write(&self, sessions: Vec<Stored>) -> std::io::Result<()> {
        let document = Document { tokens: self.tokens.clone(), sessions };
        let bytes = serde_json::to_vec(&document).map_err(std::io::Error::other)?;
        let fresh = self.path.with_extension("json.new");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)
    }
}
