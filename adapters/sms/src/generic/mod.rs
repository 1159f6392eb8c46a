//! A provider that is described instead of programmed: how to send, what its answers mean, and where a message or a report is
//! in what it calls. A regional gateway needs a configuration and no code.
//!
//! Templates stand in texts as `{name}`: `{text}`, `{to}`, `{to.digits}`, `{from}`, `{from.digits}`, `{reference}` (our token of
//! the attempt), `{status_url}` (where reports go), `{encoding}` (`gsm7` or `ucs2`), `{text.hex}` (UTF-16), and `{secret.NAME}`.
//! `{{` and `}}` are braces. Values are encoded for where they stand: a query, a form, or a JSON string.
//!
//! A path names a value in what comes: `field` of a form or query, `/a/0/b` of JSON (RFC 6901), and in answers also `text`, the
//! whole body.
//!
//! What the provider calls has a secret in its path, `/hooks/<channel>/<hook_secret>/in` and `…/status`.
//!
//! For rules a message carries `meta.provider` (`http`), `meta.keyword` and what `inbound.meta` names. Where the gateway delivers a
//! longer text part by part, `inbound.part_of`, `inbound.part` and `inbound.parts` let the daemon join it.

mod paths;
mod read;
mod template;

use crate::{
    Provider,
    kannel::{CALLBACK_URL, HOOK_SECRET, NUMBERS, check_hook, form_of, hook_address, refuse_content, short},
    number::{self, Form},
    request::{self, Source, behind_secret, below_secret, id_of},
};
use bytes::Bytes;
use http::Method;
use paths::Fields;
use std::collections::BTreeMap;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, ConfigProblem, RawRequest, Reply, Response, Secret, Settings,
    Verdict,
    classify::{self, Class},
    redact,
    settings::{Key, Shape, any},
    signature::to_base64,
};
use switchboard_envelope::{ChannelProfile, Inbound, Raw, ReceiptStatus, Send, Timestamp};
use template::{Place, Template, Values};

const SEND: &[Key] = &[
    Key::new("method", Shape::Choice(&["POST", "GET"]), "of the call").usual("POST"),
    Key::new("path", Shape::Text { check: path, pattern: "^/" }, "behind `base_url`").required("\"/send\""),
    Key::new("query", Shape::Pairs { check: template_of }, "parameters, with templates in their values"),
    Key::new("form", Shape::Pairs { check: template_of }, "a form as the body, with templates in its values"),
    Key::new("json", Shape::Text { check: json_of, pattern: "" }, "JSON as the body, with templates in its strings"),
    Key::new("headers", Shape::Pairs { check: template_of }, "headers, with templates in their values"),
    Key::new(
        "basic",
        Shape::Text { check: any, pattern: "" },
        "the user of basic authentication; its password is the secret `password`",
    ),
];
const ANSWER: &[Key] = &[
    Key::new("accepted", Shape::Words { check: status }, "statuses of a success; `200`, `201` and `202` by default"),
    Key::new("id", Shape::Text { check: any, pattern: "" }, "the path of the provider's id of the message"),
    Key::new("code", Shape::Text { check: any, pattern: "" }, "the path of the code that `outcomes` lists"),
    Key::new(
        "outcomes",
        Shape::Pairs { check: outcome },
        "what a code or a status means: `ok`, `retry`, `rate_limit`, `message`, `recipient`, `opted_out`, `config`",
    ),
];
const INBOUND: &[Key] = &[
    Key::new("from", Shape::Text { check: any, pattern: "" }, "the path of the sender").required("\"from\""),
    Key::new("text", Shape::Text { check: any, pattern: "" }, "the path of the text").required("\"text\""),
    Key::new("to", Shape::Text { check: any, pattern: "" }, "the path of our number"),
    Key::new("id", Shape::Text { check: any, pattern: "" }, "the path of the provider's id"),
    Key::new(
        "time",
        Shape::Text { check: any, pattern: "" },
        "the path of when it was said, in any form: where there is no id, it tells the same words said twice from a call repeated",
    ),
    Key::new(
        "once",
        Shape::Flag,
        "the gateway never repeats a call, so each one is a message: for a gateway that gives neither id nor time",
    )
    .usual("false"),
    Key::new(
        "part_of",
        Shape::Text { check: any, pattern: "" },
        "the path of what the parts of one longer text have in common, where the gateway does not join them",
    ),
    Key::new("part", Shape::Text { check: any, pattern: "" }, "the path of the number of a part, from 1"),
    Key::new("parts", Shape::Text { check: any, pattern: "" }, "the path of how many parts the text has"),
    Key::new(
        "list",
        Shape::Text { check: any, pattern: "" },
        "the path of a list of messages in one call; other paths are then within one of it",
    ),
    Key::new("meta", Shape::Pairs { check: any }, "names for rules, with the paths of what they show"),
    Key::new(
        "reply",
        Shape::Text { check: any, pattern: "" },
        "what every call is answered, where the provider wants certain words",
    ),
];
const REPORTS: &[Key] = &[
    Key::new("id", Shape::Text { check: any, pattern: "" }, "the path of the provider's id"),
    Key::new("reference", Shape::Text { check: any, pattern: "" }, "the path of `{reference}`, where it comes back"),
    Key::new("status", Shape::Text { check: any, pattern: "" }, "the path of the status").required("\"status\""),
    Key::new("code", Shape::Text { check: any, pattern: "" }, "the path of the code of a failure"),
    Key::new("list", Shape::Text { check: any, pattern: "" }, "the path of a list of reports in one call"),
    Key::new(
        "statuses",
        Shape::Pairs { check: report_status },
        "what a status means: `accepted`, `delivered`, `read` or `failed`",
    )
    .required("{ delivered = \"delivered\" }"),
];

