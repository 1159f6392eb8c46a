//! The ways by which customers write: each channel with its provider, as a test of all of them at once sees them.

mod gateways;
mod kannel;

pub use gateways::{DESCRIBED, Gateway, NewerVonage};
pub use kannel::Kannel;

use crate::{
    Dice, Dovecot, HookStep, MetaSigned, MetaSim, MetaStep, Postfix, Provider, Repeats, Shop, Step, TelegramSim,
    TelegramStep, Visitor, VonageForm, VonageSigned, VonageSim, VonageStep, WebhookSim, XSim, XStep, field, sid,
    text_of,
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    pub shop: Arc<Shop>,
    pub provider: Provider,
}

fn american(who: u64) -> String {
    format!("+1555200{who:04}")
}

impl Way for Texts {
    fn channel(&self) -> &'static str {
        "support-sms"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let sms = self.shop.sms(&american(who), text, &sid(text));
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
        self.provider.next(match dice.below(8) {
            0 => Step::rate_limited(Some(1)),
            1 => Step::rate_limited(None),
            2 => Step::AcceptAndReset,
            3 => Step::ReadAndReset,
            4 => Step::Reset,
            5 => Step::server_error(),
            6 => Step::bad_request(21_617),
            _ => Step::Delay(dice.millis(800), Box::new(Step::Accept)),
        });
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
        self.sim.next(match dice.below(8) {
            0 => VonageStep::Statuses(vec![("1", "Throttled")]),
            1 => VonageStep::CutAfter,
            2 => VonageStep::CutBefore,
            3 => VonageStep::Answer(502, "<html>Bad gateway</html>".into()),
            4 => VonageStep::Limited([Some(1), None][dice.below(2) as usize]),
            5 => VonageStep::ReceiptFirst,
            6 => VonageStep::Statuses(vec![("6", "Unroutable message")]),
            _ => VonageStep::Delay(dice.millis(800)),
        });
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

/// A product of Meta's; they share one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    Messenger,
    Instagram,
    WhatsApp,
}

/// Messenger, Instagram or WhatsApp.
pub struct Meta {
    pub shop: Arc<Shop>,
    pub sim: Arc<MetaSim>,
    pub product: Product,
}

impl Meta {
    fn person(&self, who: u64) -> String {
        match self.product {
            Product::Messenger => format!("700000000000{who:04}"),
            Product::Instagram => format!("710000000000{who:04}"),
            Product::WhatsApp => format!("1500555{who:04}"),
        }
    }
}

impl Way for Meta {
    fn channel(&self) -> &'static str {
        match self.product {
            Product::Messenger => "page",
            Product::Instagram => "insta",
            Product::WhatsApp => "wa",
        }
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let (person, hook) = (self.person(who), self.shop.hook(self.channel()));
            let signed = match signed {
                Signed::Well => MetaSigned::Well,
                Signed::Badly => MetaSigned::Badly,
                Signed::Not => MetaSigned::Not,
            };
            let told = json!({ "message": { "mid": format!("m_{}", sid(text)), "text": text } });
            let nothing = json!({ "nobody_knows": 1 });
            // One event of a batch is of a kind that nobody knows.
            let status = match self.product {
                Product::WhatsApp => {
                    let at = jiff::Timestamp::now().as_second().to_string();
                    let id = format!("wamid.{}", sid(text));
                    let said =
                        json!({ "from": person, "id": id, "timestamp": at, "type": "text", "text": { "body": text } });
                    self.sim.whatsapp_says_signed(&hook, "messages", &[said], signed).await
                }
                Product::Messenger => {
                    let batch = [self.sim.event(&person, nothing), self.sim.event(&person, told)];
                    self.sim.page_says(&hook, &batch, signed).await
                }
                Product::Instagram => {
                    let batch = [self.sim.instagram_event(&person, nothing), self.sim.instagram_event(&person, told)];
                    self.sim.instagram_says(&hook, &batch, signed).await
                }
            };
            status == 200
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(Repeats::META)
    }

    fn trouble(&self, dice: &mut Dice) {
        self.sim.next(match dice.below(8) {
            0 => MetaStep::Error(400, 4, None),
            1 => MetaStep::CutAfter,
            2 => MetaStep::CutBefore,
            3 => MetaStep::Answer(500, String::new()),
            4 => MetaStep::Limited([Some(1), None][dice.below(2) as usize]),
            5 => MetaStep::Error(400, 100, None),
            6 => MetaStep::ToldFirst(self.shop.hook(self.channel())),
            _ => MetaStep::Delay(dice.millis(800)),
        });
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = self.person(who);
        let sent = self.sim.sent().into_iter().filter(|s| s.to == to).map(|s| s.text().to_owned()).collect();
        Box::pin(async move { sent })
    }

    fn tells<'a>(&'a self, who: u64, dice: &'a mut Dice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let hook = self.shop.hook(self.channel());
            for sent in self.sim.sent().iter().filter(|s| s.to == self.person(who)) {
                for word in shuffled(&["sent", "delivered", "read"], dice) {
                    let tell = || async { self.sim.tells(&hook, sent, word).await == 200 };
                    Repeats::META.until_taken(FASTER, tell).await;
                }
            }
        })
    }
}

