use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

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
    /// The account within which the value names somebody, where it is nobody's or somebody else's in the next: a page, for the ids
    /// that its network gives to people there. `None` where it names one person everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

impl Address {
    #[must_use]
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Address {
        Address { kind: kind.into(), value: value.into(), name: None, within: None }
    }

    /// The same value, which names somebody within this account only.
    #[must_use]
    pub fn within(mut self, account: impl Into<String>) -> Address {
        self.within = Some(account.into());
        self
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
    /// Bytes; absent while nobody knows, as long as the provider did not say and the file has not been fetched.
    #[serde(default, skip_serializing_if = "unknown_size")]
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
    /// The thread with whose files it is stored, where that is not its conversation's; the router says so, and nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// By what the page of the same content shows it, as `<img src="cid:…">`: a picture of the page, and no file that was attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
}

impl Attachment {
    /// The type of a mail as it came, which the router lists beside what was read out of it. No file that came has it.
    pub const ORIGINAL: &str = "message/rfc822; whole=yes";
    /// The type of what only stands for files: a provider's list of them, in whose place they come once it is fetched.
    pub const LIST: &str = "application/json; list=files";

    /// The person attached it: it is neither the mail itself nor a picture of its page.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.mime != Attachment::ORIGINAL && self.content_id.is_none()
    }

    /// It has to be fetched from the provider still.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.blob.is_none() && self.url.is_some() && self.problem.as_ref().is_none_or(|p| p.again)
    }
}

fn unknown_size(size: &u64) -> bool {
    *size == 0
}

/// Why a file could not be fetched from its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileProblem {
    /// A sentence for the agent; it names no address, but the host and port of one that is refused.
    pub detail: String,
    /// It is tried again.
    #[serde(default)]
    pub again: bool,
}

/// A button, quick reply or row of a list: offered by us, or chosen by the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Choice {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Choice {
    /// What the customer reads.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.id)
    }
}

/// What is known of who wrote something in a customer's name, where the channel can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SenderProof {
    /// It was them.
    Proved,
    /// Nothing says that it was them: anybody may have written it.
    NotProved,
    /// It was somebody else.
    Disproved,
}

impl SenderProof {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SenderProof::Proved => "proved",
            SenderProof::NotProved => "not_proved",
            SenderProof::Disproved => "disproved",
        }
    }

    /// From what is kept of it: whether it was proved, where the channel can tell, and whether somebody else wrote.
    #[must_use]
    pub fn of(proved: Option<bool>, disproved: bool) -> Option<SenderProof> {
        match proved {
            _ if disproved => Some(SenderProof::Disproved),
            Some(true) => Some(SenderProof::Proved),
            Some(false) => Some(SenderProof::NotProved),
            None => None,
        }
    }
}

/// A text that a provider approved beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Template {
    /// As the provider knows it.
    pub name: String,
    /// As the provider writes it, such as `en_US`.
    pub language: String,
    /// What its places in the text hold, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What the provider calls its kind, such as `marketing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
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
    /// What the customer chose: they pressed it, or typed its number or label.
    #[serde(default)]
    pub choice: Option<Choice>,
    /// What we let the customer choose from. A channel that has no buttons shows them as numbered lines of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// The text is one that the provider approved beforehand, which some demand outside their window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// Of a notice: that the sender of the customer's latest message was not proved, or was disproved. The router says so, and nobody
    /// else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_proof: Option<SenderProof>,
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

/// A text with its choices as numbered lines, for who cannot show buttons.
#[must_use]
pub fn numbered(text: &str, choices: &[Choice]) -> String {
    let mut out = text.trim_end().to_owned();
    for (i, choice) in choices.iter().enumerate() {
        let gap = match (i, out.is_empty()) {
            (0, true) => "",
            (0, false) => "\n\n",
            _ => "\n",
        };
        let _ = write!(out, "{gap}{}. {}", i + 1, choice.shown());
    }
    out
}

/// The choice that somebody means who typed this: its number, its label, or both, as in `2`, `2.`, `Blue` and `2. blue`.
#[must_use]
pub fn chosen<'a>(text: &str, choices: &'a [Choice]) -> Option<&'a Choice> {
    let said = text.trim().to_lowercase();
    let bare = said.trim_end_matches(['.', ')', '!']).trim_end();
    let is_label = |choice: &&Choice, text: &str| choice.shown().trim().to_lowercase() == text;
    // A label that is a number of its own means itself.
    if let Some(choice) = choices.iter().find(|choice| is_label(choice, &said) || is_label(choice, bare)) {
        return Some(choice);
    }
    let open = bare.trim_start_matches(['#', '(']).trim_start();
    let digits = open.find(|c: char| !c.is_ascii_digit()).unwrap_or(open.len());
    let (number, rest) = open.split_at(digits);
    let choice = number.parse::<usize>().ok()?.checked_sub(1).and_then(|i| choices.get(i))?;
    let rest = rest.trim_start_matches(['.', ')', ':', '-', ' ']).trim();
    (rest.is_empty() || is_label(&choice, rest)).then_some(choice)
}

#[cfg(test)]
mod tests {
    use super::{BlobRef, Choice, chosen, numbered};

    fn choices(labels: &[&str]) -> Vec<Choice> {
        let choice = |label: &&str| Choice { id: format!("id-{label}"), label: Some((*label).to_owned()) };
        labels.iter().map(choice).collect()
    }

    #[test]
    fn choices_are_numbered_below_the_text() {
        assert_eq!(numbered("Which?\n", &choices(&["Red", "Blue"])), "Which?\n\n1. Red\n2. Blue");
        assert_eq!(numbered("", &choices(&["Red"])), "1. Red");
        assert_eq!(numbered("as it is", &[]), "as it is");
        assert_eq!(numbered("", &[Choice { id: "only-an-id".into(), label: None }]), "1. only-an-id");
    }

    #[test]
    fn a_number_or_a_label_is_a_choice_and_nothing_else_is() {
        let all = choices(&["Red", "Blue sky", "7"]);
        for said in
            ["2", " 2. ", "2)", "(2)", "#2", "Blue sky", "BLUE SKY!", "2. blue sky", "2 Blue Sky", "2: blue sky."]
        {
            assert_eq!(chosen(said, &all).map(|c| c.id.as_str()), Some("id-Blue sky"), "{said}");
        }
        assert_eq!(chosen("7", &all).map(|c| c.id.as_str()), Some("id-7"), "a label that is a number");
        for said in ["", "0", "4", "-1", "2 red", "22", "blue", "two", "2 or 3", "99999999999999999999", ".", "2nd"] {
            assert_eq!(chosen(said, &all), None, "{said}");
        }
        assert_eq!(chosen("1", &[]), None);
    }

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