const KEYS: &[Key] = &[
    Key::new("base_url", Shape::Url, "the provider's API").required("\"https://api.gateway.example\""),
    Key::new("from", Shape::Text { check: number::sender, pattern: "" }, "a number in E.164, a short code or a name")
        .required("\"+15005550006\""),
    Key::new("secrets", Shape::NamedSecrets, "what templates name as `{secret.NAME}`"),
    HOOK_SECRET,
    CALLBACK_URL,
    NUMBERS,
    Key::new("max_text", Shape::Count { least: 1, most: 15_300 }, "the longest text, in characters").usual("1530"),
    Key::new("send", Shape::Table(SEND), "how a text is sent")
        .required("{ path = \"/send\", form = { to = \"{to}\", text = \"{text}\" } }"),
    Key::new("answer", Shape::Table(ANSWER), "what the provider's answers mean"),
    Key::new("inbound", Shape::Table(INBOUND), "where a message is in a call to `…/in`"),
    Key::new("reports", Shape::Table(REPORTS), "where a delivery report is in a call to `…/status`"),
];

/// The declarative provider.
pub const PROVIDER: Provider = Provider {
    name: "http",
    about: "Text messages, through any gateway with an HTTP API, as the configuration describes it.",
    keys: KEYS,
    together: &[],
    either: &[],
    check,
    build: |settings| Ok(Box::new(Generic::new(settings)?)),
};

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_TEXT: u32 = 1_530;

fn path(text: &str) -> Result<String, String> {
    let holds = text.starts_with('/') && !text.contains(['?', '#', '{', ' ']) && !text.chars().any(char::is_control);
    if holds {
        any(text)
    } else {
        Err(format!("`{text}` is not a path: write it from its first slash, without a query"))
    }
}

fn template_of(text: &str) -> Result<String, String> {
    Template::parse(text).and_then(|_| any(text))
}

fn json_of(text: &str) -> Result<String, String> {
    let value = serde_json::from_str::<serde_json::Value>(text).map_err(|_| "is not JSON".to_owned())?;
    template::strings(&value).iter().try_for_each(|text| Template::parse(text).map(|_| ()))?;
    any(text)
}

fn status(text: &str) -> Result<String, String> {
    let is_status = text.parse::<u16>().is_ok_and(|status| (200..400).contains(&status));
    if is_status { any(text) } else { Err(format!("`{text}` is not the status of a success: write `200` to `399`")) }
}

fn class(word: &str) -> Option<Class> {
    Some(match word {
        "ok" => Class::Ok,
        "retry" => Class::Retry,
        "rate_limit" => Class::RateLimit,
        "message" => Class::PermanentMessage,
        "recipient" => Class::PermanentRecipient,
        "opted_out" => Class::OptedOut,
        "config" => Class::Config,
        _ => return None,
    })
}

fn outcome(text: &str) -> Result<String, String> {
    let words = "`ok`, `retry`, `rate_limit`, `message`, `recipient`, `opted_out` or `config`";
    class(text).map_or_else(|| Err(format!("`{text}` is not an outcome: write {words}")), |_| any(text))
}

