//! WhatsApp, by the Cloud API (<https://developers.facebook.com/docs/whatsapp/cloud-api>).
//!
//! For rules a message carries `meta.provider` (`whatsapp`) and, where they say something: `meta.event` for what is no message
//! (`reaction`, `unreact`, `edit`, `unsend`, `preference`, `system`), `meta.voice`, `meta.group`, `meta.forwarded`, `meta.referral`,
//! `meta.ad`, `meta.unsupported`, `meta.error`, `meta.category` and `meta.preference` of what somebody stopped or resumed, and
//! `meta.form_<field>` of the answers to a form.

mod codes;
mod read;
mod send;
#[cfg(test)]
mod tests;

use crate::{
    apart::{self, WHATSAPP},
    event::{self, Source, file},
    graph::Graph,
    hook::Hook,
    product::{Product, number, window_ms},
};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, ConfigProblem, RawRequest, Reply, Settings, Verdict,
    settings::{Key, Shape, any},
};
use switchboard_envelope::{
    Address, Attachment, ChannelProfile, Fault, FileProblem, Inbound, Outcome, Raw, Send, Timestamp,
};
use url::Url;

const KEYS: &[Key] = &[
    Key::new(
        "phone_number_id",
        Shape::Text { check: number, pattern: "^[0-9]{1,32}$" },
        "the number's id, not the number itself",
    )
    .required("\"106540352242922\""),
    Key::new(
        "business_account_id",
        Shape::Text { check: number, pattern: "^[0-9]{1,32}$" },
        "the id of the business account that the number is of, as webhooks name it: whose closing pauses the channel",
    ),
    Key::new("access_token", Shape::Secret, "a token of a system user").required("{ env = \"NAME\" }"),
    Key::new(
        "list_button",
        Shape::Text { check: label, pattern: "" },
        "what opens a list of choices that are too many for buttons",
    )
    .usual("Choose"),
];

/// WhatsApp.
pub const PRODUCT: Product =
    Product { name: "whatsapp", about: "WhatsApp messages, through the Cloud API.", keys: KEYS, build };

/// A status comes within seconds; so long an attempt without an answer waits for it.
const STATUS_MS: i64 = 30_000;
/// A day and a little: what WhatsApp takes tomorrow is tried once more.
const PATIENCE_MS: i64 = 26 * 3_600_000;
const MOST_TEXT: u32 = 4096;
const MOST_CHOICES: u32 = 10;
const LONGEST_LABEL: u32 = 20;
/// Before the id of a group in a thread.
const GROUP: &str = "group:";
/// Whose hosts get our token with the address of a file: Meta's own, which ask for it.
const MEDIA_HOSTS: [&str; 4] = ["facebook.com", "fbsbx.com", "fbcdn.net", "whatsapp.net"];

fn label(text: &str) -> Result<String, String> {
    if (1..=20).contains(&text.trim().chars().count()) { any(text) } else { Err("must have 1 to 20 characters".into()) }
}

/// The digits of a number that was written with its plus, and with what people put between digits: WhatsApp names people without.
fn digits(text: &str) -> Option<String> {
    let rest = text.trim().strip_prefix('+')?;
    let digits: String = rest.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    let is_number = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    (is_number && !digits.starts_with('0')).then_some(digits)
}

/// A number.
#[derive(Debug)]
struct WhatsApp {
    channel: String,
    phone_number_id: String,
    /// The business account that the number is of.
    business: Option<String>,
    hook: Hook,
    graph: Graph,
    window_ms: i64,
    list_button: String,
    has_links: bool,
}

