//! Networks on which people write: Meta's three, X and Telegram.

use super::{FASTER, Made, NEXT_SECRET, OFFERED, PICTURED, Signed, Way, shuffled};
use crate::{
    Dice, MetaSent, MetaSigned, MetaSim, MetaStep, Repeats, Shop, TelegramSent, TelegramSim, TelegramStep, XSim, XStep,
    sid,
};
use futures_util::future::BoxFuture;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// The channels of Meta's products, which share one provider.
const OF_META: &[&str] = &["page", "insta", "wa"];

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
            let mut told = json!({ "message": { "mid": format!("m_{}", sid(text)), "text": text } });
            if text.ends_with(PICTURED) {
                told["message"]["attachments"] = json!([{ "type": "image", "payload": { "url": self.sim.picture() } }]);
            }
            let nothing = json!({ "nobody_knows": 1 });
            // One event of a batch is of a kind that nobody knows.
            let status = match self.product {
                Product::WhatsApp => {
                    let at = jiff::Timestamp::now().as_second().to_string();
                    let id = format!("wamid.{}", sid(text));
                    let mut said = json!({ "from": person, "id": id, "timestamp": at });
                    if text.ends_with(PICTURED) {
                        said["type"] = "image".into();
                        said["image"] = json!({ "id": "1003383421387257", "mime_type": "image/png", "caption": text });
                    } else {
                        said["type"] = "text".into();
                        said["text"] = json!({ "body": text });
                    }
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
        self.sim.next(match dice.below(10) {
            0 => MetaStep::Error(400, 4, None),
            1 => MetaStep::CutAfter,
            2 => MetaStep::CutBefore,
            3 => MetaStep::Answer(500, String::new()),
            4 => MetaStep::Limited([Some(1), None][dice.below(2) as usize]),
            5 => MetaStep::Error(400, 100, None),
            6 => MetaStep::ToldFirst(self.shop.hook(self.channel())),
            // The window is closed, as each of them says it; and the person cannot be reached.
            7 if self.product == Product::WhatsApp => MetaStep::Error(400, 131_047, None),
            7 => MetaStep::Error(400, 10, Some(2_018_278)),
            8 if self.product == Product::WhatsApp => MetaStep::Error(400, 131_021, None),
            8 => MetaStep::Error(400, 551, None),
            _ => MetaStep::Delay(dice.millis(800)),
        });
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = self.person(who);
        let sent = self.sim.sent().into_iter().filter(|s| s.to == to).map(|s| s.text().to_owned()).collect();
        Box::pin(async move { sent })
    }

    fn refuses_us(&self) -> &'static [&'static str] {
        self.sim.next(MetaStep::Error(401, 190, None));
        OF_META
    }

    fn rotates(&self) {
        self.sim.rotates(NEXT_SECRET);
    }

    fn shakes_hands(&self) -> Option<BoxFuture<'_, bool>> {
        Some(Box::pin(async move {
            let hook = self.shop.hook(self.channel());
            let (status, said) = self.sim.shakes_hands(&hook, &self.sim.config().verify_token).await;
            // While the daemon is down there is no answer, and never a wrong one.
            assert!(status != 200 || said == "1158201444", "{said}");
            status == 200
        }))
    }

    fn has_pictures(&self) -> bool {
        true
    }

    fn offered(&self, who: u64) -> Option<Vec<String>> {
        let to = self.person(who);
        let has_both = |sent: &MetaSent| OFFERED.iter().all(|id| sent.body.to_string().contains(&format!("\"{id}\"")));
        let all = self.sim.sent();
        Some(all.iter().filter(|s| s.to == to && has_both(s)).map(|s| s.text().to_owned()).collect())
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
    has_rotated: AtomicBool,
}

