//! Phone numbers and the other addresses that text messages come from.

use switchboard_envelope::Address;

/// Prefixes by which a provider of text messages names another network.
const NETWORKS: [&str; 3] = ["whatsapp", "rcs", "messenger"];

/// The canonical form of an international number (E.164): a plus and 7 to 15 digits. Blanks, dashes, dots, slashes and
/// parentheses are dropped. A number without its plus is `None`, for its region could only be guessed; so is `00…`, which is
/// an international prefix in some countries only.
#[must_use]
pub fn e164(text: &str) -> Option<String> {
    let is_filler = |c: char| c.is_whitespace() || "-.()/\u{2010}\u{2011}\u{2013}\u{200e}\u{202a}\u{202c}".contains(c);
    let number: String = text.chars().filter(|c| !is_filler(*c)).collect();
    let digits = number.strip_prefix('+')?;
    let is_number =
        (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    is_number.then_some(number)
}

/// A short code: 3 to 8 digits.
#[must_use]
pub fn is_short_code(text: &str) -> bool {
    (3..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A name instead of a number: up to 11 letters, digits, blanks and `&+-_.`, with a letter. It cannot be answered.
#[must_use]
pub fn is_sender_name(text: &str) -> bool {
    (1..=11).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" &+-_.".contains(&b))
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// An address as a provider writes it: a number (`phone`), a short code or name (`sender`), or `network:value`
/// (`whatsapp`, `rcs`, `messenger`). `None` when it is none of these.
#[must_use]
pub fn address(text: &str) -> Option<Address> {
    let text = text.trim();
    if let Some((network, value)) = text.split_once(':') {
        let network = NETWORKS.iter().find(|known| known.eq_ignore_ascii_case(network))?;
        let is_plain = (1..=128).contains(&value.len()) && value.chars().all(|c| c.is_ascii_graphic());
        return e164(value).or_else(|| is_plain.then(|| value.to_owned())).map(|value| Address::new(*network, value));
    }
    if let Some(number) = e164(text) {
        return Some(Address::new("phone", number));
    }
    (is_short_code(text) || is_sender_name(text)).then(|| Address::new("sender", text))
}

/// An address that somebody wrote to us from. Whatever it looks like it is kept, so that the message is: what is no known form
/// becomes a `sender`. `None` only for what is empty, over 512 bytes or holds control characters.
#[must_use]
pub fn origin(text: &str) -> Option<Address> {
    let plain = text.trim();
    let is_kept = (1..=512).contains(&plain.len()) && !plain.chars().any(char::is_control);
    address(plain).or_else(|| is_kept.then(|| Address::new("sender", plain)))
}

/// An address as the provider wants it.
#[must_use]
pub fn written(address: &Address) -> String {
    if NETWORKS.contains(&address.kind.as_str()) {
        format!("{}:{}", address.kind, address.value)
    } else {
        address.value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling_and_no_region_is_guessed() {
        for (text, wanted) in [
            ("+15005550009", Some("+15005550009")),
            (" +1 (500) 555-00.09 ", Some("+15005550009")),
            ("+49\u{a0}30/12345678", Some("+493012345678")),
            ("15005550009", None),
            ("0049301234567", None),
            ("+0049301234567", None),
            ("+123456", None),
            ("+1234567890123456", None),
            ("+1500555٠٠09", None),
            ("+1500555O009", None),
            ("", None),
            ("+", None),
        ] {
            assert_eq!(e164(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn an_address_knows_its_kind() {
        for (text, wanted) in [
            ("+15005550009", "phone:+15005550009"),
            ("whatsapp:+1 500 555 0009", "whatsapp:+15005550009"),
            ("WhatsApp:US.1234", "whatsapp:US.1234"),
            ("72727", "sender:72727"),
            ("My Shop", "sender:My Shop"),
            ("15005550009", "sender:15005550009"),
            ("fax:12", "sender:fax:12"),
            ("Żółw Shop GmbH", "sender:Żółw Shop GmbH"),
        ] {
            assert_eq!(origin(text).unwrap().identity(), wanted);
        }
        assert_eq!(address("15005550009"), None);
        assert_eq!(address("fax:12"), None);
        assert_eq!(origin(" "), None);
        assert_eq!(origin("a\u{7}b"), None);
        assert_eq!(origin(&"x".repeat(513)), None);
    }

    #[test]
    fn writing_an_address_is_the_inverse_of_reading_it() {
        for text in ["+15005550009", "whatsapp:+15005550009", "whatsapp:US.1234", "72727"] {
            assert_eq!(written(&address(text).unwrap()), text);
        }
    }
}
