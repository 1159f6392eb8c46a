use crate::origin::{Origin, OriginPolicy};
use serde::{Deserialize, Serialize};
use std::fmt;
use switchboard_adapter_sdk::Secret;

/// Where the button sits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    #[default]
    Right,
    Left,
}

/// The table `[channels.<id>]` of kind `webchat` as it is written, without the keys that every channel takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebchatConfig {
    /// Pages that may hold the widget, as scheme, host and port. The demo page needs no entry.
    pub origins: Vec<String>,
    /// The panel's heading. Default: a phrase in the visitor's language.
    pub title: Option<String>,
    /// What stands above an empty conversation. Default: a phrase in the visitor's language.
    pub greeting: Option<String>,
    /// The accent colour, `#rrggbb`.
    pub color: String,
    pub side: Side,
    /// The widget's language (`en`, `de`, `fr`, `es`, `pl`). Default: the page's, then the browser's.
    pub language: Option<String>,
    /// Serve the demo page at `/chat/<channel>`.
    pub demo: bool,
    /// Visitors may send files.
    pub uploads: bool,
    /// Load of one chat on an agent, in capacity units.
    pub cost: f64,
    /// How long a browser is known again, in days.
    pub token_days: u32,
    pub limits: Limits,
    /// Secrets with which the shop's server vouches for its users; any of them matches. Read from `identity_secret` by the
    /// daemon, which resolves secrets.
    #[serde(skip)]
    pub identity_secrets: Vec<Secret>,
}

/// What one visitor, and all of them, may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Frames a second from one visitor.
    pub rate: u32,
    /// Frames at once after a pause.
    pub burst: u32,
    /// Characters of one message.
    pub text: u32,
    /// Bytes of one file.
    pub file_bytes: u32,
    /// Sockets and waiting polls of one visitor.
    pub sockets_per_visitor: u32,
    /// Sockets and waiting polls of this channel in one process.
    pub sockets: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rate: 10,
            burst: 20,
            text: 4000,
            file_bytes: 10 * 1024 * 1024,
            sockets_per_visitor: 8,
            sockets: 20_000,
        }
    }
}

impl Default for WebchatConfig {
    fn default() -> WebchatConfig {
        WebchatConfig {
            origins: vec![],
            title: None,
            greeting: None,
            color: "#0b57d0".into(),
            side: Side::Right,
            language: None,
            demo: true,
            uploads: true,
            cost: 1.0,
            token_days: 365,
            limits: Limits::default(),
            identity_secrets: vec![],
        }
    }
}

/// What is wrong with one key of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Below the channel's table, such as `origins.0`.
    pub key: String,
    pub problem: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// The validated table.
#[derive(Clone, Debug)]
pub struct Settings {
    pub channel: String,
    pub origins: OriginPolicy,
    pub title: Option<String>,
    pub greeting: Option<String>,
    pub color: String,
    pub side: Side,
    pub language: Option<String>,
    pub demo: bool,
    pub uploads: bool,
    /// Hundredths of a capacity unit.
    pub cost: u32,
    pub token_max_age_ms: i64,
    pub limits: Limits,
    pub identity_secrets: Vec<Secret>,
}

/// The languages that the widget speaks.
const LANGUAGES: [&str; 5] = ["en", "de", "fr", "es", "pl"];

impl WebchatConfig {
    /// Checks every key. `own` is where the daemon itself is reached, so that its demo page may talk to it.
    ///
    /// # Errors
    /// With all problems at once.
    pub fn validate(self, channel: &str, own: &[Origin]) -> Result<Settings, Vec<ConfigProblem>> {
        let mut problems = vec![];
        let allowed = self.origins(&mut problems);
        self.look(&mut problems);
        self.ranges(&mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        // From 0 to 100: checked above.
        let cost = (self.cost * 100.0).round() as u32;
        Ok(Settings {
            channel: channel.into(),
            origins: OriginPolicy::new(channel, allowed, own.to_vec()),
            title: self.title,
            greeting: self.greeting,
            color: self.color.to_ascii_lowercase(),
            side: self.side,
            language: self.language,
            demo: self.demo,
            uploads: self.uploads,
            cost,
            token_max_age_ms: i64::from(self.token_days) * 86_400_000,
            limits: self.limits,
            identity_secrets: self.identity_secrets,
        })
    }

    fn origins(&self, problems: &mut Vec<ConfigProblem>) -> Vec<Origin> {
        let mut allowed = vec![];
        for (n, text) in self.origins.iter().enumerate() {
            match Origin::parse(text) {
                Ok(origin) => allowed.push(origin),
                Err(problem) => problems.push(ConfigProblem { key: format!("origins.{n}"), problem }),
            }
        }
        allowed
    }

    fn look(&self, problems: &mut Vec<ConfigProblem>) {
        let hex =
            self.color.strip_prefix('#').is_some_and(|h| h.len() == 6 && h.bytes().all(|b| b.is_ascii_hexdigit()));
        if !hex {
            problem(problems, "color", format!("`{}` is not a colour: write `#rrggbb`", self.color));
        }
        for (key, text, most) in [("title", &self.title, 60), ("greeting", &self.greeting, 400)] {
            if text.as_ref().is_some_and(|t| t.chars().count() > most) {
                problem(problems, key, format!("longer than {most} characters"));
            }
        }
        if let Some(language) = self.language.as_deref().filter(|l| !LANGUAGES.contains(l)) {
            problem(problems, "language", format!("`{language}` is not one of {}", LANGUAGES.join(", ")));
        }
    }

    fn ranges(&self, problems: &mut Vec<ConfigProblem>) {
        if !(0.0..=100.0).contains(&self.cost) {
            problem(problems, "cost", "must be from 0 to 100".into());
        }
        let l = &self.limits;
        for (key, value, low, high) in [
            ("token_days", self.token_days, 1, 3650),
            ("limits.rate", l.rate, 1, 1000),
            ("limits.burst", l.burst, 1, 10_000),
            ("limits.text", l.text, 1, 4000),
            ("limits.file_bytes", l.file_bytes, 1024, 10 * 1024 * 1024),
            ("limits.sockets_per_visitor", l.sockets_per_visitor, 1, 100),
            ("limits.sockets", l.sockets, 1, 1_000_000),
        ] {
            if !(low..=high).contains(&value) {
                problem(problems, key, format!("{value} is not from {low} to {high}"));
            }
        }
    }
}

fn problem(problems: &mut Vec<ConfigProblem>, key: &str, problem: String) {
    problems.push(ConfigProblem { key: key.into(), problem });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let settings = WebchatConfig::default().validate("site", &[]).unwrap();
        assert_eq!((settings.cost, settings.limits.text, settings.demo), (100, 4000, true));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let config: WebchatConfig = serde_json::from_value(serde_json::json!({
            "origins": ["https://ok.example", "shop.example"], "color": "blue", "language": "tlh",
            "title": "x".repeat(61), "cost": -1.0, "limits": { "text": 5000, "rate": 0 }
        }))
        .unwrap();
        let keys: Vec<String> = config.validate("site", &[]).unwrap_err().into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["origins.1", "color", "title", "language", "cost", "limits.rate", "limits.text"]);
    }

    #[test]
    fn unknown_keys_are_refused() {
        for bad in [serde_json::json!({ "orgins": [] }), serde_json::json!({ "limits": { "frames": 1 } })] {
            assert!(serde_json::from_value::<WebchatConfig>(bad).is_err());
        }
    }
}
