//! The channel as the daemon sees it.

use crate::apart;
use crate::config::{BASE_URL, INVITATION};
use crate::hook::Hook;
use crate::json::is_number;
use crate::limits::Limits;
use crate::oauth1::Keys;
use crate::read::{self, ADDRESS, Source};
use crate::tokens::Tokens;
use crate::{list, send, upload};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Before, Call, CallBody, ConfigProblem, Kept, Learned, Memory, Polled, RawRequest,
    Reply, Secret, Settings, Upload, Verdict, client::leads_inside,
};
use switchboard_envelope::{Address, Attachment, ChannelProfile, Content, Inbound, Raw, Reconcile, Send, Timestamp};
use url::Url;

/// The most characters of a direct message.
pub(crate) const MAX_DIRECT: u32 = 10_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// So long an attempt without an answer is looked for in X's lists.
const RECONCILE_MS: i64 = 30_000;
/// X's limits are small: what is released beyond them would only wait.
const IN_FLIGHT: u32 = 16;
const MOST_CHOICES: u32 = 20;
const LONGEST_LABEL: u32 = 36;
/// The most files of a post; of a direct message it is one.
const MOST_FILES: u32 = 4;

/// What becomes of what is said in public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Public {
    Reply,
    /// Answers carry an invitation to go on in private.
    Invite,
    /// It is shown, and nothing of ours is said in public.
    Read,
    Ignore,
}

/// How calls for the account are proved.
#[derive(Debug)]
pub(crate) enum Proof {
    First(Keys),
    Second(Tokens),
}

/// An account on X.
#[derive(Debug)]
pub(crate) struct Twitter {
    pub channel: String,
    pub user_id: String,
    pub public: Public,
    pub invitation: String,
    pub public_length: usize,
    pub activity: bool,
    pub quick_replies: bool,
    /// The webhook's id, and the app's own token.
    pub replay: Option<(String, Secret)>,
    hook: Hook,
    base: Url,
    /// The base without a slash at its end.
    root: String,
    proof: Proof,
    limits: Limits,
}

impl Twitter {
    pub(crate) fn new(settings: &Settings) -> Result<Twitter, Vec<ConfigProblem>> {
        let missing = |key: &str| vec![settings.problem(key, "is missing")];
        let secret = |key: &str| settings.secret(key).cloned().ok_or_else(|| missing(key));
        let text = |key: &str| settings.text(key).map(str::to_owned).ok_or_else(|| missing(key));
        let base = settings.text("base_url").unwrap_or(BASE_URL);
        let root = base.trim_end_matches('/').to_owned();
        let base = Url::parse(base).map_err(|_| vec![settings.problem("base_url", "is no address")])?;
        let proof = if settings.has("access_token") {
            Proof::First(Keys {
                consumer_key: text("consumer_key")?,
                consumer_secret: secret("consumer_secret")?,
                token: secret("access_token")?,
                token_secret: secret("access_token_secret")?,
                made: Arc::default(),
            })
        } else {
            let client_secret = settings.secret("client_secret").cloned();
            let tokens = Tokens::new(&root, text("client_id")?, client_secret, secret("refresh_token")?);
            Proof::Second(tokens.ok_or_else(|| vec![settings.problem("refresh_token", "cannot be used")])?)
        };
        Ok(Twitter {
            channel: settings.channel.clone(),
            user_id: text("user_id")?,
            public: match settings.text("public") {
                Some("invite") => Public::Invite,
                Some("read") => Public::Read,
                Some("ignore") => Public::Ignore,
                _ => Public::Reply,
            },
            invitation: settings.text("invitation").unwrap_or(INVITATION).to_owned(),
            public_length: settings.count("public_length").and_then(|n| usize::try_from(n).ok()).unwrap_or(280),
            activity: settings.flag("activity"),
            quick_replies: settings.flag("quick_replies"),
            replay: settings.text("webhook_id").map(str::to_owned).zip(settings.secret("bearer_token").cloned()),
            hook: Hook::new(settings.secrets("consumer_secret")),
            limits: Limits::new(settings),
            base,
            root,
            proof,
        })
    }

    /// A call below the API's address.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Call {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let url = format!("{}{path}?{query}", self.root);
        Call { method: Method::GET, url, headers: vec![], body: CallBody::Empty, timeout: CALL_TIMEOUT }
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Call {
        let body = CallBody::Bytes("application/json", Bytes::from(body.to_string()));
        Call { method: Method::POST, url: format!("{}{path}", self.root), headers: vec![], body, timeout: CALL_TIMEOUT }
    }

    /// Whether our credentials may be shown to an address: to the API's own, and to X's hosts that keep private files.
    fn is_trusted(&self, url: &Url) -> bool {
        let is_host = |host: &str| {
            ["x.com", "twitter.com"]
                .iter()
                .any(|own| host.strip_suffix(own).is_some_and(|before| before.is_empty() || before.ends_with('.')))
        };
        let is_x = url.scheme() == "https" && url.port().is_none() && url.host_str().is_some_and(is_host);
        url.origin() == self.base.origin() || is_x
    }
}

