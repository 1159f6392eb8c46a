//! Messenger and Instagram: a page's conversations (<https://developers.facebook.com/docs/messenger-platform>).
//!
//! For rules a message carries `meta.provider` (`messenger`, `instagram`) and, where they say something: `meta.event` for what is
//! no message (`postback`, `referral`, `optin`, `reaction`, `unreact`, `edit`, `unsend`, and Meta's name of others),
//! `meta.sticker`, `meta.story`, `meta.file` (Meta's kind of the first file), `meta.referral`, `meta.source`, `meta.ad`,
//! `meta.unsupported`, and `meta.standby` when another app owns the conversation.

mod codes;
mod read;
mod send;

use crate::{
    apart,
    event::Source,
    graph::Graph,
    hook::Hook,
    product::{Product, number, window_ms},
};
use bytes::Bytes;
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, ConfigProblem, RawRequest, Reply, Settings, Verdict,
    settings::{Key, Shape},
};
use switchboard_envelope::{Address, Attachment, ChannelProfile, Inbound, Raw, Send, Timestamp};

const PAGE_ID: Key = Key::new(
    "page_id",
    Shape::Text { check: number, pattern: "^[0-9]{1,32}$" },
    "the page's or account's id, as webhooks name it",
)
.required("\"102030405060\"");
const PAGE_TOKEN: Key = Key::new("page_token", Shape::Secret, "the page's access token").required("{ env = \"NAME\" }");
const HUMAN_AGENT: Key = Key::new(
    "human_agent",
    Shape::Flag,
    "whether the app may use the tag HUMAN_AGENT, with which a person of yours may answer for seven days instead of one",
)
.usual("true");
const LINKED_PAGE: Key = Key::new(
    "linked_page",
    Shape::Text { check: number, pattern: "^[0-9]{1,32}$" },
    "the id of the Facebook page that the account is linked with, where webhooks name that in the place of page_id",
);
const KEYS: &[Key] = &[PAGE_ID, PAGE_TOKEN, HUMAN_AGENT];
const INSTAGRAM_KEYS: &[Key] = &[PAGE_ID, PAGE_TOKEN, HUMAN_AGENT, LINKED_PAGE];

/// Messenger.
pub const MESSENGER: Product = Product {
    name: "messenger",
    about: "Messages to a Facebook page.",
    keys: KEYS,
    build: |settings| {
        build(&Kind { product: "messenger", object: "page", address: "facebook", most_text: 2000 }, settings)
    },
};

/// Instagram.
pub const INSTAGRAM: Product = Product {
    name: "instagram",
    about: "Messages to an Instagram account.",
    keys: INSTAGRAM_KEYS,
    build: |settings| {
        build(&Kind { product: "instagram", object: "instagram", address: "instagram", most_text: 1000 }, settings)
    },
};

const HOUR_MS: i64 = 3_600_000;
const PERSON_WINDOW_MS: i64 = 7 * 24 * HOUR_MS;
/// An echo comes within seconds; so long an attempt without an answer waits for it.
const ECHO_MS: i64 = 30_000;
const MOST_CHOICES: u32 = 13;
const LONGEST_LABEL: u32 = 20;

/// What the two differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    product: &'static str,
    /// What their deliveries are about.
    object: &'static str,
    /// The `kind` of their customers' addresses.
    address: &'static str,
    /// Characters for Messenger; bytes for Instagram.
    most_text: u32,
}

/// A page or an account.
#[derive(Debug)]
struct Page {
    channel: String,
    kind: Kind,
    page_id: String,
    /// Another id by which webhooks may name it.
    linked: Option<String>,
    hook: Hook,
    graph: Graph,
    window_ms: i64,
    human_agent: bool,
    has_links: bool,
}

fn build(kind: &Kind, settings: &Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>> {
    let graph = Graph::new(settings, "page_token").ok_or_else(|| vec![settings.problem("page_token", "is missing")])?;
    let Some(page_id) = settings.text("page_id") else { return Err(vec![settings.problem("page_id", "is missing")]) };
    Ok(Arc::new(Page {
        channel: settings.channel.clone(),
        kind: *kind,
        page_id: page_id.to_owned(),
        linked: settings.text("linked_page").map(str::to_owned),
        hook: Hook::new(settings),
        graph,
        window_ms: window_ms(settings),
        human_agent: !settings.has("human_agent") || settings.flag("human_agent"),
        has_links: settings.public_url.is_some(),
    }))
}

impl Page {
    /// Whether an id is ours.
    fn is(&self, id: &str) -> bool {
        id == self.page_id || self.linked.as_deref() == Some(id)
    }

    /// Somebody who writes to it. Meta gives people an id for each page, which names nobody, or another, on the next.
    fn person(&self, id: &str) -> Address {
        Address::new(self.kind.address, id).within(&self.page_id)
    }
}

impl Adapter for Page {
    fn profile(&self) -> ChannelProfile {
        let no_files = "Meta fetches them from us: set http.public_url";
        ChannelProfile {
            max_text: Some(self.kind.most_text),
            max_attachments: Some(10),
            no_files: (!self.has_links).then(|| no_files.to_owned()),
            files_apart: true,
            // Nothing can be asked for, but the echo of a message carries our own word.
            reconciles: true,
            reconcile_ms: ECHO_MS,
            window_ms: Some(self.window_ms),
            person_window_ms: self.human_agent.then_some(PERSON_WINDOW_MS),
            choices: MOST_CHOICES,
            choice_label: LONGEST_LABEL,
            ..ChannelProfile::new("facebook", self.kind.address)
        }
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        self.hook.screen(head)
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        self.hook.verify(request)
    }

    fn accounts(&self) -> Vec<String> {
        let ids = [Some(&self.page_id), self.linked.as_ref()];
        ids.into_iter().flatten().map(|id| apart::account(self.kind.object, id)).collect()
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

    fn reaches(&self, to: &Address) -> Result<(), String> {
        let is_id = (1..=64).contains(&to.value.len()) && to.value.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_id { Ok(()) } else { Err("this is no id that Meta gives to a person".into()) }
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        send::encode(self, send)
    }

    fn classify(&self, send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        send::classify(self, send, answer, now)
    }

    fn fetch(&self, attachment: &Attachment) -> Option<Call> {
        // Its address is signed for a while and needs no token of ours.
        self.graph.get(attachment.url.as_deref()?, false)
    }
}

#[cfg(test)]
mod tests;
