//! What Twilio calls: inbound messages and status callbacks, signed as it signs them.

use super::{Callback, Sent, Shared, TwilioSim};
use crate::{
    http::{Answer, call},
    lock,
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Twilio's own limit for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const FORM: &str = "application/x-www-form-urlencoded";

/// How a webhook is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    #[default]
    Good,
    /// With another token, such as the next one.
    With(String),
    /// A well-formed signature over something else.
    Bad,
    Missing,
}

/// A message from a customer.
#[derive(Clone, Debug)]
pub struct InboundSms {
    /// `None`: the simulator makes one. The same sid again is a duplicate.
    pub sid: Option<String>,
    pub from: String,
    pub to: String,
    pub body: String,
    /// Addresses with media types.
    pub media: Vec<(String, String)>,
    /// Further fields, known or not.
    pub extra: Vec<(String, String)>,
    pub signature: Signature,
    /// How often it is called if no answer is a 2xx.
    pub attempts: u32,
    pub between_attempts: Duration,
}

impl InboundSms {
    #[must_use]
    pub fn new(from: &str, body: &str) -> InboundSms {
        InboundSms {
            sid: None,
            from: from.into(),
            to: "+15005550006".into(),
            body: body.into(),
            media: vec![],
            extra: vec![],
            signature: Signature::Good,
            attempts: 1,
            between_attempts: Duration::from_millis(100),
        }
    }
}

/// What came of calling a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub sid: String,
    /// One status an attempt; 0 is no answer.
    pub statuses: Vec<u16>,
    /// The body of the last answer.
    pub answer: String,
}

impl Delivery {
    /// Whether the last attempt was taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.statuses.last().is_some_and(|status| (200..300).contains(status))
    }
}

impl TwilioSim {
    /// Sends a message to the webhook at this public address, until a 2xx or the last attempt. It is in the message list
    /// whatever comes of that.
    pub async fn inbound(&self, url: &str, message: InboundSms) -> Delivery {
        let sid = self.keep(&message);
        let form = self.shared.inbound_form(&sid, &message);
        let mut delivery = Delivery { sid, statuses: vec![], answer: String::new() };
        for attempt in 0..message.attempts.max(1) {
            if attempt > 0 {
                tokio::time::sleep(message.between_attempts).await;
            }
            let answer = self.shared.deliver(url, &form, &message.signature).await;
            delivery.statuses.push(answer.as_ref().map_or(0, |answer| answer.status));
            delivery.answer = answer.map(|a| String::from_utf8_lossy(&a.body).into_owned()).unwrap_or_default();
            if delivery.is_taken() {
                break;
            }
        }
        delivery
    }

    /// A message that no webhook told of: it is in the message list only. Gives its sid.
    pub fn missed(&self, message: &InboundSms, at: jiff::Timestamp) -> String {
        let sid = self.keep(message);
        let mut state = lock(&self.shared.state);
        state.messages.iter_mut().filter(|known| known.sid == sid).for_each(|known| known.at = at);
        sid
    }

    /// A message of ours that was written in Twilio's own tools: it is in the message list, and nobody asked for it here.
    pub fn wrote_elsewhere(&self, to: &str, body: &str, at: jiff::Timestamp) {
        let sid = self.shared.new_sid("SM");
        lock(&self.shared.state).messages.push(Sent {
            sid,
            inbound: false,
            from: self.shared.config.numbers.first().cloned().unwrap_or_default(),
            to: to.into(),
            body: body.into(),
            media: vec![],
            service: None,
            status: "delivered".into(),
            error_code: None,
            at,
            status_callback: None,
            send: None,
            part: None,
            n: None,
        });
    }

    /// Calls back the status of a message that was taken; the daemon's answer, 0 for none.
    pub async fn status(&self, sid: &str, callback: &Callback) -> u16 {
        let message = lock(&self.shared.state).messages.iter().find(|message| message.sid == sid).cloned();
        match message {
            Some(message) => self.shared.call_back(&message, callback).await,
            None => 0,
        }
    }

    fn keep(&self, message: &InboundSms) -> String {
        let prefix = if message.media.is_empty() { "SM" } else { "MM" };
        let sid = message.sid.clone().unwrap_or_else(|| self.shared.new_sid(prefix));
        let mut state = lock(&self.shared.state);
        if !state.messages.iter().any(|known| known.sid == sid) {
            state.messages.push(Sent {
                sid: sid.clone(),
                inbound: true,
                from: message.from.clone(),
                to: message.to.clone(),
                body: message.body.clone(),
                media: message.media.iter().map(|(url, _)| url.clone()).collect(),
                service: None,
                status: "received".into(),
                error_code: None,
                at: jiff::Timestamp::now(),
                status_callback: None,
                send: None,
                part: None,
                n: None,
            });
        }
        sid
    }
}

