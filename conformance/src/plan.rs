//! What is written of an adapter and its provider: how the one is started, and what the other's requests look like.

use base64::Engine as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use switchboard_envelope::is_id;
use thiserror::Error;

/// A plan as `switchboard adapter check FILE` reads it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) adapter: Adapter,
    pub(crate) deliver: Option<Deliver>,
    pub(crate) call: Option<Call>,
    /// Where the adapter is started: the folder of the plan.
    pub(crate) folder: PathBuf,
}

/// What is wrong with a plan.
#[derive(Debug, Error)]
#[error("{file}: {problem}")]
pub struct PlanError {
    file: String,
    problem: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    adapter: Adapter,
    deliver: Option<Deliver>,
    call: Option<Call>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adapter {
    /// The program and its arguments, with `{server}`, `{workspace}`, `{prefix}`, `{channel}`, `{listen}` and `{provider}`.
    pub command: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default = "channel")]
    pub channel: String,
    /// Seconds until it must be there.
    #[serde(default = "twenty")]
    pub ready: u16,
}

/// How the provider hands over what a person writes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deliver {
    #[serde(default = "post")]
    pub method: String,
    #[serde(default = "root")]
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// With `{id}`, `{person}`, `{text}`, `{at}` (RFC 3339) and `{at_s}` (seconds since 1970).
    pub body: String,
    #[serde(default)]
    pub encode: Encode,
    #[serde(default = "person")]
    pub person: String,
    /// What the provider's ids look like; `{n}` is a number that grows.
    #[serde(default = "ids")]
    pub id: String,
    pub sign: Option<Sign>,
    /// A header that carries a fixed secret, in place of a signature.
    pub token: Option<String>,
    /// Bodies that nobody can read, though the provider sent them.
    #[serde(default)]
    pub malformed: Vec<String>,
}

/// What becomes of a value when it is put into a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encode {
    #[default]
    Json,
    Form,
    None,
}

/// HMAC-SHA256 over the body's bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sign {
    pub header: String,
    pub secret: String,
    #[serde(default)]
    pub prefix: String,
    #[serde(default)]
    pub form: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    #[default]
    Hex,
    Base64,
}

/// How the provider answers the adapter's calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    /// Calls below this path are attempts to send.
    #[serde(default = "root")]
    pub path: String,
    /// The `kind` and the `value` of whom is written to.
    #[serde(default = "channel")]
    pub kind: String,
    #[serde(default = "person")]
    pub to: String,
    pub accepted: Answer,
    pub throttled: Option<Throttled>,
    pub rejected: Option<Answer>,
    /// Seconds within which the adapter gives up on a provider that does not answer.
    #[serde(default = "fifteen")]
    pub timeout: u16,
    /// Answers to other calls, such as for a token, by their path.
    #[serde(default)]
    pub other: BTreeMap<String, Answer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// With `{id}`, the provider's id of the message.
    #[serde(default)]
    pub body: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Throttled {
    #[serde(default = "too_many")]
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
    /// The seconds that this answer asks for.
    pub retry_after: Option<u32>,
}