/// Direct messages on X.
pub struct X {
    pub shop: Arc<Shop>,
    pub sim: XSim,
    made: Made,
}

impl X {
    #[must_use]
    pub fn new(shop: Arc<Shop>, sim: XSim) -> X {
        X { shop, sim, made: Made::default() }
    }
}

fn on_x(who: u64) -> String {
    format!("333333333333333{who:04}")
}

impl Way for X {
    fn channel(&self) -> &'static str {
        "handle"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let event = self
                .made
                .once(text, || self.sim.direct(&self.sim.id(), &on_x(who), json!({ "text": text, "entities": {} })));
            let newer = text.len().is_multiple_of(2);
            let body = if newer { self.sim.received(&[event]) } else { self.sim.received_before(&[event]) };
            let secret = self.sim.config().consumer_secret.clone();
            let secret = match signed {
                Signed::Well => Some(secret.as_str()),
                Signed::Badly => Some("another"),
                Signed::Not => None,
            };
            self.sim.delivers(&self.shop.hook("handle"), &body, secret).await == 200
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(Repeats::X)
    }

    fn trouble(&self, dice: &mut Dice) {
        self.sim.next(match dice.below(6) {
            0 => XStep::Limited(Some(1)),
            1 => XStep::CutAfter,
            2 => XStep::CutBefore,
            3 => XStep::Problem(503, "over capacity".into()),
            4 => XStep::EchoFirst(self.shop.hook("handle")),
            _ => XStep::Delay(dice.millis(800)),
        });
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = on_x(who);
        let sent = self.sim.sent().into_iter().filter(|s| s.to == to).map(|s| s.text).collect();
        Box::pin(async move { sent })
    }

    fn tells<'a>(&'a self, who: u64, _: &'a mut Dice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for sent in self.sim.sent().iter().filter(|s| s.to == on_x(who)) {
                let echo = self.sim.echo(&sent.id, &sent.to, &sent.text);
                let hook = self.shop.hook("handle");
                for _ in 0..2 {
                    let tell = || async { self.sim.says(&hook, &echo).await == 200 };
                    Repeats::X.until_taken(FASTER, tell).await;
                }
            }
        })
    }
}

/// A bot on Telegram.
pub struct Telegram {
    pub shop: Arc<Shop>,
    pub sim: TelegramSim,
    made: Made,
}

impl Telegram {
    #[must_use]
    pub fn new(shop: Arc<Shop>, sim: TelegramSim) -> Telegram {
        Telegram { shop, sim, made: Made::default() }
    }
}

fn on_telegram(who: u64) -> i64 {
    7_000_000_000 + i64::try_from(who).unwrap_or_default()
}

