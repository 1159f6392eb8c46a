//! What Meta calls us with.

use super::{MetaSent, MetaSim, Shared, tag};
use crate::{http::call, lock};
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// How a webhook is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaSigned {
    Well,
    Badly,
    Not,
}

impl MetaSim {
    /// From now on the app has another secret.
    pub fn rotates(&self, secret: &str) {
        lock(&self.shared.state).secret = Some(secret.to_owned());
    }

    /// Asks whether an address is ours, as Meta does before it calls it: the answer's status and body.
    pub async fn shakes_hands(&self, hook: &str, word: &str) -> (u16, String) {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("hub.mode", "subscribe")
            .append_pair("hub.challenge", "1158201444")
            .append_pair("hub.verify_token", word)
            .finish();
        match call("GET", &format!("{hook}?{query}"), &[], b"", LIMIT).await {
            Ok(answer) => (answer.status, String::from_utf8_lossy(&answer.body).into_owned()),
            Err(_) => (0, String::new()),
        }
    }

    /// Delivers events of the page; the status of the answer.
    pub async fn page_says(&self, hook: &str, events: &[Value], signed: MetaSigned) -> u16 {
        say(&self.shared, hook, &about("page", &self.shared.config.page_id, events), signed).await
    }

    /// Delivers events of the account on Instagram; the status of the answer.
    pub async fn instagram_says(&self, hook: &str, events: &[Value], signed: MetaSigned) -> u16 {
        say(&self.shared, hook, &about("instagram", &self.shared.config.account_id, events), signed).await
    }

    /// What somebody says to the page.
    #[must_use]
    pub fn event(&self, from: &str, told: Value) -> Value {
        between(from, &self.shared.config.page_id, told)
    }

    /// What somebody says to the account on Instagram.
    #[must_use]
    pub fn instagram_event(&self, from: &str, told: Value) -> Value {
        between(from, &self.shared.config.account_id, told)
    }

    /// The echo of a message that was taken.
    #[must_use]
    pub fn echo(&self, sent: &MetaSent) -> Value {
        echo(&self.shared, sent)
    }

    /// Tells at `hook` what became of a message: its echo, and WhatsApp's status of this word; the status of the answer.
    pub async fn tells(&self, hook: &str, sent: &MetaSent, word: &str) -> u16 {
        tell(&self.shared, hook, sent, word).await
    }

    /// Delivers one item of WhatsApp's, in the list of this name; the status of the answer.
    pub async fn whatsapp_says(&self, hook: &str, list: &str, items: &[Value]) -> u16 {
        self.whatsapp_says_signed(hook, list, items, MetaSigned::Well).await
    }

    /// The same, signed like this.
    pub async fn whatsapp_says_signed(&self, hook: &str, list: &str, items: &[Value], signed: MetaSigned) -> u16 {
        say(&self.shared, hook, &on_whatsapp(&self.shared, list, items), signed).await
    }

    /// Delivers a body as it is, well signed; the status of the answer.
    pub async fn delivers(&self, hook: &str, body: &Value) -> u16 {
        say(&self.shared, hook, body, MetaSigned::Well).await
    }
}

fn about(object: &str, whose: &str, events: &[Value]) -> Value {
    json!({ "object": object, "entry": [{ "id": whose, "time": now_ms(), "messaging": events, "not_documented_yet": 1 }] })
}

fn between(from: &str, to: &str, told: Value) -> Value {
    let about = json!({ "sender": { "id": from }, "recipient": { "id": to }, "timestamp": now_ms(), "not_documented_yet": [1] });
    merged(about, told)
}

fn on_whatsapp(shared: &Shared, list: &str, items: &[Value]) -> Value {
    let metadata = json!({ "display_phone_number": "15550001111", "phone_number_id": shared.config.phone_number_id });
    let value = json!({ "messaging_product": "whatsapp", "metadata": metadata, (list): items,
        "contacts": [{ "profile": { "name": "Kim" }, "wa_id": "15005550009" }] });
    json!({ "object": "whatsapp_business_account",
        "entry": [{ "id": "8856996819413533", "changes": [{ "field": "messages", "value": value }] }] })
}

/// The product that a message went by, as its id begins.
fn echo(shared: &Shared, sent: &MetaSent) -> Value {
    let ours = if sent.id.starts_with("aWd") { &shared.config.account_id } else { &shared.config.page_id };
    let message =
        json!({ "is_echo": true, "app_id": 987, "mid": sent.id, "metadata": sent.word(), "text": sent.text() });
    json!({ "sender": { "id": ours }, "recipient": { "id": sent.to }, "timestamp": now_ms(), "message": message })
}

pub(super) async fn tell(shared: &Shared, hook: &str, sent: &MetaSent, word: &str) -> u16 {
    let body = if sent.id.starts_with("wamid.") {
        let status = json!({ "id": sent.id, "status": word, "timestamp": (now_ms() / 1000).to_string(),
            "recipient_id": sent.to, "biz_opaque_callback_data": sent.word() });
        on_whatsapp(shared, "statuses", &[status])
    } else {
        let (object, ours) = match sent.id.starts_with("aWd") {
            true => ("instagram", &shared.config.account_id),
            false => ("page", &shared.config.page_id),
        };
        let event = match word {
            "delivered" => between(&sent.to, ours, json!({ "delivery": { "mids": [sent.id], "watermark": now_ms() } })),
            "read" => between(&sent.to, ours, json!({ "read": { "mid": sent.id, "watermark": now_ms() } })),
            _ => echo(shared, sent),
        };
        about(object, ours, &[event])
    };
    say(shared, hook, &body, MetaSigned::Well).await
}

async fn say(shared: &Shared, hook: &str, body: &Value, signed: MetaSigned) -> u16 {
    // Meta signs what it sends, with everything but ASCII escaped.
    let body: String = body.to_string().chars().map(escaped).collect();
    let ours = lock(&shared.state).secret.clone().unwrap_or_else(|| shared.config.app_secret.clone());
    let secret = if signed == MetaSigned::Well { ours.as_str() } else { "another" };
    let signature = format!("sha256={}", tag(secret, body.as_bytes()));
    let mut headers = vec![("content-type", "application/json")];
    if signed != MetaSigned::Not {
        headers.push(("x-hub-signature-256", signature.as_str()));
    }
    call("POST", hook, &headers, body.as_bytes(), LIMIT).await.map_or(0, |answer| answer.status)
}

fn escaped(c: char) -> String {
    match c {
        '/' => "\\/".into(),
        c if c.is_ascii() => c.to_string(),
        c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    }
}

fn merged(mut about: Value, more: Value) -> Value {
    if let (Some(about), Value::Object(more)) = (about.as_object_mut(), more) {
        about.extend(more);
    }
    about
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
