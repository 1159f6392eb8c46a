use crate::{ACCOUNT_SID, AUTH_TOKEN, OUR_NUMBER, http};
use aws_lc_rs::digest;
use std::collections::BTreeMap;
use switchboard_simulators::twilio::sign;

/// A message id as the provider makes them, from any text that is unique in the test.
#[must_use]
pub fn sid(seed: &str) -> String {
    let hash = digest::digest(&digest::SHA256, seed.as_bytes());
    let hex: String = hash.as_ref().iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("SM{hex}")
}

/// An incoming SMS webhook, signed as Twilio signs it by the simulator's code, which is not the adapter's. What the simulator would
/// never send can be made of it.
#[derive(Clone, Debug)]
pub struct Sms {
    pub form: BTreeMap<String, String>,
    token: String,
    public_url: String,
}

/// How the daemon answered a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub status: u16,
    pub body: String,
    pub retry_after: Option<String>,
}

impl Sms {
    /// From a customer's number to ours, on the channel whose public address is `public_url`.
    #[must_use]
    pub fn new(public_url: &str, from: &str, text: &str, sid: &str) -> Sms {
        let fields = [
            ("MessageSid", sid),
            ("SmsSid", sid),
            ("SmsMessageSid", sid),
            ("AccountSid", ACCOUNT_SID),
            ("From", from),
            ("To", OUR_NUMBER),
            ("Body", text),
            ("NumMedia", "0"),
            ("NumSegments", "1"),
            ("SmsStatus", "received"),
            ("ApiVersion", "2010-04-01"),
            ("FromCity", ""),
            ("FromCountry", "US"),
        ];
        let form = fields.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Sms { form, token: AUTH_TOKEN.to_owned(), public_url: public_url.to_owned() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Sms {
        self.form.insert(name.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Sms {
        self.form.remove(name);
        self
    }

    /// Signed with another token than ours.
    #[must_use]
    pub fn signed_with(mut self, token: &str) -> Sms {
        self.token = token.to_owned();
        self
    }

    #[must_use]
    pub fn body(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.form).finish()
    }

    #[must_use]
    pub fn signature(&self) -> String {
        let form: Vec<(String, String)> = self.form.clone().into_iter().collect();
        sign(&self.token, &self.public_url, &form)
    }

    /// Posts it to the daemon at `url` (its local address; the signature is over the public one).
    ///
    /// # Errors
    /// When the daemon did not answer: the provider would deliver again.
    pub async fn deliver(&self, url: &str) -> Result<Delivered, reqwest::Error> {
        post_form(url, Some(&self.signature()), self.body()).await
    }

    /// The same without a signature.
    ///
    /// # Errors
    /// When the daemon did not answer.
    pub async fn deliver_unsigned(&self, url: &str) -> Result<Delivered, reqwest::Error> {
        post_form(url, None, self.body()).await
    }
}

/// Signs any body as a form that Twilio would send; a body that is no form signs the URL alone.
pub async fn post_form(url: &str, signature: Option<&str>, body: String) -> Result<Delivered, reqwest::Error> {
    let mut request = http().post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    if let Some(signature) = signature {
        request = request.header("x-twilio-signature", signature);
    }
    let response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
    Ok(Delivered { status, body: response.text().await?, retry_after })
}
