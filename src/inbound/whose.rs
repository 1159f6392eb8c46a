//! Whose a part of a delivery is: a provider calls one address of an app for all of its accounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use switchboard_adapter_sdk::Adapter;
use switchboard_envelope::{Inbound, Raw};

/// In `meta` of a record that is held: by which secret its delivery was found genuine.
const VOUCHED: &str = "vouched";

/// A channel, and what speaks for it.
pub type Speaker<'a> = (&'a str, &'a dyn Adapter);

/// The channel that has an account: the first that names it; where none does, the only one that could have it.
pub fn whose<'a>(account: &str, channels: &[Speaker<'a>]) -> Option<Speaker<'a>> {
    let names = |(_, adapter): &&Speaker<'a>| adapter.accounts().iter().any(|known| known == account);
    let mut could = channels.iter().filter(|(_, adapter)| adapter.may_have(account));
    let only = || could.next().filter(|_| could.next().is_none());
    channels.iter().find(names).or_else(only).copied()
}

/// Keeps with what is held of a delivery's part the word of whoever found the delivery genuine.
pub(super) fn vouch(held: &mut Inbound, part: &[u8], word: impl Fn(&[u8]) -> Option<String>) {
    let Inbound::Unparsed(held) = held else { return };
    let own = held.raw.inline.as_ref().and_then(|inline| STANDARD.decode(inline).ok());
    if let Some(word) = word(own.as_deref().unwrap_or(part)) {
        held.raw.meta.insert(VOUCHED.to_owned(), word);
    }
}

/// Who reads a record of the quarantine again: the channel whose hook took it, or the one whose account it is of. What only another
/// app's secret vouches for, or none, is no other channel's: whoever has that secret can write anything.
///
/// # Errors
/// A sentence, when nobody can be said to have the account.
pub fn reader<'a>(
    raw: &Raw,
    body: &bytes::Bytes,
    taken_by: Speaker<'a>,
    others: &[Speaker<'a>],
) -> Result<Speaker<'a>, String> {
    let parts = taken_by.1.apart(body);
    let [(account, _)] = &parts[..] else { return Ok(taken_by) };
    let word = raw.meta.get(VOUCHED);
    let is_proven = |adapter: &dyn Adapter| word.is_some_and(|word| adapter.vouched(body, word));
    // Without a word each may be of the same app, so that nobody is the only one.
    let of_the_app = others.iter().filter(|(_, adapter)| word.is_none() || is_proven(*adapter));
    let channels: Vec<Speaker<'a>> = std::iter::once(&taken_by).chain(of_the_app).copied().collect();
    match whose(account, &channels) {
        Some(found) if found.0 == taken_by.0 || is_proven(found.1) => Ok(found),
        Some((channel, _)) => Err(format!(
            "it is for an account of the channel `{channel}`, and nothing shows that it was signed with a secret of that channel"
        )),
        None => Err(
            "no channel with the secret that signed it has the account that it is for, or more than one could have it"
                .into(),
        ),
    }
}

#[cfg(test)]
#[path = "whose_tests.rs"]
pub(super) mod tests;
