//! What a channel is configured with.

use crate::channel::Twitter;
use crate::json::is_number;
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, ConfigProblem, Settings,
    settings::{Key, Shape, any},
};

/// Where X's API is.
pub(crate) const BASE_URL: &str = "https://api.x.com";
/// What invites somebody to write in private, where nothing else is written.
pub(crate) const INVITATION: &str = "Please send us a direct message:";
/// The longest invitation, so that there is room for what it stands below.
const MAX_INVITATION: usize = 120;

/// What each limit is when nothing is written.
pub(crate) const USUAL_LIMITS: [(&str, u64); 4] =
    [("dm_15m", 15), ("dm_24h", 1_440), ("post_15m", 100), ("post_24h", 10_000)];

const LIMITS: &[Key] = &[
    Key::new("dm_15m", Shape::Count { least: 1, most: 100_000 }, "direct messages in 15 minutes").usual("15"),
    Key::new("dm_24h", Shape::Count { least: 1, most: 10_000_000 }, "direct messages in 24 hours").usual("1440"),
    Key::new("post_15m", Shape::Count { least: 1, most: 100_000 }, "public replies in 15 minutes").usual("100"),
    Key::new("post_24h", Shape::Count { least: 1, most: 10_000_000 }, "public replies in 24 hours").usual("10000"),
];

/// Every key that a channel takes beside those of every channel.
pub(crate) const KEYS: &[Key] = &[
    Key::new("user_id", Shape::Text { check: number, pattern: "^[0-9]{1,20}$" }, "the account's number, as webhooks name it")
        .required("\"1111111111111111111\""),
    Key::new("consumer_key", Shape::Text { check: word, pattern: "" }, "the app's API key, which signs calls with access_token"),
    Key::new(
        "consumer_secret",
        Shape::Secrets,
        "the app's API secret, which signs webhooks; the first signs our own calls and answers challenges",
    )
    .required("{ env = \"NAME\" }"),
    Key::new("access_token", Shape::Secret, "the account's token for the app (OAuth 1.0a)"),
    Key::new("access_token_secret", Shape::Secret, "its secret"),
    Key::new("client_id", Shape::Text { check: word, pattern: "" }, "the app's client id, for OAuth 2.0 in the place of access_token"),
    Key::new("client_secret", Shape::Secret, "its secret, where the app is a confidential client"),
    Key::new("refresh_token", Shape::Secret, "the account's first refresh token (OAuth 2.0); those that follow are kept in the log"),
    Key::new("base_url", Shape::Url, "another address of the API").usual(BASE_URL),
    Key::new(
        "public",
        Shape::Choice(&["reply", "invite", "read", "ignore"]),
        "what becomes of mentions: they are answered in public, answered with an invitation to a direct message, only read, or ignored",
    )
    .usual("reply"),
    Key::new(
        "invitation",
        Shape::Text { check: invitation, pattern: "" },
        "the words before the link to a direct message, with `public = \"invite\"`",
    )
    .usual(INVITATION),
    Key::new(
        "public_length",
        Shape::Count { least: 280, most: 25_000 },
        "what a public reply may weigh; more than 280 for accounts that may write longer posts",
    )
    .usual("280"),
    Key::new("activity", Shape::Flag, "likes, follows, reposts and the like become notes in conversations").usual("false"),
    Key::new(
        "quick_replies",
        Shape::Flag,
        "choices become buttons, by version 1.1 of the API; otherwise they are numbered lines",
    )
    .usual("false"),
    Key::new("webhook_id", Shape::Text { check: number, pattern: "^[0-9]{1,20}$" }, "the webhook's id at X, to ask for what it missed"),
    Key::new("bearer_token", Shape::Secret, "the app's own token, which asking for that needs"),
    Key::new("limits", Shape::Table(LIMITS), "X's limits, where the account's are others than documented"),
];

fn number(text: &str) -> Result<String, String> {
    if is_number(text) { any(text) } else { Err(format!("`{text}` is not an id of X's: write its digits")) }
}

fn word(text: &str) -> Result<String, String> {
    let is_word = (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_word { any(text) } else { Err("is not a key of X's: copy it from the app's page".into()) }
}

fn invitation(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err("is empty, or holds a control character: write a sentence that ends where the link follows".into());
    }
    let weight = crate::words::weight(text);
    if weight > MAX_INVITATION {
        return Err(format!("is too long: it weighs {weight}, and at most {MAX_INVITATION} leave room for an answer"));
    }
    Ok(text.trim().to_owned())
}

