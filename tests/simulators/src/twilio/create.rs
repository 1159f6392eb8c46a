//! Creating a message: the checks that Twilio makes, then the message and its callbacks.

use super::{Sent, Shared, error, list};
use crate::{
    http::{Answer, Request},
    lock,
};
use std::sync::Arc;
use url::Url;

/// Fields that may stand once.
const SINGLE: [&str; 18] = [
    "To",
    "From",
    "MessagingServiceSid",
    "Body",
    "StatusCallback",
    "ValidityPeriod",
    "SmartEncoded",
    "ContentSid",
    "ContentVariables",
    "SendAt",
    "ScheduleType",
    "ShortenUrls",
    "SendAsMms",
    "RiskCheck",
    "ProvideFeedback",
    "Attempt",
    "MaxPrice",
    "ApplicationSid",
];
const REPEATED: [&str; 2] = ["MediaUrl", "PersistentAction"];
const BOOLEAN: [&str; 4] = ["SmartEncoded", "ShortenUrls", "SendAsMms", "ProvideFeedback"];

struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The message that the request asks for, or the refusal that Twilio would give.
pub(super) fn check(shared: &Shared, request: &Request) -> Result<Sent, Answer> {
    let fields = fields(shared, request)?;
    let config = &shared.config;
    let to = fields.get("To").ok_or_else(|| error(400, 21_604, "A 'To' phone number is required."))?;
    if !is_address(to) {
        return Err(error(400, 21_211, "Invalid 'To' Phone Number"));
    }
    let service = fields.get("MessagingServiceSid");
    let from = match (fields.get("From"), service) {
        (Some(from), _) if !config.numbers.iter().any(|number| number == from) => {
            return Err(error(400, 21_606, "The From phone number is not a valid sender of your account"));
        }
        (_, Some(service)) if !config.services.iter().any(|known| known == service) => {
            return Err(error(400, 21_703, "The Messaging Service does not exist or has no senders"));
        }
        (None, None) => return Err(error(400, 21_603, "A 'From' phone number is required.")),
        (Some(from), _) => from.to_owned(),
        (None, Some(_)) => config.numbers.first().cloned().unwrap_or_default(),
    };
    if to.starts_with("whatsapp:") != from.starts_with("whatsapp:") {
        return Err(error(400, 21_910, "Invalid From and To pair: they must be of the same channel"));
    }
    check_content(&fields)?;
    check_options(&fields)?;
    if lock(&shared.state).opted_out.contains(to) {
        return Err(error(400, 21_610, "Attempt to send to unsubscribed recipient"));
    }
    let status_callback = fields.get("StatusCallback").map(str::to_owned);
    let attempt = status_callback.as_deref().and_then(|url| Url::parse(url).ok());
    let ours = |name: &str| {
        attempt.as_ref()?.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    Ok(Sent {
        sid: String::new(),
        inbound: false,
        from,
        to: to.to_owned(),
        body: fields.get("Body").unwrap_or_default().to_owned(),
        media: fields.all("MediaUrl").map(str::to_owned).collect(),
        service: service.map(str::to_owned),
        status: if service.is_some() { "accepted" } else { "queued" }.into(),
        error_code: None,
        at: jiff::Timestamp::now(),
        send: ours("send"),
        part: ours("part").and_then(|part| part.parse().ok()),
        n: ours("n").and_then(|n| n.parse().ok()),
        status_callback,
    })
}

/// The form, once it holds nothing that Twilio does not know.
fn fields(shared: &Shared, request: &Request) -> Result<Fields, Answer> {
    let refuse = |what: String| {
        shared.violation(format!("send: {what}"));
        Err(error(400, 20_001, &what))
    };
    let content_type = request.header("content-type").unwrap_or_default();
    if content_type != "application/x-www-form-urlencoded" {
        return refuse(format!("the content type is `{content_type}`"));
    }
    if !request.query.is_empty() {
        return refuse("parameters in the query".into());
    }
    let is_utf8 = std::str::from_utf8(&request.body).is_ok();
    let fields = Fields(form_urlencoded::parse(&request.body).into_owned().collect());
    if !is_utf8 || fields.0.iter().any(|(_, value)| value.contains('\u{fffd}')) {
        return refuse("the form is not UTF-8".into());
    }
    for (name, _) in &fields.0 {
        let is_single = SINGLE.contains(&name.as_str());
        if !is_single && !REPEATED.contains(&name.as_str()) {
            return refuse(format!("the field {name} is not known"));
        }
        if is_single && fields.all(name).count() > 1 {
            return refuse(format!("the field {name} stands twice"));
        }
    }
    Ok(fields)
}

fn check_content(fields: &Fields) -> Result<(), Answer> {
    let body = fields.get("Body").unwrap_or_default();
    if body.chars().count() > 1600 {
        return Err(error(400, 21_617, "The concatenated message body exceeds the 1600 character limit"));
    }
    if body.is_empty() && fields.get("MediaUrl").is_none() && fields.get("ContentSid").is_none() {
        return Err(error(400, 21_619, "A text message body or media urls must be specified."));
    }
    if fields.all("MediaUrl").count() > 10 {
        return Err(error(400, 21_623, "Number of media files exceeds allowed limit"));
    }
    if !fields.all("MediaUrl").all(is_web) {
        return Err(error(400, 21_620, "Invalid media URL(s)"));
    }
    Ok(())
}

fn check_options(fields: &Fields) -> Result<(), Answer> {
    if !fields.get("StatusCallback").is_none_or(is_web) {
        return Err(error(400, 21_609, "Invalid 'StatusCallback' Url"));
    }
    let is_validity = |text: &str| text.parse::<u32>().is_ok_and(|seconds| (1..=36_000).contains(&seconds));
    if !fields.get("ValidityPeriod").is_none_or(is_validity) {
        return Err(error(400, 21_621, "Invalid validity period"));
    }
    if !BOOLEAN.iter().all(|name| fields.get(name).is_none_or(|value| matches!(value, "true" | "false"))) {
        return Err(error(400, 20_001, "Not a boolean"));
    }
    let is_scheduled = fields.get("SendAt").is_some() || fields.get("ScheduleType").is_some();
    if is_scheduled && fields.get("MessagingServiceSid").is_none() {
        return Err(error(400, 35_118, "A messaging service is required to schedule"));
    }
    Ok(())
}

fn is_web(text: &str) -> bool {
    // Twilio refuses hosts with an underscore.
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.contains('_'))
    })
}