impl Shared {
    fn inbound_form(&self, sid: &str, message: &InboundSms) -> Vec<(String, String)> {
        let media = message.media.len().to_string();
        let fixed = [
            ("ToCountry", "US"),
            ("SmsMessageSid", sid),
            ("NumMedia", media.as_str()),
            ("SmsSid", sid),
            ("SmsStatus", "received"),
            ("FromCity", ""),
            ("Body", message.body.as_str()),
            ("FromCountry", "US"),
            ("To", message.to.as_str()),
            ("NumSegments", "1"),
            ("MessageSid", sid),
            ("AccountSid", self.config.account_sid.as_str()),
            ("From", message.from.as_str()),
            ("ApiVersion", "2010-04-01"),
        ];
        let mut form: Vec<_> = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (i, (url, mime)) in message.media.iter().enumerate() {
            form.push((format!("MediaUrl{i}"), url.clone()));
            form.push((format!("MediaContentType{i}"), mime.clone()));
        }
        form.extend(message.extra.iter().cloned());
        form
    }

    /// Sends a status callback of this message, if it asked for any, and notes the answer.
    pub(super) async fn call_back(&self, message: &Sent, callback: &Callback) -> u16 {
        let Some(url) = message.status_callback.as_deref() else { return 0 };
        tokio::time::sleep(callback.delay).await;
        let status = callback.status.as_str();
        let code = callback.error_code.map(|code| code.to_string());
        {
            let mut state = lock(&self.state);
            for known in state.messages.iter_mut().filter(|known| known.sid == message.sid) {
                (known.status, known.error_code) = (callback.status.clone(), callback.error_code);
            }
        }
        let fields = [
            ("SmsSid", Some(message.sid.as_str())),
            ("SmsStatus", Some(status)),
            ("MessageStatus", Some(status)),
            ("To", Some(message.to.as_str())),
            ("From", Some(message.from.as_str())),
            ("MessageSid", Some(message.sid.as_str())),
            ("AccountSid", Some(self.config.account_sid.as_str())),
            ("ApiVersion", Some("2010-04-01")),
            ("ErrorCode", code.as_deref()),
        ];
        let form: Vec<_> =
            fields.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned()))).collect();
        let answer = self.deliver(url, &form, &Signature::Good).await.map_or(0, |answer| answer.status);
        lock(&self.state).callback_answers.push(answer);
        self.called_back.send_modify(|count| *count += 1);
        answer
    }

    async fn deliver(&self, url: &str, form: &[(String, String)], signature: &Signature) -> Option<Answer> {
        let token = match signature {
            Signature::With(token) => token.as_str(),
            _ => self.config.auth_token.as_str(),
        };
        let signed = match signature {
            Signature::Missing => None,
            Signature::Bad => Some(sign(token, &format!("{url}x"), form)),
            Signature::Good | Signature::With(_) => Some(sign(token, url, form)),
        };
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut headers = vec![("content-type", FORM), ("user-agent", "TwilioProxy/1.1")];
        headers.extend(signed.as_deref().map(|signed| ("x-twilio-signature", signed)));
        let answer = call("POST", &self.local(url), &headers, body.as_bytes(), ANSWER_WITHIN).await.ok()?;
        // Twilio reads the answer as TwiML and would send a message that it holds.
        if (200..300).contains(&answer.status) && answer.body.windows(8).any(|part| part == b"<Message") {
            self.violation("a webhook was answered with a message");
        }
        Some(answer)
    }

    fn local(&self, url: &str) -> String {
        let state = lock(&self.state);
        let routed = state
            .routes
            .iter()
            .find_map(|(public, local)| Some(format!("{local}{}", url.strip_prefix(public.as_str())?)));
        routed.unwrap_or_else(|| url.to_owned())
    }
}

/// The signature over the address and the form: every name with its distinct values, all sorted.
#[must_use]
pub fn sign(token: &str, url: &str, form: &[(String, String)]) -> String {
    let mut values = BTreeMap::<&str, Vec<&str>>::new();
    for (name, value) in form {
        values.entry(name).or_default().push(value);
    }
    let mut data = url.split('#').next().unwrap_or_default().to_owned();
    for (name, mut values) in values {
        values.sort_unstable();
        values.dedup();
        for value in values {
            data.push_str(name);
            data.push_str(value);
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    STANDARD.encode(hmac::sign(&key, data.as_bytes()))
}

/// `POST /sim/inbound` with a form of `url`, `from`, `body` and optionally `to`: a person plays the customer.
pub(super) async fn by_hand(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let (Some(url), Some(from), Some(text)) = (form.get("url"), form.get("from"), form.get("body")) else {
        return Answer::new(400, "text/plain", "write a form with url, from and body\n");
    };
    let mut message = InboundSms::new(from, text);
    message.to = form.get("to").or(shared.config.numbers.first()).cloned().unwrap_or(message.to);
    let delivery = TwilioSim { shared: shared.clone() }.inbound(url, message).await;
    Answer::json(
        200,
        &serde_json::json!({ "sid": delivery.sid, "statuses": delivery.statuses, "answer": delivery.answer }),
    )
}