/// Everything that is wrong between the keys of a channel, whether or not the channel is complete.
pub(crate) fn check(settings: &Settings) -> Vec<ConfigProblem> {
    let mut problems = vec![];
    for key in
        ["consumer_secret", "access_token", "access_token_secret", "client_secret", "refresh_token", "bearer_token"]
    {
        if settings.secrets(key).iter().any(|secret| secret.expose().trim().is_empty()) {
            problems.push(settings.problem(key, "is empty"));
        }
    }
    let (first, second) = (settings.has("access_token"), settings.has("refresh_token"));
    if first && second {
        problems.push(settings.problem("refresh_token", "is written beside `access_token`: write one of them"));
    } else if !first && !second {
        let write = "is missing: write `access_token` and `access_token_secret`, or `client_id` and `refresh_token`";
        problems.push(settings.problem("access_token", write));
    }
    let mut together = |key: &str, needs: &str, holds: bool| {
        if settings.has(key) && holds && !settings.has(needs) {
            problems.push(settings.problem(needs, format!("is missing: `{key}` needs it")));
        }
    };
    together("access_token", "access_token_secret", true);
    together("access_token_secret", "access_token", second);
    together("access_token", "consumer_key", true);
    together("refresh_token", "client_id", !first);
    together("webhook_id", "bearer_token", true);
    together("bearer_token", "webhook_id", true);
    if settings.flag("quick_replies") && second {
        problems.push(settings.problem("quick_replies", "needs `access_token`: version 1.1 of the API takes no other"));
    }
    problems
}

/// The adapter of a channel, or every problem of its settings.
pub(crate) fn build(settings: &Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>> {
    let problems = check(settings);
    if problems.is_empty() { Ok(Arc::new(Twitter::new(settings)?)) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_adapter_sdk::{Secret, settings::Value};

    fn settings(keys: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::new("handle", None);
        for (key, value) in keys {
            let is_text = matches!(*key, "user_id" | "consumer_key" | "client_id" | "webhook_id");
            let text = || Value::Text((*value).to_owned());
            let secret = || Value::Secrets(vec![Secret::new(*value)]);
            settings.set(key, if is_text { text() } else { secret() });
        }
        settings
    }

    #[test]
    fn an_account_has_one_way_to_prove_itself_and_it_is_whole() {
        let base = [("user_id", "1"), ("consumer_secret", "s")];
        let with = |more: &[(&str, &str)]| {
            let problems = check(&settings(&[base.as_slice(), more].concat()));
            problems.iter().map(|p| p.key.clone()).collect::<Vec<_>>()
        };
        let first = [("consumer_key", "k"), ("access_token", "t"), ("access_token_secret", "s")];
        let second = [("client_id", "c"), ("refresh_token", "r")];
        assert!(with(&first).is_empty() && with(&second).is_empty());
        assert_eq!(with(&[]), ["access_token"]);
        assert_eq!(with(&[("access_token", "t")]), ["access_token_secret", "consumer_key"]);
        assert_eq!(with(&[("refresh_token", "t")]), ["client_id"]);
        assert_eq!(with(&[first.as_slice(), &second].concat()), ["refresh_token"]);
        assert_eq!(with(&[second.as_slice(), &[("webhook_id", "1")]].concat()), ["bearer_token"]);
        assert_eq!(with(&[second.as_slice(), &[("bearer_token", "b")]].concat()), ["webhook_id"]);
        assert_eq!(with(&[second.as_slice(), &[("client_secret", " ")]].concat()), ["client_secret"]);
        assert!(build(&settings(&[base.as_slice(), &first].concat())).is_ok());
        assert!(build(&settings(&base)).is_err());
    }

    #[test]
    fn keys_are_read_strictly() {
        assert!(number("1111111111111111111").is_ok() && word("xvz1evFS4wEEPTGEFPHBog").is_ok());
        assert!(number("deskbrand").is_err() && number("").is_err() && word("a b").is_err() && word("").is_err());
        assert_eq!(invitation(" Write to us: ").as_deref(), Ok("Write to us:"));
        assert!(invitation("").is_err() && invitation("a\u{7}").is_err() && invitation(&"a".repeat(121)).is_err());
        for (i, key) in KEYS.iter().enumerate() {
            assert!(
                !key.about.ends_with('.') && KEYS.iter().skip(i + 1).all(|other| other.name != key.name),
                "{}",
                key.name
            );
        }
        for ((name, usual), key) in USUAL_LIMITS.iter().zip(LIMITS) {
            assert_eq!((key.name, key.usual), (*name, usual.to_string().as_str()));
        }
    }
}
