//! Masks for logs: enough of an address to recognise it in a list, never enough to write to it.

use crate::Secret;
use switchboard_envelope::Address;

const DOTS: &str = "•••";

/// An address for the log: `+15•••01`, `a•••@example.org`, `vi•••`.
#[must_use]
pub fn address(address: &Address) -> String {
    format!("{}:{}", address.kind, value(&address.value))
}

/// The value of an address, masked after its form.
#[must_use]
pub fn value(value: &str) -> String {
    if let Some((local, domain)) = value.rsplit_once('@') {
        return format!("{}{DOTS}@{domain}", head(local, 1));
    }
    let length = value.chars().count();
    if length >= 8 {
        format!("{}{DOTS}{}", head(value, 3), tail(value, length, 2))
    } else {
        format!("{}{DOTS}", head(value, if length > 4 { 2 } else { 0 }))
    }
}

fn head(text: &str, n: usize) -> String {
    text.chars().take(n).collect()
}

fn tail(text: &str, length: usize, n: usize) -> String {
    text.chars().skip(length.saturating_sub(n)).collect()
}

/// Free text for the log, such as a provider's error: known secrets, mail addresses and phone numbers are masked.
#[must_use]
pub fn text(text: &str, secrets: &[&Secret]) -> String {
    let mut clean = text.to_owned();
    for secret in secrets.iter().filter(|s| !s.expose().is_empty()) {
        clean = clean.replace(secret.expose(), DOTS);
    }
    clean.split_inclusive(char::is_whitespace).map(word).collect()
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '+');
    let digits = bare.chars().filter(char::is_ascii_digit).count();
    let is_phone = digits >= 7 && bare.chars().all(|c| c.is_ascii_digit() || "+-.()/".contains(c));
    let is_mail = bare.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'));
    if is_phone || is_mail { word.replacen(bare, &value(bare), 1) } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked_after_their_form() {
        for (kind, plain, masked) in [
            ("phone", "+15551230001", "phone:+15•••01"),
            ("email", "ann@example.org", "email:a•••@example.org"),
            ("sender", "72727", "sender:72•••"),
            ("sender", "911", "sender:•••"),
            ("visitor", "żółwik-7f3a9c", "visitor:żół•••9c"),
        ] {
            assert_eq!(address(&Address::new(kind, plain)), masked);
        }
    }

    #[test]
    fn text_loses_secrets_and_addresses_and_keeps_the_rest() {
        let token = Secret::new("s3cr3t");
        assert_eq!(
            text("could not send to +15551230001, (ann@example.org) with s3cr3t: code 21610\n", &[&token]),
            "could not send to +15•••01, (a•••@example.org) with •••: code 21610\n"
        );
        assert_eq!(text("nothing to hide", &[&Secret::new("")]), "nothing to hide");
    }
}