fn is_address(text: &str) -> bool {
    let is_digits = |digits: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let number = text.strip_prefix("whatsapp:").unwrap_or(text);
    let is_number =
        number.strip_prefix('+').is_some_and(|digits| is_digits(digits, 7..=15) && !digits.starts_with('0'));
    let is_business_scoped = text.strip_prefix("whatsapp:").is_some_and(|id| id.contains('.'));
    is_number || is_business_scoped || is_digits(text, 3..=8)
}

/// Keeps the message and answers 201, with the callbacks before and after.
pub(super) async fn take(shared: &Arc<Shared>, mut message: Sent) -> Answer {
    message.sid = shared.new_sid(if message.media.is_empty() { "SM" } else { "MM" });
    let callbacks = {
        let mut state = lock(&shared.state);
        state.messages.push(message.clone());
        state.callbacks.clone()
    };
    shared.accepted.send_modify(|accepted| *accepted += 1);
    let answer = Answer::json(201, &list::json(shared, &message));
    let (before, after): (Vec<_>, Vec<_>) = callbacks.into_iter().partition(|callback| callback.before_answer);
    for callback in before {
        shared.call_back(&message, &callback).await;
    }
    if !after.is_empty() {
        let shared = shared.clone();
        tokio::spawn(async move {
            for callback in after {
                shared.call_back(&message, &callback).await;
            }
        });
    }
    answer
}
