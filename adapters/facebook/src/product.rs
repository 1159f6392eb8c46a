//! What a product is to the rest of the program: a name, the keys that it takes, and a way to build it.

use crate::PRODUCTS;
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, ConfigProblem, Settings,
    settings::{Key, Shape, any},
};

/// Makes an adapter out of settings that are complete.
pub type Build = fn(&Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>>;

/// One product, as the table in the crate's root lists it.
pub struct Product {
    /// What the configuration calls it.
    pub name: &'static str,
    /// One line for editors.
    pub about: &'static str,
    /// The keys that it takes beside [`COMMON`] and those of every channel.
    pub keys: &'static [Key],
    pub build: Build,
}

impl std::fmt::Debug for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Product").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The product of a channel that names none.
pub const USUAL: &str = "messenger";

/// What every product takes.
pub const COMMON: &[Key] = &[
    Key::new(
        "app_secret",
        Shape::Secrets,
        "the app's secret, which signs what Meta calls; the first proves our own calls",
    )
    .required("{ env = \"NAME\" }"),
    Key::new(
        "verify_token",
        Shape::Secrets,
        "what Meta has to say before it calls: the same word as in the app's settings",
    )
    .required("{ env = \"NAME\" }"),
    Key::new(
        "window",
        Shape::Span { least: "1h", most: "7d" },
        "for how long after the customer's latest message everything may be answered, where Meta's rule is another than a day",
    )
    .usual("24h"),
    Key::new("base_url", Shape::Url, "another address of the Graph API").usual("https://graph.facebook.com"),
    Key::new(
        "api_version",
        Shape::Text { check: version, pattern: "^v[0-9]{1,3}\\.[0-9]{1,2}$" },
        "the version of the Graph API",
    )
    .usual("v26.0"),
];

fn version(text: &str) -> Result<String, String> {
    let numbers = text.strip_prefix('v').and_then(|rest| rest.split_once('.'));
    let is_number = |n: &str, most: usize| (1..=most).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    match numbers {
        Some((major, minor)) if is_number(major, 3) && is_number(minor, 2) => any(text),
        _ => Err(format!("`{text}` is no version of the Graph API: write it as `v26.0`")),
    }
}

/// A number that Meta gives to a page, an account or a phone number.
pub(crate) fn number(text: &str) -> Result<String, String> {
    let is_id = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if is_id { any(text) } else { Err(format!("`{text}` is not an id of Meta's: write its digits")) }
}

/// For how long everything may be answered, in milliseconds.
pub(crate) fn window_ms(settings: &Settings) -> i64 {
    settings.span("window").and_then(|span| i64::try_from(span.as_millis()).ok()).unwrap_or(24 * 3_600_000)
}

/// The product of this name.
#[must_use]
pub fn product(name: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.name == name).copied()
}

/// Everything that is wrong between the keys of a channel, whether or not the channel is complete.
#[must_use]
pub fn check(settings: &Settings) -> Vec<ConfigProblem> {
    let mut problems = vec![];
    for key in ["app_secret", "verify_token"] {
        if settings.secrets(key).iter().any(|secret| secret.expose().trim().is_empty()) {
            problems.push(settings.problem(key, "is empty"));
        }
    }
    problems
}

/// The adapter of a channel of this product.
///
/// # Errors
/// With every problem of the settings at once.
pub fn build(product: &Product, settings: &Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>> {
    let problems = check(settings);
    if problems.is_empty() { (product.build)(settings) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_and_no_name_stands_twice() {
        assert!(product(USUAL).is_some() && product("Messenger").is_none());
        for p in PRODUCTS {
            let mut keys: Vec<_> = COMMON.iter().chain(p.keys).map(|key| key.name).collect();
            let count = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), count, "{}: a key stands twice", p.name);
            assert_eq!(product(p.name).map(|found| found.name), Some(p.name));
            assert!(p.keys.iter().all(|key| !key.about.ends_with('.')), "{}", p.name);
        }
    }

    #[test]
    fn versions_and_ids_are_read_strictly() {
        assert!(version("v26.0").is_ok() && version("v1.10").is_ok());
        for wrong in ["", "26.0", "v26", "v26.", "v.0", "v26.0/me", "v26.0.1", "vx.y"] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
        assert!(number("102030405060").is_ok());
        for wrong in ["", "page", "12 3", "../1", &"1".repeat(33)] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
