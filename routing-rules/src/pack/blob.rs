//! The pack as bytes, so that it travels in the log, and its name: the hash of its content.

use super::{Problem, RulePack};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Of the blob, not of the YAML.
const FORMAT: u8 = 1;

/// SHA-256 over the files with their lengths, so that no two packs run together.
pub(super) fn hash(sources: &[(String, String)]) -> String {
    let mut h = Sha256::new();
    h.update(b"switchboard rule pack");
    for part in sources.iter().flat_map(|(path, text)| [path, text]) {
        h.update((part.len() as u64).to_be_bytes());
        h.update(part.as_bytes());
    }
    h.finalize().iter().fold(String::with_capacity(64), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

impl RulePack {
    /// The pack as bytes from which [`RulePack::from_blob`] makes the same pack, with the same hash.
    #[must_use]
    pub fn to_blob(&self) -> Vec<u8> {
        rmp_serde::to_vec(&(FORMAT, &self.sources)).unwrap_or_default()
    }

    /// The pack that [`RulePack::to_blob`] wrote. Channels and desks are not checked again: the configuration may have
    /// changed since the pack was put in force; nor are mistakes looked for that another version did not know as such.
    ///
    /// # Errors
    /// When the bytes are no pack, or one that this version does not take.
    pub fn from_blob(bytes: &[u8]) -> Result<RulePack, Vec<Problem>> {
        let unreadable = |message: String| {
            let hint = "it was written by another version, or is damaged".into();
            vec![Problem { file: "(blob)".into(), line: 1, column: 1, message, hint }]
        };
        let (format, sources): (u8, Vec<(String, String)>) =
            rmp_serde::from_slice(bytes).map_err(|e| unreadable(format!("not a rule pack: {e}")))?;
        if format != FORMAT {
            return Err(unreadable(format!("a rule pack of format {format}, not {FORMAT}")));
        }
        let files: Vec<(String, Vec<u8>)> = sources.into_iter().map(|(p, t)| (p, t.into_bytes())).collect();
        RulePack::load_stored(&files).map(|l| l.pack)
    }
}