impl X {
    #[must_use]
    pub fn new(shop: Arc<Shop>, sim: XSim) -> X {
        X { shop, sim, made: Made::default(), has_rotated: AtomicBool::new(false) }
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
            let event = self.made.once(text, || {
                let mut said = json!({ "text": text, "entities": {} });
                if text.ends_with(PICTURED) {
                    // Its link is of the message's words at X, and of no customer's.
                    said["text"] = format!("{text} https://t.co/m1").into();
                    said["attachment"] = json!({ "type": "media",
                        "media": { "url": "https://t.co/m1", "type": "photo", "media_url_https": self.sim.picture() } });
                }
                self.sim.direct(&self.sim.id(), &on_x(who), said)
            });
            let newer = text.len().is_multiple_of(2);
            let body = if newer { self.sim.received(&[event]) } else { self.sim.received_before(&[event]) };
            let own = self.sim.secret();
            let secret = match signed {
                Signed::Well => Some(own.as_str()),
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
        // Not the 429 that says no time: for X that is the rest of its quarter of an hour.
        self.sim.next(match dice.below(8) {
            0 => XStep::Limited(Some(1)),
            1 => XStep::CutAfter,
            2 => XStep::CutBefore,
            3 => XStep::Problem(503, "over capacity".into()),
            4 => XStep::EchoFirst(self.shop.hook("handle")),
            5 => XStep::Problem(403, "You cannot send messages to this user.".into()),
            6 => XStep::Code(403, 226),
            _ => XStep::Delay(dice.millis(800)),
        });
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = on_x(who);
        let sent = self.sim.sent().into_iter().filter(|s| s.to == to).map(|s| s.text).collect();
        Box::pin(async move { sent })
    }

    fn refuses_us(&self) -> &'static [&'static str] {
        self.sim.next(XStep::Answer(401, vec![], "{\"title\":\"Unauthorized\"}".into()));
        &["handle"]
    }

    fn rotates(&self) {
        self.sim.rotates(NEXT_SECRET);
        self.has_rotated.store(true, Ordering::SeqCst);
    }

    fn shakes_hands(&self) -> Option<BoxFuture<'_, bool>> {
        if self.has_rotated.load(Ordering::SeqCst) {
            // The first secret of the list answers challenges, and the list is that of before for the whole day.
            return None;
        }
        Some(Box::pin(async move { self.sim.challenges(&self.shop.hook("handle"), "of-the-day").await.is_ok() }))
    }

    fn has_pictures(&self) -> bool {
        true
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
    has_rotated: AtomicBool,
}

impl Telegram {
    #[must_use]
    pub fn new(shop: Arc<Shop>, sim: TelegramSim) -> Telegram {
        Telegram { shop, sim, made: Made::default(), has_rotated: AtomicBool::new(false) }
    }

    fn secret(&self) -> &'static str {
        if self.has_rotated.load(Ordering::SeqCst) { NEXT_SECRET } else { TelegramSim::SECRET }
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
            let update = self.made.once(text, || {
                let photo = json!([{ "file_id": "AgADpicture", "width": 1280, "file_size": 33 }]);
                let said = match text.ends_with(PICTURED) {
                    true => json!({ "photo": photo, "caption": text }),
                    false => json!({ "text": text }),
                };
                self.sim.message(on_telegram(who), &said)
            });
            let secret = match signed {
                Signed::Well => Some(self.secret()),
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
        self.sim.next(match dice.below(8) {
            0 => TelegramStep::Error(429, "Too Many Requests: retry after 1".into(), Some(1)),
            4 => TelegramStep::Error(429, "Too Many Requests".into(), None),
            5 => TelegramStep::Error(403, "Forbidden: user is deactivated".into(), None),
            6 => TelegramStep::Error(400, "Bad Request: message is too long".into(), None),
            1 => TelegramStep::CutBefore,
            2 => TelegramStep::Answer(502, "<html>Bad Gateway</html>".into()),
            3 => TelegramStep::Delay(dice.millis(800)),
            _ => TelegramStep::CutAfter,
        });
    }

    fn refuses_us(&self) -> &'static [&'static str] {
        self.sim.next(TelegramStep::Error(401, "Unauthorized".into(), None));
        &["bot"]
    }

    fn rotates(&self) {
        self.has_rotated.store(true, Ordering::SeqCst);
    }

    fn has_pictures(&self) -> bool {
        true
    }

    fn offered(&self, who: u64) -> Option<Vec<String>> {
        let to = on_telegram(who).to_string();
        let rows = |s: &TelegramSent| {
            s.body["reply_markup"]["inline_keyboard"].as_array().is_some_and(|rows| rows.len() == OFFERED.len())
        };
        let all = self.sim.sent();
        let mine = all.iter().filter(|s| s.body["chat_id"] == to.as_str() && rows(s));
        Some(mine.filter_map(|s| s.body["text"].as_str().map(str::to_owned)).collect())
    }

    fn leaves(&self, who: u64) -> Option<BoxFuture<'_, bool>> {
        Some(Box::pin(async move {
            let update = self.made.once(&format!("{who} blocks the bot"), || self.sim.block(on_telegram(who)));
            self.sim.says(&self.shop.hook("bot"), &update, Some(self.secret())).await.0 == 200
        }))
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = on_telegram(who).to_string();
        let mine = self.sim.sent().into_iter().filter(|s| s.body["chat_id"] == to.as_str());
        let sent = mine.filter_map(|s| s.body["text"].as_str().map(str::to_owned)).collect();
        Box::pin(async move { sent })
    }
}
