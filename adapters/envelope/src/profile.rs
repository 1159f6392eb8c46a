use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the router must know of a channel to decide for it. It is made by the adapter and the channel's configuration, and
/// travels in the log with the channel table, so that every router decides alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelProfile {
    /// What rules call its `kind`.
    pub kind: String,
    /// We push from history to connected clients, and write no OUT records (web chat).
    #[serde(default)]
    pub push: bool,
    /// The adapter is another process, which claims and sends by itself and may speak for nothing but its channel.
    #[serde(default)]
    pub external: bool,
    /// Its messages are letters: they have a subject, name what they answer, and quote it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mail: bool,
    /// Longest text of one send, in characters (Unicode scalar values); `None` is no limit.
    #[serde(default)]
    pub max_text: Option<u32>,
    #[serde(default)]
    pub max_attachments: Option<u32>,
    /// Why no files can be sent as it is configured: a sentence that says what to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_files: Option<String>,
    /// What answers a message whose `meta.keyword` is this, in the place of what rules would reply: confirmations of an
    /// opt-out, and help.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keyword_replies: BTreeMap<String, String>,
    /// The `kind` of address that it writes to.
    pub address_kind: String,
    /// A conversation may start from our side.
    #[serde(default)]
    pub proactive: bool,
    /// Load on an agent in hundredths of a capacity unit.
    #[serde(default = "one_unit")]
    pub cost: u32,
    /// The provider can be asked what became of an `unknown` attempt.
    #[serde(default)]
    pub reconciles: bool,
    /// How long reconciliation may hold the lane, in milliseconds.
    #[serde(default)]
    pub reconcile_ms: i64,
    /// The receiver drops repeated ids, so `unknown` is retried.
    #[serde(default)]
    pub same_id_retry: bool,
    /// The operator chose to resend `unknown` attempts automatically, and so left the promise.
    #[serde(default)]
    pub resend_unknown: bool,
    /// The provider itself keeps who opted out: what it was told, only the person can undo.
    #[serde(default)]
    pub keeps_opt_outs: bool,
    /// How long after acceptance of the reply an attempt may still start, in milliseconds.
    pub not_after_ms: i64,
    /// How long one call may take, in milliseconds.
    pub send_timeout_ms: i64,
    /// The most attempts released at once.
    pub in_flight: u32,
}

fn one_unit() -> u32 {
    100
}

impl ChannelProfile {
    /// A profile with the defaults that suit a request/response provider.
    #[must_use]
    pub fn new(kind: impl Into<String>, address_kind: impl Into<String>) -> ChannelProfile {
        ChannelProfile {
            kind: kind.into(),
            push: false,
            external: false,
            mail: false,
            max_text: None,
            max_attachments: None,
            no_files: None,
            keyword_replies: BTreeMap::new(),
            address_kind: address_kind.into(),
            proactive: false,
            cost: one_unit(),
            reconciles: false,
            reconcile_ms: 0,
            same_id_retry: false,
            resend_unknown: false,
            keeps_opt_outs: false,
            not_after_ms: 24 * 3_600_000,
            send_timeout_ms: 20_000,
            in_flight: 512,
        }
    }
}