fn channel() -> String {
    "checked".into()
}
fn person() -> String {
    "ann".into()
}
fn ids() -> String {
    "kit-{n}".into()
}
fn post() -> String {
    "POST".into()
}
fn root() -> String {
    "/".into()
}
fn twenty() -> u16 {
    20
}
fn fifteen() -> u16 {
    15
}
fn too_many() -> u16 {
    429
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or a key of it is unknown or holds what it cannot hold.
    pub fn read(file: &Path) -> Result<Plan, PlanError> {
        let wrong = |problem: String| PlanError { file: file.display().to_string(), problem };
        let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
        let written: Written = toml::from_str(&text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let plan =
            Plan { adapter: written.adapter, deliver: written.deliver, call: written.call, folder: folder.into() };
        plan.sound().map_err(wrong)?;
        Ok(plan)
    }

    fn sound(&self) -> Result<(), String> {
        let a = &self.adapter;
        if a.command.first().is_none_or(String::is_empty) {
            return Err("`adapter.command` is empty: write the program and its arguments".into());
        }
        if !is_id(&a.channel) {
            return Err(format!("`adapter.channel`: `{}` is no id: write a-z, 0-9 and `-`", a.channel));
        }
        let named = |place: &str| a.command.iter().chain(a.env.values()).any(|text| text.contains(place));
        for (place, wanted) in
            [("{server}", true), ("{listen}", self.deliver.is_some()), ("{provider}", self.call.is_some())]
        {
            if wanted && !named(place) {
                return Err(format!(
                    "`adapter.command` has no `{place}`, so the adapter cannot know it: write it there, or in `adapter.env`"
                ));
            }
        }
        if let Some(d) = &self.deliver {
            for place in ["{id}", "{text}"] {
                if !d.body.contains(place) {
                    return Err(format!("`deliver.body` has no `{place}`"));
                }
            }
            if !d.id.contains("{n}") {
                return Err("`deliver.id` has no `{n}`: all deliveries would have one id".into());
            }
            if d.token.as_ref().is_some_and(|header| !d.headers.contains_key(header)) {
                return Err("`deliver.token` names a header that is not in `deliver.headers`".into());
            }
        }
        if self.deliver.is_none() && self.call.is_none() {
            return Err("it has neither `[deliver]` nor `[call]`: nothing could be tried".into());
        }
        Ok(())
    }
}

impl Encode {
    pub(crate) fn value(self, text: &str) -> String {
        match self {
            Encode::None => text.to_owned(),
            Encode::Json => {
                let quoted = serde_json::Value::from(text).to_string();
                quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
            }
            Encode::Form => text
                .bytes()
                .map(|b| {
                    if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                        char::from(b).to_string()
                    } else {
                        format!("%{b:02X}")
                    }
                })
                .collect(),
        }
    }
}

impl Sign {
    pub(crate) fn value(&self, body: &[u8]) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, self.secret.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, body);
        let text = match self.form {
            Form::Hex => tag.as_ref().iter().map(|b| format!("{b:02x}")).collect(),
            Form::Base64 => base64::engine::general_purpose::STANDARD.encode(tag.as_ref()),
        };
        format!("{}{text}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[adapter]
command = ["a", "{server}", "{listen}", "{provider}"]
[deliver]
body = "{id} {text}"
[call]
accepted = { status = 200 }
"#;

    fn read(text: &str) -> Result<Plan, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("plan.toml");
        std::fs::write(&file, text).expect("written");
        Plan::read(&file).map_err(|e| e.to_string())
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused_with_the_key() {
        assert!(read(GOOD).is_ok(), "{:?}", read(GOOD));
        for (old, new, said) in [
            ("command = [\"a\"", "command = [\"\"", "`adapter.command` is empty"),
            (", \"{server}\"", "", "has no `{server}`"),
            (", \"{listen}\"", "", "has no `{listen}`"),
            (", \"{provider}\"", "", "has no `{provider}`"),
            ("{id} ", "", "`deliver.body` has no `{id}`"),
            ("body = ", "id = \"same\"\nbody = ", "has no `{n}`"),
            ("body = ", "token = \"X-Token\"\nbody = ", "not in `deliver.headers`"),
            ("body = ", "bodi = ", "unknown field `bodi`"),
            ("[adapter]", "[adapter]\nchannel = \"No\"", "`No` is no id"),
        ] {
            let said_of = read(&GOOD.replace(old, new)).expect_err(new);
            assert!(said_of.contains(said) && said_of.contains("plan.toml"), "{new}: {said_of}");
        }
        let nothing = read("[adapter]\ncommand = [\"a\", \"{server}\"]\n").expect_err("nothing to try");
        assert!(nothing.contains("neither"), "{nothing}");
    }

    #[test]
    fn values_and_signatures_have_the_form_that_providers_give_them() {
        assert_eq!(Encode::Json.value("a \"b\" é\n"), r#"a \"b\" é\n"#);
        assert_eq!(Encode::Form.value("a b&é"), "a%20b%26%C3%A9");
        let mut sign = Sign { header: "X".into(), secret: "key".into(), prefix: "sha256=".into(), form: Form::Hex };
        let hex = "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        assert_eq!(sign.value(b"The quick brown fox jumps over the lazy dog"), hex);
        sign.form = Form::Base64;
        assert!(
            sign.value(b"The quick brown fox jumps over the lazy dog")
                .ends_with("97yD9DBThCSxMpjmqm+xQ+9NWaFJRhdZl0edvC0aPNg=")
        );
    }
}
