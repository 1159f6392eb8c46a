//! How Telegram calls us, and how the bot calls Telegram (<https://core.telegram.org/bots/api#making-requests>).

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Call, CallBody, ConfigProblem, RawRequest, Secret, Settings, Verdict,
    signature::{equal, sha256},
};
use switchboard_envelope::{Attachment, FileProblem};

/// The header that carries the secret of setWebhook.
pub(crate) const HEADER: &str = "x-telegram-bot-api-secret-token";
const BASE_URL: &str = "https://api.telegram.org";
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest path of a file.
const MAX_PATH: usize = 512;

/// What a channel knows to tell Telegram from anybody else, and to be known by it.
#[derive(Clone, Debug)]
pub(crate) struct Bot {
    base: String,
    token: Secret,
    secrets: Vec<Secret>,
}

/// A chat or a person: a number, negative for groups.
pub(crate) fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_token(text: &str) -> bool {
    text.split_once(':').is_some_and(|(id, key)| is_id(id) && (8..=128).contains(&key.len()) && is_word(key))
}

/// A path that the Bot API gave to a file: nothing in it may lead elsewhere.
fn is_path(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    text.len() <= MAX_PATH && text.split('/').all(plain)
}

impl Bot {
    pub(crate) fn new(settings: &Settings) -> Result<Bot, Vec<ConfigProblem>> {
        let mut problems = vec![];
        let token = settings.secret("token").cloned().unwrap_or_else(|| Secret::new(""));
        if !is_token(token.expose()) {
            problems.push(
                settings.problem("token", "is no token of a bot: write it as BotFather gave it, as `123456:AbC…`"),
            );
        }
        let secrets = settings.secrets("secret_token").to_vec();
        let usable = |s: &Secret| (1..=256).contains(&s.expose().len()) && is_word(s.expose());
        if secrets.is_empty() || !secrets.iter().all(usable) {
            problems.push(settings.problem("secret_token", "must have 1 to 256 of A-Z, a-z, 0-9, `_` and `-`"));
        }
        let base = settings.text("base_url").unwrap_or(BASE_URL).trim_end_matches('/').to_owned();
        if problems.is_empty() { Ok(Bot { base, token, secrets }) } else { Err(problems) }
    }

    pub(crate) fn verify(&self, head: &RawRequest) -> Verdict {
        if head.method != Method::POST {
            return Verdict::Forged("Telegram delivers with POST".into());
        }
        let Some(said) = head.headers.get(HEADER) else { return Verdict::Missing };
        let said = sha256(said.as_bytes());
        // Each is compared, so that the time says nothing of which one it was.
        match self.secrets.iter().filter(|ours| equal(&sha256(ours.expose().as_bytes()), &said)).count() {
            0 => Verdict::Forged(format!("{HEADER} is not ours: call setWebhook with this secret_token")),
            _ => Verdict::Genuine,
        }
    }

    pub(crate) fn call(&self, method: &str, body: &Value) -> Call {
        Call {
            method: Method::POST,
            url: format!("{}/bot{}/{method}", self.base, self.token.expose()),
            headers: vec![],
            body: CallBody::Bytes("application/json", Bytes::from(body.to_string())),
            timeout: CALL_TIMEOUT,
        }
    }

    /// Where a file is asked about: kept with the message, so without the token.
    pub(crate) fn asked(&self, file_id: &str) -> Option<String> {
        let kept = (1..=400).contains(&file_id.len()) && is_word(file_id);
        kept.then(|| format!("{}/getFile?file_id={file_id}", self.base))
    }

    /// The call for an address that is ours, with the token put in.
    pub(crate) fn fetch(&self, url: &str) -> Option<Call> {
        let rest = url.strip_prefix(&self.base)?;
        let token = self.token.expose();
        let url = if let Some(id) = rest.strip_prefix("/getFile?file_id=").filter(|id| is_word(id)) {
            format!("{}/bot{token}/getFile?file_id={id}", self.base)
        } else {
            let path = rest.strip_prefix("/file/").filter(|path| is_path(path))?;
            format!("{}/file/bot{token}/{path}", self.base)
        };
        Some(Call { method: Method::GET, url, headers: vec![], body: CallBody::Empty, timeout: CALL_TIMEOUT })
    }

    /// Where the file is, from the answer to [`Bot::asked`]; `None` when what was fetched is the file.
    pub(crate) fn found(&self, asked: &Attachment, fetched: &Bytes) -> Option<Attachment> {
        asked.url.as_deref()?.strip_prefix(&self.base)?.strip_prefix("/getFile?")?;
        let told = serde_json::from_slice::<Value>(fetched).unwrap_or_default();
        let path = told.pointer("/result/file_path").and_then(Value::as_str).filter(|path| is_path(path));
        let mut file = Attachment { url: path.map(|path| format!("{}/file/{path}", self.base)), ..asked.clone() };
        if file.url.is_none() {
            let detail = "Telegram does not say where it is; bots get files of up to 20 MB".into();
            file.problem = Some(FileProblem { detail, again: false });
        }
        Some(file)
    }
}
