//! Text messages through gateways of one's own, and by Vonage's newer API.

use super::{FASTER, NEXT_SECRET, Signed, Way, shuffled, vonage_signed};
use crate::{Dialect, Dice, GatewaySim, GatewayStep, Repeats, Shop, VonageSim, VonageStep, sid};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// How the channel `gateway` describes a gateway with an API of its own; `PASSWORD` stands for its token.
pub const DESCRIBED: &str = r#"
numbers = "digits"
[channels.gateway.secrets]
token = "PASSWORD"
[channels.gateway.send]
path = "/v1/messages"
headers = { Authorization = "Bearer {secret.token}" }
json = '{"messages": [{"to": "{to}", "from": "{from}", "body": "{text}", "ref": "{reference}"}], "callback": "{status_url}"}'
[channels.gateway.answer]
id = "/messages/0/id"
code = "/messages/0/status"
outcomes = { QUEUED = "ok", BUSY = "retry", BAD_NUMBER = "recipient", NO_CREDIT = "config" }
[channels.gateway.inbound]
list = "/results"
from = "from"
to = "to"
text = "/message/text"
id = "id"
meta = { operator = "/operator" }
reply = "OK"
[channels.gateway.reports]
list = "/reports"
id = "/id"
reference = "/ref"
status = "/status"
code = "/error"
statuses = { delivered = "delivered", lost = "failed" }
"#;

/// Jasmin, or a gateway that the configuration describes. Who knows the secret path of its hook is believed.
pub struct Gateway {
    pub shop: Arc<Shop>,
    pub sim: GatewaySim,
    pub dialect: Dialect,
    /// The secret of the path.
    pub secret: &'static str,
}

impl Gateway {
    fn number(&self, who: u64) -> String {
        let area = if self.dialect == Dialect::Jasmin { 301 } else { 302 };
        format!("1555{area}{who:04}")
    }
}

impl Way for Gateway {
    fn channel(&self) -> &'static str {
        if self.dialect == Dialect::Jasmin { "jasmin" } else { "gateway" }
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let secret = match signed {
                Signed::Well => self.secret,
                Signed::Badly => "another-secret-of-the-path-0000",
                Signed::Not => "in",
            };
            let hook = format!("{}/{secret}/in", self.shop.hook(self.channel()));
            self.sim.says(&hook, &sid(text), &self.number(who), text).await == (200, true)
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(if self.dialect == Dialect::Jasmin { Repeats::JASMIN } else { Repeats::GATEWAY })
    }

    fn trouble(&self, dice: &mut Dice) {
        let refused = match self.dialect {
            Dialect::Jasmin => GatewayStep::Answer(400, "Error \"Argument [to] has an invalid value\"".into()),
            Dialect::Json => GatewayStep::Answer(200, "{\"messages\":[{\"status\":\"BAD_NUMBER\"}]}".into()),
        };
        self.sim.next(match dice.below(7) {
            0 => GatewayStep::Limited([Some(1), None][dice.below(2) as usize]),
            1 => GatewayStep::CutAfter,
            2 => GatewayStep::CutBefore,
            3 => GatewayStep::ReportFirst,
            4 => GatewayStep::Answer(503, String::new()),
            5 => GatewayStep::Delay(dice.millis(800)),
            _ => refused,
        });
    }

    fn refuses_us(&self) -> &'static [&'static str] {
        let (status, said) = match self.dialect {
            Dialect::Jasmin => (403, "Error \"Authentication failure for username:switchboard\""),
            Dialect::Json => (200, "{\"messages\":[{\"status\":\"NO_CREDIT\"}]}"),
        };
        self.sim.next(GatewayStep::Answer(status, said.into()));
        if self.dialect == Dialect::Jasmin { &["jasmin"] } else { &["gateway"] }
    }

    fn leaves(&self, who: u64) -> Option<BoxFuture<'_, bool>> {
        Some(self.says(who, "STOP", Signed::Well))
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = self.number(who);
        let sent = self.sim.sent().into_iter().filter(|s| s.to == to).map(|s| s.text).collect();
        Box::pin(async move { sent })
    }

    fn tells<'a>(&'a self, who: u64, dice: &'a mut Dice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let words: &[&str] =
                if self.dialect == Dialect::Jasmin { &["ACCEPTD", "DELIVRD"] } else { &["nobody knows", "delivered"] };
            let to = self.number(who);
            for sent in self.sim.sent().iter().filter(|s| s.to == to) {
                for word in shuffled(words, dice) {
                    let tell = || async { self.sim.reports(sent, word).await == (200, true) };
                    Repeats::GATEWAY.until_taken(FASTER, tell).await;
                }
            }
        })
    }
}

/// Vonage's Messages API.
pub struct NewerVonage {
    pub shop: Arc<Shop>,
    pub sim: VonageSim,
}

fn british(who: u64) -> String {
    format!("44770092{who:04}")
}

impl Way for NewerVonage {
    fn channel(&self) -> &'static str {
        "newer"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, signed: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let hook = format!("{}/in", self.shop.hook("newer"));
            self.sim.deliver_message(&hook, &sid(text), &british(who), text, vonage_signed(signed)).await == 200
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        Some(Repeats::VONAGE)
    }

    fn trouble(&self, dice: &mut Dice) {
        self.sim.next(match dice.below(7) {
            0 => VonageStep::Limited([Some(1), None][dice.below(2) as usize]),
            5 => VonageStep::Answer(
                422,
                "{\"type\":\"https://developer.vonage.com/api-errors/messages#1240\",\"title\":\"Illegal Number\"}"
                    .into(),
            ),
            1 => VonageStep::CutAfter,
            2 => VonageStep::CutBefore,
            3 => VonageStep::Answer(502, "<html>Bad gateway</html>".into()),
            4 => VonageStep::ReceiptFirst,
            _ => VonageStep::Delay(dice.millis(800)),
        });
    }

    fn refuses_us(&self) -> &'static [&'static str] {
        self.sim.next(VonageStep::Answer(401, "{\"title\":\"Unauthorized\"}".into()));
        &["newer"]
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
                for word in shuffled(&["submitted", "delivered"], dice) {
                    let tell = || async { self.sim.receipt(sent, word, "0").await == 200 };
                    Repeats::VONAGE.until_taken(FASTER, tell).await;
                }
            }
        })
    }
}
