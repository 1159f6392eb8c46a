//! The channel `telegram`: people write to a bot (<https://core.telegram.org/bots/api>).
//!
//! For rules a message carries `meta.provider` (`telegram`) and, where they say something: `meta.event` for what is no new message
//! (`edit`, `reaction`, `service`), `meta.command` and `meta.referral` (`/start summer` is the command `start` of who came by
//! the link `summer`), `meta.chat` (`private`, `group`, `supergroup`, `channel`), `meta.username`, `meta.file` (the kind of its file),
//! `meta.forwarded`.
#![forbid(unsafe_code)]

mod bot;
mod codes;
mod read;
mod send;
#[cfg(test)]
mod tests;

use bot::Bot;
use bytes::Bytes;
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, ConfigProblem, Kind, RawRequest, Reply, Settings, Verdict,
    settings::{Key, Shape},
};
use switchboard_envelope::{Address, Attachment, ChannelProfile, Content, Inbound, Raw, Send, Timestamp};

const KEYS: &[Key] = &[
    Key::new("token", Shape::Secret, "the bot's token, as BotFather gave it").required("{ env = \"NAME\" }"),
    Key::new(
        "secret_token",
        Shape::Secrets,
        "what Telegram has to say with each delivery: the `secret_token` of setWebhook",
    )
    .required("{ env = \"NAME\" }"),
    Key::new("base_url", Shape::Url, "another address of the Bot API").usual("https://api.telegram.org"),
];

/// The channel, as the daemon's registry lists it.
pub const KIND: Kind = Kind {
    name: "telegram",
    about: "Messages to a Telegram bot.",
    keys: KEYS,
    either: &[],
    needs: &[],
    poll: None,
    rate: None,
    check: |_| vec![],
    build,
};

/// Characters of one message; Telegram counts UTF-16 units after entities.
const MOST_TEXT: u32 = 4096;
/// More buttons than these nobody reads; Telegram takes a hundred.
const MOST_CHOICES: u32 = 20;
/// A longer label is cut by the apps.
const LONGEST_LABEL: u32 = 64;

/// A bot.
#[derive(Debug)]
struct Telegram {
    channel: String,
    bot: Bot,
    has_links: bool,
}

fn build(settings: &Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>> {
    let bot = Bot::new(settings)?;
    Ok(Arc::new(Telegram { channel: settings.channel.clone(), bot, has_links: settings.public_url.is_some() }))
}

impl Adapter for Telegram {
    fn profile(&self) -> ChannelProfile {
        let no_files = "Telegram fetches them from us: set http.public_url";
        ChannelProfile {
            max_text: Some(MOST_TEXT),
            max_attachments: Some(10),
            no_files: (!self.has_links).then(|| no_files.to_owned()),
            files_apart: true,
            // To who wrote to the bot once; to anybody else Telegram refuses it.
            proactive: true,
            choices: MOST_CHOICES,
            choice_label: LONGEST_LABEL,
            ..ChannelProfile::new("telegram", "telegram")
        }
    }

    /// The head holds the whole proof, so nothing of the body is read for who does not have it.
    fn screen(&self, head: &RawRequest) -> Verdict {
        self.bot.verify(head)
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        self.bot.verify(request)
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        read::update(self, &request.body, request.received_at)
    }

    /// A button that was pressed shows a running clock until the bot has answered it, which it may do in its answer to the delivery.
    fn accepted(&self, request: &RawRequest) -> Reply {
        let json = |body| Reply { status: 200, content_type: "application/json", body };
        match read::pressed(&request.body) {
            Some(id) => {
                json(serde_json::json!({ "method": "answerCallbackQuery", "callback_query_id": id }).to_string())
            }
            None => json(String::new()),
        }
    }

    fn reparse(&self, _raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        read::update(self, &body, received_at)
    }

    fn reaches(&self, to: &Address) -> Result<(), String> {
        let is_id = bot::is_id(&to.value);
        if is_id { Ok(()) } else { Err("this is no id that Telegram gives to a person: write its digits".into()) }
    }

    fn fits(&self, _thread: &str, content: &Content) -> Result<(), String> {
        send::fits(self, content)
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        send::encode(self, send)
    }

    fn classify(&self, send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        send::classify(send, answer, now)
    }

    fn fetch(&self, attachment: &Attachment) -> Option<Call> {
        self.bot.fetch(attachment.url.as_deref()?)
    }

    /// A file is first asked about by its id; the answer says where it is for the next hour.
    fn listed(&self, attachment: &Attachment, fetched: &Bytes) -> Option<Vec<Attachment>> {
        self.bot.found(attachment, fetched).map(|found| vec![found])
    }
}
