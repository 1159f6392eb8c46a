//! What a provider of text messages is to the rest of the program: a name, the keys that it takes, and a way to build it.

use crate::{PROVIDERS, channel::Channel, keywords};
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, ConfigProblem, Settings,
    settings::{Key, Shape, any},
};

/// Makes an adapter, or says everything that is wrong.
pub type Build = fn(&Settings) -> Result<Box<dyn Adapter>, Vec<ConfigProblem>>;

/// One provider, as the table in the crate's root lists it.
pub struct Provider {
    /// What the configuration calls it.
    pub name: &'static str,
    /// One line for editors.
    pub about: &'static str,
    /// The keys that it takes beside [`COMMON`] and those of every channel.
    pub keys: &'static [Key],
    /// Keys of which the one needs the other.
    pub together: &'static [[&'static str; 2]],
    /// Keys of which one must be written; the provider's own check says so in its words.
    pub either: &'static [&'static str],
    /// What is wrong between keys that are each well written. Runs also when some are not.
    pub check: fn(&Settings) -> Vec<ConfigProblem>,
    /// Builds the adapter out of settings that are complete.
    pub build: Build,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The longest text of our own that answers a keyword, in characters.
const MAX_REPLY: usize = 480;

/// What every provider takes.
pub const COMMON: &[Key] = &[
    Key::new("stop_words", Shape::Words { check: word }, "further words that opt out, beside STOP and its like"),
    Key::new("start_words", Shape::Words { check: word }, "further words that opt in again, beside START and UNSTOP"),
    Key::new("help_words", Shape::Words { check: word }, "further words that ask for help, beside HELP and INFO"),
    Key::new(
        "stop_reply",
        Shape::Text { check: reply, pattern: "" },
        "what confirms an opt-out, once, where the law wants it and the provider does not do it",
    ),
    Key::new("start_reply", Shape::Text { check: reply, pattern: "" }, "what confirms that somebody opted in again"),
    Key::new(
        "help_reply",
        Shape::Text { check: reply, pattern: "" },
        "what answers HELP: who you are, and how to stop",
    ),
    Key::new(
        "smart_encoding",
        Shape::Flag,
        "typographic characters that would need the longer encoding are replaced by plain ones",
    )
    .usual("false"),
    Key::new("max_segments", Shape::Count { least: 1, most: 100 }, "the most segments of one text"),
];

fn word(text: &str) -> Result<String, String> {
    let word = text.trim();
    if word.is_empty() || word.chars().count() > 32 || word.chars().any(char::is_control) {
        return Err(format!("`{text}` is not a word that somebody sends: write 1 to 32 characters"));
    }
    if keywords::read(word).is_some() {
        return Err(format!("`{word}` has its meaning everywhere: remove it"));
    }
    Ok(word.to_owned())
}

fn reply(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err("is empty: write a text, or remove the key".into());
    }
    if length > MAX_REPLY {
        return Err(format!("has {length} characters: write at most {MAX_REPLY}"));
    }
    any(text)
}

/// The provider of this name.
#[must_use]
pub fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.name == name).copied()
}

/// Everything that is wrong between the keys of a channel, whether or not the channel is complete.
#[must_use]
pub fn check(provider: &Provider, settings: &Settings) -> Vec<ConfigProblem> {
    let mut problems = (provider.check)(settings);
    for [one, other] in provider.together {
        if settings.has(one) != settings.has(other) {
            let missing = if settings.has(one) { other } else { one };
            problems.push(settings.problem(missing, format!("is missing: `{one}` and `{other}` go together")));
        }
    }
    let all = [("stop_words", "STOP"), ("start_words", "START"), ("help_words", "HELP")];
    for (i, (key, _)) in all.iter().enumerate() {
        for (other, meaning) in all.iter().take(i) {
            let twice = settings.words(key).iter().find(|word| {
                settings.words(other).iter().any(|known| keywords::folded(known) == keywords::folded(word))
            });
            if let Some(word) = twice {
                problems.push(settings.problem(key, format!("has `{word}`, which `{other}` lists as {meaning}")));
            }
        }
    }
    problems
}

/// The adapter of a channel at this provider.
///
/// # Errors
/// With every problem of the settings at once.
pub fn build(provider: &Provider, settings: &Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>> {
    let problems = check(provider, settings);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Arc::new(Channel::new((provider.build)(settings)?, settings)))
}

/// Whether the daemon can be called back at all, for providers that report to an address which we give them.
pub(crate) fn needs_public_url(settings: &Settings, why: &str) -> Option<ConfigProblem> {
    settings.public_url.is_none().then(|| {
        let problem = format!(
            "is missing: {why}, so `channels.{}` needs `[http] public_url = \"https://hooks.shop.example\"`",
            settings.channel
        );
        settings.problem("public_url", problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_adapter_sdk::settings::Value;

    #[test]
    fn no_key_and_no_name_stands_twice() {
        let mut names: Vec<_> = PROVIDERS.iter().map(|p| p.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROVIDERS.len());
        for p in PROVIDERS {
            let mut keys: Vec<_> = COMMON.iter().chain(p.keys).map(|key| key.name).collect();
            let count = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), count, "{}: a key stands twice, or is one that every provider has", p.name);
            assert_eq!(provider(p.name).map(|found| found.name), Some(p.name));
            for pair in p.together.iter().flatten().chain(p.either) {
                assert!(keys.contains(pair), "{}: {pair} is not one of its keys", p.name);
            }
            for key in p.keys {
                assert!(!key.about.ends_with('.'), "{}.{}", p.name, key.name);
            }
        }
    }

    #[test]
    fn a_word_means_one_thing() {
        let words = |w: &[&str]| Value::Words(w.iter().map(|w| (*w).to_owned()).collect());
        let settings = Settings::new("sms", Some("https://a.example"))
            .with("stop_words", words(&["ARRÊT"]))
            .with("help_words", words(&["AIDE", "arrêt"]));
        let problems = check(provider("twilio").unwrap(), &settings);
        assert!(problems.iter().any(|p| p.key == "help_words" && p.problem.contains("`arrêt`")), "{problems:?}");
        assert!(word("stop").is_err() && word(" ").is_err() && word("a\u{7}").is_err());
        assert_eq!(word(" Stopp "), Ok("Stopp".into()));
        assert!(reply("").is_err() && reply(&"x".repeat(481)).is_err() && reply("Ok").is_ok());
    }
}
