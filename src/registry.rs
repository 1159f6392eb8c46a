//! The kinds of channel that declare themselves: one line adds one. Configuration, schema and start know them by what their crates
//! say of them, and nothing else of the daemon knows them at all.

use switchboard_adapter_sdk::Kind;

/// Every such kind, by its name.
pub const REGISTRY: &[&Kind] = &[
    &switchboard_telegram::KIND, // <https://core.telegram.org/bots/api>
    &switchboard_twitter::KIND,  // <https://docs.x.com/x-api>
];

/// Every kind of desk that declares itself, by its name.
pub const DESKS: &[&Kind] = &[
    &switchboard_slack::KIND, // <https://docs.slack.dev/apis/web-api/>
];

/// The kind of this name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    REGISTRY.iter().chain(DESKS).find(|kind| kind.name == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_and_no_key_stands_twice() {
        let mut names: Vec<&str> = crate::config::kinds().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        for kind in REGISTRY.iter().chain(DESKS) {
            let mut keys: Vec<&str> = kind.keys.iter().map(|key| key.name).collect();
            let count = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), count, "{}: a key stands twice", kind.name);
        }
    }
}
