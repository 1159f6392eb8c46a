use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a message came from or goes to: a phone number, a mail address, a visitor of a web chat.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Address {
    /// `phone`, `sender` (short code or alphanumeric), `email`, `visitor`, `twitter`, `facebook`, …
    pub kind: String,
    /// The address in its canonical form; for `phone`, E.164 with the plus.
    pub value: String,
    /// The name that the provider gave, for display only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Address {
    #[must_use]
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Address {
        Address { kind: kind.into(), value: value.into(), name: None }
    }

    /// `kind:value`, the form in which contacts list their identities.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}:{}", self.kind, self.value)
    }
}

/// A content-addressed blob: `blob:sha256:<hex>`. It is scoped by channel and thread, so that erasing one person never
/// removes what another still holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct BlobRef(pub String);

impl BlobRef {
    const PREFIX: &str = "blob:sha256:";

    /// The blob whose bytes have this hash, in hex.
    #[must_use]
    pub fn of_hash(hash: &str) -> BlobRef {
        BlobRef(format!("{}{hash}", BlobRef::PREFIX))
    }

    /// The hash in hex; `None` when this names no blob.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        let hash = self.0.strip_prefix(BlobRef::PREFIX)?;
        (hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then_some(hash)
    }
}

/// A file that came with a message, or goes out with one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attachment {
    pub name: String,
    pub mime: String,
    /// Bytes; 0 when the provider did not say and the file has not been fetched.
    #[serde(default)]
    pub size: u64,
    /// The stored file. Absent while it is only known by the provider's address.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
    /// Where the provider keeps the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Why it is not stored yet, or never will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<FileProblem>,
}

impl Attachment {
    /// It has to be fetched from the provider still.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.blob.is_none() && self.url.is_some() && self.problem.as_ref().is_none_or(|p| p.again)
    }
}

/// Why a file could not be fetched from its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileProblem {
    /// A sentence for the agent; it names no address.
    pub detail: String,
    /// It is tried again.
    #[serde(default)]
    pub again: bool,
}

/// A button or quick reply that the customer pressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Choice {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Content {
    /// Plain text; the new text only, without quoted history.
    #[serde(default)]
    pub text: String,
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default)]
    pub html: Option<String>,
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    #[serde(default)]
    pub choice: Option<Choice>,
}

impl Content {
    #[must_use]
    pub fn text(text: impl Into<String>) -> Content {
        Content { text: text.into(), ..Content::default() }
    }
}

/// What the provider sent, byte for byte: inline up to 16 KiB, else as a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Raw {
    pub content_type: String,
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
    /// The body in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// Request facts that parsing needs beside the body, such as `path` and `query`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    #[default]
    Private,
    Public,
}

#[cfg(test)]
mod tests {
    use super::BlobRef;

    #[test]
    fn only_a_hash_in_lower_case_names_a_blob() {
        let hash = "0a".repeat(32);
        assert_eq!(BlobRef::of_hash(&hash).hash(), Some(hash.as_str()));
        for wrong in
            ["", "../../log.db", &hash[1..], &format!("{hash}0"), &hash.to_uppercase(), &format!("{}/", &hash[1..])]
        {
            assert_eq!(BlobRef::of_hash(wrong).hash(), None, "{wrong}");
        }
        assert_eq!(BlobRef(hash).hash(), None, "without its prefix");
    }
}
