//! The ways by which customers write: each channel with its provider, as a test of all of them at once sees them.

mod gateways;
mod kannel;
mod line;
mod mail;
mod networks;

pub use gateways::{DESCRIBED, Gateway, NewerVonage};
pub use kannel::Kannel;
pub use line::Line;
pub use mail::Mail;
pub use networks::{Meta, Product, Telegram, X};

use crate::{
    Callback, Dice, HookStep, Provider, Repeats, Shop, Step, Visitor, VonageForm, VonageSigned, VonageSim, VonageStep,
    WebhookSim, sid,
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a text ends that comes with a picture, where the channel has pictures.
pub const PICTURED: &str = "and a picture";
/// What an agent lets a customer choose from, where the channel shows choices.
pub const OFFERED: [&str; 2] = ["RED", "BLUE"];
/// With which secret providers sign once they have another; it is configured beside the first.
pub const NEXT_SECRET: &str = "the-next-one-of-the-day";

/// So many times faster than their providers do deliveries come again.
pub const FASTER: u32 = 500;

/// How a provider delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    Well,
    Badly,
    Not,
}

/// One channel, the provider behind it, and the customers who use it.
pub trait Way: Send + Sync {
    /// The channel's id.
    fn channel(&self) -> &'static str;

    /// The provider delivers a customer's text; true once the daemon took it. A text that is said again is the same message, delivered
    /// again.
    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool>;

    /// When the provider delivers again what was not taken; `None` where nobody delivers.
    fn repeats(&self) -> Option<Repeats> {
        None
    }

    /// Something goes wrong with one of the next sends.
    fn trouble(&self, dice: &mut Dice);

    /// The provider refuses our credentials at the next send, so that the channel waits for an operator. The channels of which one
    /// does; none where nobody asks for credentials.
    fn refuses_us(&self) -> &'static [&'static str] {
        &[]
    }

    /// From now on the provider signs with [`NEXT_SECRET`], where it signs with a secret that can be changed.
    fn rotates(&self) {}

    /// The provider asks whether the address is ours: whether it was told so. `None` where it never asks.
    fn shakes_hands(&self) -> Option<BoxFuture<'_, bool>> {
        None
    }

    /// Whether a text that ends in [`PICTURED`] comes with a picture.
    fn has_pictures(&self) -> bool {
        false
    }

    /// The texts to a customer that offered [`OFFERED`]; `None` where choices are not shown as such.
    fn offered(&self, _: u64) -> Option<Vec<String>> {
        None
    }

    /// A customer wants nothing more of us; true once the daemon took it. `None` where they have no way to say so.
    fn leaves(&self, _: u64) -> Option<BoxFuture<'_, bool>> {
        None
    }

    /// The provider tells what became of everything that it took for a customer, twice and in any order, and each until it is heard.
    fn tells<'a>(&'a self, _: u64, _: &'a mut Dice) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// What the provider took for a customer, in its order.
    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>>;

    /// Whether [`Way::sent`] is in the order in which the provider took it.
    fn keeps_order(&self) -> bool {
        true
    }

    /// Whether deliveries are signed at all.
    fn signs(&self) -> bool {
        true
    }

    /// Whether a customer can say two things at the same moment.
    fn says_at_once(&self) -> bool {
        true
    }
}

/// These words twice, in any order.
fn shuffled(words: &[&'static str], dice: &mut Dice) -> Vec<&'static str> {
    let mut all = [words, words].concat();
    for i in (1..all.len()).rev() {
        all.swap(i, dice.below(i as u64 + 1) as usize);
    }
    all
}

/// What was made for a text, so that a repeated delivery is the same.
#[derive(Default)]
struct Made(Mutex<BTreeMap<String, Value>>);

impl Made {
    fn once(&self, text: &str, make: impl FnOnce() -> Value) -> Value {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(text.to_owned()).or_insert_with(make).clone()
    }
}

/// Twilio's texts.
pub struct Texts {
    shop: Arc<Shop>,
    provider: Provider,
    /// Where a picture is.
    picture: String,
}

impl Texts {
    /// Twilio tells what becomes of a text before it answers for it, too.
    #[must_use]
    pub fn new(shop: Arc<Shop>, provider: Provider) -> Texts {
        provider.sim().route("https://hooks.shop.example", &shop.public());
        provider.sim().callbacks(vec![
            Callback::before("queued"),
            Callback::before("sent"),
            Callback::after("delivered"),
        ]);
        let picture = provider.sim().add_file("image/png", PICTURE);
        Texts { shop, provider, picture }
    }
}

/// Not much of a picture.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\nnot much of a picture";

fn american(who: u64) -> String {
    format!("+1555200{who:04}")
}

impl Way for Texts {
    fn channel(&self) -> &'static str {
        "support-sms"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut sms = self.shop.sms(&american(who), text, &sid(text));
            if text.ends_with(PICTURED) {
                let picture = &self.picture;
                sms = sms.with("NumMedia", "1").with("MediaUrl0", picture).with("MediaContentType0", "image/png");
            }
            let hook = self.shop.hook("support-sms");
            let answer = match signed {
                Signed::Well => sms.deliver(&hook).await,
                Signed::Badly => sms.signed_with("another").deliver(&hook).await,
                Signed::Not => sms.deliver_unsigned(&hook).await,
            };
            matches!(answer, Ok(answer) if answer.status == 200)
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(Repeats::TWILIO)
    }

    fn trouble(&self, dice: &mut Dice) {
        self.provider.next(match dice.below(10) {
            0 => Step::rate_limited(Some(1)),
            1 => Step::rate_limited(None),
            2 => Step::AcceptAndReset,
            3 => Step::ReadAndReset,
            4 => Step::Reset,
            5 => Step::server_error(),
            6 => Step::bad_request(21_617),
            7 => Step::bad_request(21_211),
            8 => Step::garbage(),
            _ => Step::Delay(dice.millis(800), Box::new(Step::Accept)),
        });
    }

    fn refuses_us(&self) -> &'static [&'static str] {
        self.provider.next(Step::unauthorized());
        &["support-sms"]
    }

    fn has_pictures(&self) -> bool {
        true
    }

    fn leaves(&self, who: u64) -> Option<BoxFuture<'_, bool>> {
        Some(self.says(who, "STOP", Signed::Well))
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = american(who);
        let sent = self.provider.sent().into_iter().filter(|s| s.to == to).map(|s| s.body).collect();
        Box::pin(async move { sent })
    }

    fn tells<'a>(&'a self, who: u64, dice: &'a mut Dice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for sent in self.provider.sent().iter().filter(|s| s.to == american(who)) {
                for word in shuffled(&["queued", "sent", "delivered"], dice) {
                    let tell = || async { self.provider.tells(sent, word, &self.shop).await == 200 };
                    Repeats::TWILIO.until_taken(FASTER, tell).await;
                }
            }
        })
    }
}