fn receipt_status(word: &str) -> Option<ReceiptStatus> {
    Some(match word {
        "accepted" => ReceiptStatus::Accepted,
        "delivered" => ReceiptStatus::Delivered,
        "read" => ReceiptStatus::Read,
        "failed" => ReceiptStatus::Failed,
        _ => return None,
    })
}

fn report_status(text: &str) -> Result<String, String> {
    let words = "`accepted`, `delivered`, `read` or `failed`";
    receipt_status(text).map_or_else(|| Err(format!("`{text}` is not a status: write {words}")), |_| any(text))
}

fn check(settings: &Settings) -> Vec<ConfigProblem> {
    let mut problems = check_hook(settings, "the gateway");
    let bodies = [settings.has("send.form"), settings.has("send.json")];
    if bodies == [true, true] {
        problems.push(settings.problem("send.json", "is a second body: write `form` or `json`"));
    }
    if settings.text("send.method") == Some("GET") && bodies.contains(&true) {
        problems.push(settings.problem("send.method", "is `GET`, which has no body: write `query` instead"));
    }
    let known = settings.has("inbound.id") || settings.has("inbound.time") || settings.flag("inbound.once");
    if !known && ["inbound.from", "inbound.text"].into_iter().any(|key| settings.has(key)) {
        let write = "has neither `id` nor `time`: a second `yes` of one person is taken for a repeat of the first; write the path of \
                     one, or `once = true` if the gateway gives neither and never repeats a call";
        problems.push(settings.problem("inbound", write));
    }
    let parts = ["inbound.part_of", "inbound.part", "inbound.parts"];
    if parts.into_iter().any(|key| settings.has(key)) {
        let missing = parts.into_iter().filter(|key| !settings.has(key));
        problems
            .extend(missing.map(|key| settings.problem(key, "is missing: `part_of`, `part` and `parts` go together")));
    }
    let secrets = settings.named_secrets("secrets");
    for (key, text) in written(settings) {
        let Ok(template) = Template::parse(&text) else { continue };
        for name in template.secrets() {
            if !secrets.is_some_and(|secrets| secrets.contains_key(name)) {
                let write = format!("names the secret `{name}`: write `{name} = {{ env = \"NAME\" }}` under `secrets`");
                problems.push(settings.problem(key, write));
            }
        }
    }
    if settings.has("send.basic") && !secrets.is_some_and(|secrets| secrets.contains_key("password")) {
        let write = "needs its password: write `password = { env = \"NAME\" }` under `secrets`";
        problems.push(settings.problem("send.basic", write));
    }
    problems
}

/// Every template that is written, with its key.
fn written(settings: &Settings) -> Vec<(&'static str, String)> {
    let pairs = ["send.query", "send.form", "send.headers"].into_iter();
    let pairs = pairs.flat_map(|key| {
        let pairs = settings.pairs(key).into_iter().flatten();
        pairs.map(move |(_, text)| (key, text.clone())).collect::<Vec<_>>()
    });
    let json = settings.text("send.json").and_then(|text| serde_json::from_str(text).ok());
    let json = json.iter().flat_map(template::strings).map(|text| ("send.json", text));
    pairs.chain(json).collect()
}

#[derive(Clone, Default)]
struct Paths {
    from: Option<String>,
    to: Option<String>,
    text: Option<String>,
    id: Option<String>,
    time: Option<String>,
    part_of: Option<String>,
    part: Option<String>,
    parts: Option<String>,
    reference: Option<String>,
    status: Option<String>,
    code: Option<String>,
    list: Option<String>,
    meta: BTreeMap<String, String>,
}

impl Paths {
    fn of(settings: &Settings, table: &str) -> Paths {
        let path = |name: &str| settings.text(&format!("{table}.{name}")).map(str::to_owned);
        Paths {
            from: path("from"),
            to: path("to"),
            text: path("text"),
            id: path("id"),
            time: path("time"),
            part_of: path("part_of"),
            part: path("part"),
            parts: path("parts"),
            reference: path("reference"),
            status: path("status"),
            code: path("code"),
            list: path("list"),
            meta: settings.pairs(&format!("{table}.meta")).cloned().unwrap_or_default(),
        }
    }
}