impl Adapter for Twitter {
    fn profile(&self) -> ChannelProfile {
        let (choices, choice_label) = if self.quick_replies { (MOST_CHOICES, LONGEST_LABEL) } else { (0, 0) };
        ChannelProfile {
            max_text: Some(MAX_DIRECT),
            max_attachments: Some(MOST_FILES),
            proactive: true,
            reconciles: true,
            reconcile_ms: RECONCILE_MS,
            choices,
            choice_label,
            in_flight: IN_FLIGHT,
            ..ChannelProfile::new("twitter", ADDRESS)
        }
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        self.hook.screen(head)
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        self.hook.verify(request)
    }

    fn accounts(&self) -> Vec<String> {
        vec![apart::account(&self.user_id), apart::account("")]
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

    fn typing(&self, request: &RawRequest) -> Vec<String> {
        read::typing(self, &request.body)
    }

    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        if raw.meta.get("source").is_some_and(|source| source == list::SOURCE) {
            return list::again(self, &body, received_at);
        }
        read::delivery(self, &Source { body: &body, received_at })
    }

    fn reaches(&self, to: &Address) -> Result<(), String> {
        if is_number(&to.value) { Ok(()) } else { Err("this is no account's number on X: write its digits".into()) }
    }

    fn fits(&self, thread: &str, content: &Content) -> Result<(), String> {
        send::fits(self, thread, content)
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        send::encode(self, send)
    }

    fn upload(&self, send: &Send, file: &Attachment) -> Option<Box<dyn Upload + '_>> {
        let handing = upload::Handing::new(self, &send.thread, file)?;
        Some(Box::new(handing))
    }

    fn classify(&self, send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        send::classify(send, answer, now)
    }

    fn reconcile(&self, attempt: &Reconcile) -> Option<Call> {
        list::ask(self, attempt)
    }

    fn reconciled(&self, attempt: &Reconcile, answer: &Answer) -> Option<AttemptOutcome> {
        list::proof(self, attempt, answer)
    }

    fn poll(&self, cursor: Option<&str>, now: Timestamp) -> Option<Call> {
        Some(list::poll(self, cursor, now))
    }

    fn polled(&self, cursor: Option<&str>, answer: &Answer, now: Timestamp) -> Result<Polled, String> {
        list::polled(self, cursor, answer, now)
    }

    fn fetch(&self, attachment: &Attachment) -> Option<Call> {
        let url = Url::parse(attachment.url.as_deref()?).ok()?;
        // Only the operator's own choice may lead into the network that we stand in.
        let is_public = url.scheme() == "https" && !leads_inside(&url);
        let is_plain = url.username().is_empty() && url.password().is_none();
        let call = Call {
            method: Method::GET,
            url: url.to_string(),
            headers: vec![],
            body: CallBody::Empty,
            timeout: CALL_TIMEOUT,
        };
        ((url.origin() == self.base.origin() || is_public) && is_plain).then_some(call)
    }

    fn memory(&self) -> Option<&dyn Memory> {
        Some(self)
    }
}

impl Memory for Twitter {
    fn before(&self, kept: &Kept, call: &Call, now: Timestamp) -> Before {
        let needs_token = !is_proved(call) && Url::parse(&call.url).is_ok_and(|url| self.is_trusted(&url));
        if let Proof::Second(tokens) = &self.proof
            && needs_token
            && let Some(renewal) = tokens.renewal(kept, now)
        {
            return Before::Renew(Box::new(renewal));
        }
        self.limits.before(kept.counts.as_deref(), call, now)
    }

    fn renewed(&self, kept: &Kept, answer: &Answer, now: Timestamp) -> Result<String, Box<Answer>> {
        match &self.proof {
            Proof::Second(tokens) => tokens.renewed(kept, answer, now),
            Proof::First(_) => Err(Box::new(answer.clone())),
        }
    }

    fn authorized(&self, mut call: Call, kept: &Kept, now: Timestamp) -> Call {
        if is_proved(&call) || !Url::parse(&call.url).is_ok_and(|url| self.is_trusted(&url)) {
            return call;
        }
        let header = match &self.proof {
            Proof::First(keys) => keys.header(&call, now),
            Proof::Second(tokens) => tokens.header(kept),
        };
        call.headers.extend(header.map(|header| ("authorization", header)));
        call
    }

    fn learned(&self, kept: &Kept, call: &Call, answer: &Answer, now: Timestamp) -> Learned {
        let is_refused = matches!(answer, Ok(response) if response.status == 401);
        Learned {
            counts: self.limits.learned(kept.counts.as_deref(), call, answer, now),
            refused: is_refused && !is_proved(call) && matches!(self.proof, Proof::Second(_)),
        }
    }
}

/// Whether a call brings its own proof.
fn is_proved(call: &Call) -> bool {
    call.headers.iter().any(|(name, _)| *name == "authorization")
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