/// Vonage's texts.
pub struct Vonage {
    pub shop: Arc<Shop>,
    pub sim: VonageSim,
}

fn british(who: u64) -> String {
    format!("44770091{who:04}")
}

fn vonage_signed(signed: Signed) -> VonageSigned {
    match signed {
        Signed::Well => VonageSigned::Well,
        Signed::Badly => VonageSigned::Badly,
        Signed::Not => VonageSigned::Not,
    }
}

impl Way for Vonage {
    fn channel(&self) -> &'static str {
        "vonage"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let hook = format!("{}/in", self.shop.hook("vonage"));
            let form = [VonageForm::Get, VonageForm::Form, VonageForm::Json][text.len() % 3];
            self.sim.deliver(&hook, &sid(text), &british(who), text, None, form, vonage_signed(signed)).await == 200
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(Repeats::VONAGE)
    }

    fn trouble(&self, dice: &mut Dice) {
        self.sim.next(match dice.below(9) {
            0 => VonageStep::Statuses(vec![("1", "Throttled")]),
            1 => VonageStep::CutAfter,
            2 => VonageStep::CutBefore,
            3 => VonageStep::Answer(502, "<html>Bad gateway</html>".into()),
            4 => VonageStep::Limited([Some(1), None][dice.below(2) as usize]),
            5 => VonageStep::ReceiptFirst,
            6 => VonageStep::Statuses(vec![("6", "Unroutable message")]),
            7 => VonageStep::Statuses(vec![("7", "Number barred")]),
            _ => VonageStep::Delay(dice.millis(800)),
        });
    }

    fn refuses_us(&self) -> &'static [&'static str] {
        self.sim.next(VonageStep::Statuses(vec![("4", "Bad Credentials")]));
        &["vonage"]
    }

    fn rotates(&self) {
        self.sim.rotates(NEXT_SECRET);
    }

    fn leaves(&self, who: u64) -> Option<BoxFuture<'_, bool>> {
        Some(self.says(who, "STOP", Signed::Well))
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = british(who);
        let sent = self.sim.sent().into_iter().filter(|s| s.to == to).map(|s| s.text).collect();
        Box::pin(async move { sent })
    }

    fn tells<'a>(&'a self, who: u64, dice: &'a mut Dice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for sent in self.sim.sent().iter().filter(|s| s.to == british(who)) {
                for word in shuffled(&["accepted", "buffered", "delivered"], dice) {
                    let tell = || async { self.sim.receipt(sent, word, "0").await == 200 };
                    Repeats::VONAGE.until_taken(FASTER, tell).await;
                }
            }
        })
    }
}

/// A receiver and sender of signed webhooks.
pub struct Webhooks {
    pub shop: Arc<Shop>,
    pub sim: WebhookSim,
}