/// A gateway as it is described.
struct Generic {
    channel: String,
    method: Method,
    url: String,
    query: Vec<(String, Template)>,
    form: Option<Vec<(String, Template)>>,
    json: Option<serde_json::Value>,
    headers: Vec<(&'static str, Template)>,
    authorization: Option<Secret>,
    secrets: BTreeMap<String, Secret>,
    from: String,
    numbers: Form,
    hook_secrets: Vec<Secret>,
    status: Option<Secret>,
    max_text: u32,
    accepted: Vec<u16>,
    answer: Paths,
    outcomes: BTreeMap<String, String>,
    inbound: Paths,
    reports: Paths,
    statuses: BTreeMap<String, String>,
    reply: String,
}

impl Generic {
    fn new(settings: &Settings) -> Result<Generic, Vec<ConfigProblem>> {
        let missing = |key: &str| vec![settings.problem(key, "is missing")];
        let text = |key: &str| settings.text(key).map(str::to_owned).ok_or_else(|| missing(key));
        let templates = |key: &str| -> Result<Vec<(String, Template)>, Vec<ConfigProblem>> {
            let pairs = settings.pairs(key).into_iter().flatten();
            let parsed = pairs.map(|(name, text)| Ok((name.clone(), Template::parse(text)?)));
            parsed.collect::<Result<_, String>>().map_err(|e| vec![settings.problem(key, e)])
        };
        let headers = templates("send.headers")?.into_iter().map(|(name, template)| {
            let known = HEADERS.iter().find(|known| known.eq_ignore_ascii_case(&name)).copied();
            known.map(|known| (known, template)).ok_or_else(|| {
                let all = HEADERS.join("`, `");
                vec![
                    settings
                        .problem("send.headers", format!("has `{name}`, which cannot be set: write one of `{all}`")),
                ]
            })
        });
        let secrets = settings.named_secrets("secrets").cloned().unwrap_or_default();
        let authorization = settings.text("send.basic").map(|user| {
            let password = secrets.get("password").map(Secret::expose).unwrap_or_default();
            Secret::new(format!("Basic {}", to_base64(format!("{user}:{password}").as_bytes())))
        });
        let accepted: Vec<u16> = settings.words("answer.accepted").iter().filter_map(|s| s.parse().ok()).collect();
        Ok(Generic {
            channel: settings.channel.clone(),
            method: if settings.text("send.method") == Some("GET") { Method::GET } else { Method::POST },
            url: format!("{}{}", text("base_url")?, text("send.path")?),
            query: templates("send.query")?,
            form: settings.has("send.form").then(|| templates("send.form")).transpose()?,
            json: settings.text("send.json").and_then(|text| serde_json::from_str(text).ok()),
            headers: headers.collect::<Result<_, _>>()?,
            authorization,
            secrets,
            from: text("from")?,
            numbers: form_of(settings),
            hook_secrets: settings.secrets("hook_secret").to_vec(),
            status: hook_address(settings).map(|hook| Secret::new(format!("{}/status", hook.expose()))),
            max_text: settings.count("max_text").and_then(|n| u32::try_from(n).ok()).unwrap_or(MAX_TEXT),
            accepted: if accepted.is_empty() { vec![200, 201, 202] } else { accepted },
            answer: Paths::of(settings, "answer"),
            outcomes: settings.pairs("answer.outcomes").cloned().unwrap_or_default(),
            inbound: Paths::of(settings, "inbound"),
            reports: Paths::of(settings, "reports"),
            statuses: settings.pairs("reports.statuses").cloned().unwrap_or_default(),
            reply: settings.text("inbound.reply").unwrap_or_default().to_owned(),
        })
    }