impl Way for Telegram {
    fn channel(&self) -> &'static str {
        "bot"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let update = self.made.once(text, || self.sim.message(on_telegram(who), &json!({ "text": text })));
            let secret = match signed {
                Signed::Well => Some(TelegramSim::SECRET),
                Signed::Badly => Some("another"),
                Signed::Not => None,
            };
            self.sim.says(&self.shop.hook("bot"), &update, secret).await.0 == 200
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(Repeats::TELEGRAM)
    }

    fn trouble(&self, dice: &mut Dice) {
        self.sim.next(match dice.below(5) {
            0 => TelegramStep::Error(429, "Too Many Requests: retry after 1".into(), Some(1)),
            1 => TelegramStep::CutBefore,
            2 => TelegramStep::Answer(502, "<html>Bad Gateway</html>".into()),
            3 => TelegramStep::Delay(dice.millis(800)),
            _ => TelegramStep::CutAfter,
        });
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = on_telegram(who).to_string();
        let mine = self.sim.sent().into_iter().filter(|s| s.body["chat_id"] == to.as_str());
        let sent = mine.filter_map(|s| s.body["text"].as_str().map(str::to_owned)).collect();
        Box::pin(async move { sent })
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
            let body = json!({ "type": "message", "from": format!("customer-{who}"), "text": text });
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
        self.sim.script(match dice.below(5) {
            0 => HookStep::Refuse { status: 429, retry_after: Some(1), body: String::new() },
            1 => HookStep::refuse(503),
            2 => HookStep::AcceptAndReset,
            3 => HookStep::AcceptAndAnswer { status: 500 },
            _ => HookStep::Delay(dice.millis(800), Box::new(HookStep::Accept)),
        });
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        assert_eq!(self.sim.violations(), Vec::<String>::new(), "the receiver would not have taken this");
        let to = format!("customer-{who}");
        let mine = self.sim.taken().into_iter().filter(|t| t.body["to"]["value"] == to.as_str());
        let sent = mine.filter_map(|t| t.body["content"]["text"].as_str().map(str::to_owned)).collect();
        Box::pin(async move { sent })
    }
}

/// Mail, through a mailbox and a mail server.
pub struct Mail {
    pub dovecot: tokio::sync::Mutex<Dovecot>,
    pub postfix: Postfix,
    /// The first mail of each customer, which their later ones answer.
    first: Made,
}

impl Mail {
    #[must_use]
    pub fn new(dovecot: Dovecot, postfix: Postfix) -> Mail {
        Mail { dovecot: tokio::sync::Mutex::new(dovecot), postfix, first: Made::default() }
    }
}

fn mailed(who: u64) -> String {
    format!("c{who}@customer.example")
}

impl Way for Mail {
    fn channel(&self) -> &'static str {
        "support-email"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, _: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let (from, id) = (mailed(who), sid(text));
            let first = self.first.once(&from, || Value::from(id.clone()));
            let answers = match first.as_str() {
                Some(first) if first != id => format!("In-Reply-To: <{first}@customer.example>\r\n"),
                _ => String::new(),
            };
            let mail = format!(
                "From: {from}\r\nTo: support@shop.example\r\nSubject: A question\r\nMessage-ID: <{id}@customer.example>\r\n\
                 {answers}Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\n{text}\r\n"
            );
            let dovecot = self.dovecot.lock().await;
            match dovecot.try_client().await {
                Ok(mut client) => client.append(&mail).await.is_ok(),
                Err(_) => false,
            }
        })
    }

    fn trouble(&self, _: &mut Dice) {
        // Its servers are killed instead.
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = mailed(who);
        let mails = self.postfix.mails("customers").into_iter().filter(|mail| field(mail, "to") == to);
        // What was quoted comes after what was written.
        let sent = mails.map(|mail| text_of(&mail).lines().next().unwrap_or_default().trim().to_owned()).collect();
        Box::pin(async move { sent })
    }

    fn keeps_order(&self) -> bool {
        false
    }

    fn signs(&self) -> bool {
        false
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
