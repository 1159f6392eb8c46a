//! Text messages through a real Kannel, with a centre behind it.

use super::{Signed, Way};
use crate::{Api, Dice, Fate, Gateway, Shop, SmppCentre, eventually, eventually_within, http, message};
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Kannel's processes, which are killed now and then.
pub struct Kannel {
    pub shop: Arc<Shop>,
    pub centre: SmppCentre,
    gateway: tokio::sync::Mutex<Gateway>,
    /// Held for reading while a text is on its way from the centre to the daemon, and for writing while Kannel is killed: a text
    /// that smsbox has in hand is lost with it, and then it is Kannel who lost it.
    on_its_way: tokio::sync::RwLock<()>,
    said: Mutex<BTreeSet<String>>,
}

impl Kannel {
    /// The channel's id.
    pub const CHANNEL: &str = "kannel";

    #[must_use]
    pub fn new(shop: Arc<Shop>, centre: SmppCentre, gateway: Gateway) -> Kannel {
        Kannel {
            shop,
            centre,
            gateway: tokio::sync::Mutex::new(gateway),
            on_its_way: tokio::sync::RwLock::new(()),
            said: Mutex::default(),
        }
    }

    /// Starts Kannel, which logs in at its centre.
    pub async fn up(&self) {
        self.up_again(&mut *self.gateway.lock().await).await;
    }

    async fn up_again(&self, gateway: &mut Gateway) {
        self.centre.opens();
        gateway.up().await;
        eventually("Kannel to log in at its centre", || async {
            if self.centre.sessions() > 0 { Ok(()) } else { Err("nobody is logged in") }
        })
        .await;
    }

    /// Ends bearerbox and smsbox as a power cut would, whatever the daemon has just asked of them, and starts them again. The
    /// centre hangs up first: Kannel itself would hand over again what it had not ticked off.
    pub async fn dies_and_comes_back(&self) {
        let _nobody_writes = self.on_its_way.write().await;
        // Whoever waits until it has handed everything over is done first: it hands nothing to a centre that hung up.
        let mut gateway = self.gateway.lock().await;
        self.centre.hang_up().await;
        gateway.down();
        self.up_again(&mut gateway).await;
    }

    async fn is_there(&self, number: &str, text: &str) -> Result<(), String> {
        let api: Api = self.shop.api();
        let get = |path: String| {
            let api = &api;
            async move { api.call(::http::Method::GET, &path, None, None).await.map_err(|e| format!("{e:?}")) }
        };
        let contact = format!("phone:{number}").replace('+', "%2B");
        let list = get(format!("/conversations?channel={}&contact={contact}&limit=200", Kannel::CHANNEL)).await?;
        for row in list.body["conversations"].as_array().into_iter().flatten() {
            let whole = get(format!("/conversations/{}", row["id"].as_str().unwrap_or_default())).await?;
            if message(&whole.body, text).is_some() {
                return Ok(());
            }
        }
        Err(format!("`{text}` is in none of {}", list.text))
    }
}

fn american(who: u64) -> String {
    format!("+1555303{who:04}")
}

impl Way for Kannel {
    fn channel(&self) -> &'static str {
        Kannel::CHANNEL
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let number = american(who);
            if signed != Signed::Well {
                let secret = if signed == Signed::Badly { "/another-secret-of-the-path-0000" } else { "" };
                let hook = format!("{}{secret}/in", self.shop.hook(Kannel::CHANNEL));
                let pairs = [("sender", number.as_str()), ("message", text), ("to", "24453"), ("id", text)];
                let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                let answer = http().get(format!("{hook}?{query}")).send().await;
                return answer.is_ok_and(|answer| answer.status().is_success());
            }
            let _on_its_way = self.on_its_way.read().await;
            let is_new = self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
            if is_new && !self.centre.say(&number, "24453", text) {
                self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(text);
                return false;
            }
            // Kannel calls the daemon again until it is answered, and is not asked to say what it said.
            eventually_within(Duration::from_secs(60), "Kannel to bring a text", || self.is_there(&number, text)).await;
            true
        })
    }

    fn trouble(&self, dice: &mut Dice) {
        // ESME_RTHROTTLED and ESME_RMSGQFUL: Kannel tries again by itself.
        self.centre.next(Fate::refused([0x58, 0x14][dice.below(2) as usize]));
    }

    fn leaves(&self, who: u64) -> Option<BoxFuture<'_, bool>> {
        Some(self.says(who, "STOP", Signed::Well))
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            self.gateway.lock().await.is_drained().await;
            let to = american(who);
            self.centre.submitted().iter().filter(|s| s.to == to).map(crate::Submitted::text).collect()
        })
    }

    fn keeps_order(&self) -> bool {
        // What Kannel finds in its store when it comes back it hands over in any order.
        false
    }
}