    fn answered(&self, send: &Send, response: &Response, now: Timestamp) -> AttemptOutcome {
        let status = response.status;
        let fields = Fields::of_answer(response);
        let at = |path: &Option<String>| path.as_deref().and_then(|path| fields.text(path));
        let code = at(&self.answer.code).map(|code| short(&code));
        let described = |code: &str| self.outcomes.get(code).and_then(|word| class(word));
        let by_code = code.as_deref().and_then(described);
        let succeeded = self.accepted.contains(&status);
        let class = match by_code.or_else(|| described(&status.to_string())) {
            // What is no success by its status is none by a code either.
            Some(Class::Ok) if !succeeded => Class::Ambiguous,
            Some(class) => class,
            // A code that is not described, in an answer whose codes are: nobody knows what it means.
            None if succeeded && code.is_some() && !self.outcomes.is_empty() => Class::Ambiguous,
            None if succeeded => Class::Ok,
            None => match status {
                429 => Class::RateLimit,
                401 | 403 | 407 | 301 | 307 | 308 => Class::Config,
                _ => Class::Ambiguous,
            },
        };
        let id = at(&self.answer.id).map(|id| id_of(&id));
        match (class, &self.answer.id, id) {
            (Class::Ok, Some(_), None) => {
                Class::Ambiguous.attempt(None, format!("the gateway answered {status} without the message's id"))
            }
            (Class::Ok, _, id) => {
                let mut outcome = AttemptOutcome::new(class.outcome());
                outcome.provider_ids = vec![id.unwrap_or_else(|| request::reference(send))];
                outcome
            }
            _ => {
                let shown = code.unwrap_or_else(|| status.to_string());
                let sentence = format!("the gateway answered {status}{}", sentence(class));
                let mut outcome = class.attempt(Some(&redact::text(&shown, &[])), sentence);
                if matches!(class, Class::RateLimit | Class::Retry) {
                    outcome.retry_after_ms = response.retry_after_ms(now);
                }
                outcome
            }
        }
    }
}

fn sentence(class: Class) -> &'static str {
    match class {
        Class::RateLimit => ": too many requests; nothing was sent",
        Class::Retry => ": it takes no message for the moment",
        Class::PermanentMessage => ": it will not take this text",
        Class::PermanentRecipient => ": it cannot reach this number",
        Class::OptedOut => ": the person has opted out there",
        Class::Config => ": it refuses us; check base_url, send and secrets",
        _ => "",
    }
}

/// The headers that a description may set: HTTP's own are the client's.
const HEADERS: &[&str] = &[
    "authorization",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "x-access-token",
    "x-request-id",
    "idempotency-key",
    "accept",
    "user-agent",
];

impl Adapter for Generic {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile {
            max_text: Some(self.max_text),
            max_attachments: Some(0),
            no_files: Some("the gateway carries text only".into()),
            proactive: true,
            ..ChannelProfile::new("sms", "phone")
        }
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        below_secret(&request.path, &self.hook_secrets).map_or_else(|verdict| verdict, |_| Verdict::Genuine)
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        self.verify(head)
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        self.webhook(&Source::of(request).at(behind_secret(&request.path)))
    }

    fn accepted(&self, _request: &RawRequest) -> Reply {
        Reply { status: 200, content_type: "text/plain", body: self.reply.clone() }
    }

    fn kept_path<'a>(&self, path: &'a str) -> &'a str {
        behind_secret(path)
    }

    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        self.webhook(&Source::again(raw, &body, received_at))
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        if let Some(refused) = refuse_content(&send.content) {
            return Err(refused);
        }
        let to = self.numbers.write(&send.to).map_err(|why| Class::PermanentRecipient.attempt(None, why))?;
        let status = self.status.as_ref();
        let values = Values {
            text: &send.content.text,
            to: &to,
            from: &self.numbers.spell(&self.from),
            reference: request::reference(send),
            status_url: status
                .map(|url| format!("{}?send={}&part={}&n={}", url.expose(), send.send, send.part, send.n))
                .unwrap_or_default(),
            secrets: &self.secrets,
        };
        let encoded = |pairs: &[(String, Template)]| {
            let mut form = form_urlencoded::Serializer::new(String::new());
            pairs.iter().for_each(|(name, template)| {
                form.append_pair(name, &template.filled(&values, Place::Plain));
            });
            form.finish()
        };
        let mark = if self.query.is_empty() { "" } else { "?" };
        let body = match (&self.form, &self.json) {
            (Some(form), _) => CallBody::Bytes("application/x-www-form-urlencoded", Bytes::from(encoded(form))),
            (None, Some(json)) => {
                CallBody::Bytes("application/json", Bytes::from(template::filled(json, &values).to_string()))
            }
            (None, None) => CallBody::Empty,
        };
        let headers = self.headers.iter().map(|(name, template)| (*name, template.filled(&values, Place::Header)));
        let basic = self.authorization.iter().map(|basic| ("authorization", basic.expose().to_owned()));
        Ok(Call {
            method: self.method.clone(),
            url: format!("{}{mark}{}", self.url, encoded(&self.query)),
            headers: headers.chain(basic).collect(),
            body,
            timeout: CALL_TIMEOUT,
        })
    }

    fn classify(&self, send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        match answer {
            Ok(response) => self.answered(send, response, now),
            Err(error) => classify::unanswered(error),
        }
    }
}

#[cfg(test)]
mod tests;