impl Way for Webhooks {
    fn channel(&self) -> &'static str {
        "crm"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let (hook, id) = (self.shop.hook("crm"), sid(text));
            let mut body = json!({ "type": "message", "from": format!("customer-{who}"), "text": text });
            if text.ends_with(PICTURED) {
                let url = self.sim.add_file("a.png", "image/png", PICTURE);
                let files = json!([{ "name": "a.png", "mime": "image/png", "url": url }]);
                body = json!({ "type": "message", "from": format!("customer-{who}"),
                    "content": { "text": text, "attachments": files } });
            }
            let status = match signed {
                Signed::Well => self.sim.send(&hook, &id, &body).await,
                Signed::Not => self.sim.post(&hook, &[("webhook-id", &*id)], &body.to_string()).await,
                Signed::Badly => {
                    let at = jiff::Timestamp::now().as_second().to_string();
                    let signature = self.sim.signature(&id, &at, b"another body");
                    let headers = [("webhook-id", &*id), ("webhook-timestamp", &at), ("webhook-signature", &signature)];
                    self.sim.post(&hook, &headers, &body.to_string()).await
                }
            };
            matches!(status, Ok(200))
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(Repeats::WEBHOOK)
    }

    fn trouble(&self, dice: &mut Dice) {
        self.sim.script(match dice.below(8) {
            0 => HookStep::Refuse { status: 429, retry_after: Some(1), body: String::new() },
            4 => HookStep::refuse(429),
            5 => HookStep::refuse(422),
            6 => HookStep::refuse(408),
            1 => HookStep::refuse(503),
            2 => HookStep::AcceptAndReset,
            3 => HookStep::AcceptAndAnswer { status: 500 },
            _ => HookStep::Delay(dice.millis(800), Box::new(HookStep::Accept)),
        });
    }

    fn refuses_us(&self) -> &'static [&'static str] {
        self.sim.script(HookStep::refuse(401));
        &["crm"]
    }

    fn rotates(&self) {
        self.sim.rotates();
    }

    fn has_pictures(&self) -> bool {
        true
    }

    fn leaves(&self, who: u64) -> Option<BoxFuture<'_, bool>> {
        Some(Box::pin(async move {
            let body = json!({ "type": "consent", "address": format!("customer-{who}"), "state": "opted_out" });
            matches!(self.sim.send(&self.shop.hook("crm"), &format!("leaves-{who}"), &body).await, Ok(200))
        }))
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        assert_eq!(self.sim.violations(), Vec::<String>::new(), "the receiver would not have taken this");
        let to = format!("customer-{who}");
        let mine = self.sim.taken().into_iter().filter(|t| t.body["to"]["value"] == to.as_str());
        let sent = mine.filter_map(|t| t.body["content"]["text"].as_str().map(str::to_owned)).collect();
        Box::pin(async move { sent })
    }
}

/// Visitors of the site, each with a socket of their own.
pub struct Chat {
    pub shop: Arc<Shop>,
    visitors: tokio::sync::Mutex<BTreeMap<u64, Seat>>,
}

#[derive(Default)]
struct Seat {
    socket: Option<Visitor>,
    token: Option<String>,
    place: u64,
    heard: Vec<String>,
}

impl Chat {
    #[must_use]
    pub fn new(shop: Arc<Shop>) -> Chat {
        Chat { shop, visitors: tokio::sync::Mutex::default() }
    }
}

impl Seat {
    fn take(&mut self, frame: &Value) {
        let place = frame["seq"].as_u64().expect("a place");
        assert!(place > self.place, "a message came twice, or out of order: {frame} after {}", self.place);
        self.place = place;
        if frame["from"]["kind"] != "visitor" {
            self.heard.push(frame["text"].as_str().expect("a text").to_owned());
        }
    }

    async fn sit(&mut self, shop: &Shop) -> Result<(), String> {
        if self.socket.is_none() {
            let socket = Visitor::at(shop, self.token.as_deref(), self.place).await?;
            assert_ne!(socket.welcome["reset"], true, "{}", socket.welcome);
            self.token = Some(socket.token());
            for frame in socket.welcome["replay"].as_array().into_iter().flatten() {
                self.take(frame);
            }
            self.socket = Some(socket);
        }
        Ok(())
    }

    async fn say(&mut self, shop: &Shop, text: &str) -> Result<(), String> {
        self.sit(shop).await?;
        let mut socket = self.socket.take().ok_or("no socket")?;
        let id = sid(text);
        socket.write(&id, text).await?;
        loop {
            let frame = socket.next().await?;
            match frame["type"].as_str() {
                Some("message") => self.take(&frame),
                Some("ack") if frame["client_id"] == id.as_str() => break,
                Some("error") => return Err(frame.to_string()),
                _ => {}
            }
        }
        self.socket = Some(socket);
        Ok(())
    }
}

impl Way for Chat {
    fn channel(&self) -> &'static str {
        "site"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, _: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut seat = self.visitors.lock().await.remove(&who).unwrap_or_default();
            let said = tokio::time::timeout(Duration::from_secs(14), seat.say(&self.shop, text)).await;
            self.visitors.lock().await.insert(who, seat);
            matches!(said, Ok(Ok(())))
        })
    }

    fn trouble(&self, _: &mut Dice) {
        // Nobody stands between the daemon and its visitors.
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let mut visitors = self.visitors.lock().await;
            let seat = visitors.entry(who).or_default();
            // A socket of its own brings everything that came since.
            seat.socket = None;
            seat.sit(&self.shop).await.expect("the chat is open");
            seat.heard.clone()
        })
    }

    fn signs(&self) -> bool {
        false
    }

    fn says_at_once(&self) -> bool {
        false
    }
}