fn build(settings: &Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>> {
    let graph =
        Graph::new(settings, "access_token").ok_or_else(|| vec![settings.problem("access_token", "is missing")])?;
    let Some(phone_number_id) = settings.text("phone_number_id") else {
        return Err(vec![settings.problem("phone_number_id", "is missing")]);
    };
    Ok(Arc::new(WhatsApp {
        channel: settings.channel.clone(),
        phone_number_id: phone_number_id.to_owned(),
        business: settings.text("business_account_id").map(str::to_owned),
        hook: Hook::new(settings),
        graph,
        window_ms: window_ms(settings),
        list_button: settings.text("list_button").unwrap_or("Choose").to_owned(),
        has_links: settings.public_url.is_some(),
    }))
}

impl Adapter for WhatsApp {
    fn profile(&self) -> ChannelProfile {
        let no_files = "WhatsApp fetches them from us: set http.public_url";
        ChannelProfile {
            max_text: Some(MOST_TEXT),
            max_attachments: Some(10),
            no_files: (!self.has_links).then(|| no_files.to_owned()),
            files_apart: true,
            // Nothing can be asked for, but a status carries our own word.
            reconciles: true,
            reconcile_ms: STATUS_MS,
            window_ms: Some(self.window_ms),
            not_after_ms: PATIENCE_MS,
            templates: true,
            choices: MOST_CHOICES,
            choice_label: LONGEST_LABEL,
            ..ChannelProfile::new("facebook", "whatsapp")
        }
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        self.hook.screen(head)
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        self.hook.verify(request)
    }

    fn accounts(&self) -> Vec<String> {
        let number = apart::account(WHATSAPP, &self.phone_number_id);
        [Some(number), self.business.as_deref().map(apart::of_no_number)].into_iter().flatten().collect()
    }

    fn may_have(&self, account: &str) -> bool {
        self.business.is_none() && account.starts_with(&apart::of_no_number(""))
    }

    fn apart(&self, body: &Bytes) -> Vec<(String, Bytes)> {
        apart::delivery(body)
    }

    fn signed_by(&self, request: &RawRequest) -> Option<usize> {
        self.hook.signed_by(request)
    }

    fn vouch(&self, secret: usize, part: &[u8]) -> Option<String> {
        self.hook.vouch(secret, part)
    }

    fn vouched(&self, part: &[u8], word: &str) -> bool {
        self.hook.vouched(part, word)
    }

    fn handshake(&self, request: &RawRequest) -> Option<Reply> {
        self.hook.handshake(request)
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        read::delivery(self, &Source::of(request))
    }

    fn reparse(&self, _raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        read::delivery(self, &Source { body: &body, received_at })
    }

    fn canonical(&self, to: Address) -> Address {
        match digits(&to.value) {
            Some(value) => Address { value, ..to },
            None => to,
        }
    }

    fn reaches(&self, to: &Address) -> Result<(), String> {
        if digits(&to.value).is_some() {
            return Ok(());
        }
        let is_id = (1..=128).contains(&to.value.len())
            && to.value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if is_id { Ok(()) } else { Err("this is no number and no id of WhatsApp's: write a number's digits".into()) }
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        send::encode(self, send)
    }

    fn classify(&self, _send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        let mut outcome = crate::graph::classify(&[codes::CODES], "/messages/0/id", "WhatsApp", answer, now);
        if outcome.outcome == Outcome::NotSent && outcome.code.as_deref().is_some_and(codes::is_for_tomorrow) {
            outcome.retry_after_ms = outcome.retry_after_ms.max(Some(codes::DAY_MS));
            outcome.fault = Some(Fault::Recipient);
        }
        if outcome.outcome == Outcome::NotSent && outcome.code.as_deref().is_some_and(codes::is_of_one) {
            outcome.fault = Some(Fault::Recipient);
        }
        outcome
    }

    fn fetch(&self, attachment: &Attachment) -> Option<Call> {
        let url = attachment.url.as_deref()?;
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let is_metas = MEDIA_HOSTS
            .iter()
            .any(|known| host.strip_suffix(known).is_some_and(|sub| sub.is_empty() || sub.ends_with('.')));
        self.graph.get(url, is_metas || self.graph.is_base(url))
    }

    /// A file is first asked about by its id; the answer says where it is for the next minutes.
    fn listed(&self, attachment: &Attachment, fetched: &Bytes) -> Option<Vec<Attachment>> {
        self.graph.is_object(attachment.url.as_deref()?).then(|| {
            let told = serde_json::from_slice::<Value>(fetched).unwrap_or_default();
            let found = event::text(&told, "/url").filter(|url| !self.graph.is_object(url));
            let mut media = file(&attachment.name, event::text(&told, "/mime_type").or(Some(&attachment.mime)), found);
            if media.url.is_none() {
                media.problem = Some(FileProblem { detail: "WhatsApp does not say where it is".into(), again: false });
            }
            vec![media]
        })
    }
}
