//! Phone numbers and the other addresses that text messages come from.

use switchboard_envelope::Address;

/// Prefixes by which a provider of text messages names another network.
const NETWORKS: [&str; 3] = [WHATSAPP, "rcs", "messenger"];
const WHATSAPP: &str = "whatsapp";

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
        let known = e164(value).map(|number| spelling(network, number)).or_else(|| is_plain.then(|| value.to_owned()));
        return known.map(|value| Address::new(*network, value));
    }
    if let Some(number) = e164(text) {
        return Some(Address::new("phone", number));
    }
    (is_short_code(text) || is_sender_name(text)).then(|| Address::new("sender", text))
}

/// WhatsApp itself leaves the plus out, and one person has one spelling whoever carries their messages.
fn spelling(network: &str, number: String) -> String {
    let digits = number.strip_prefix('+').filter(|_| network == WHATSAPP);
    digits.map(str::to_owned).unwrap_or(number)
}

/// The one spelling of an address that a person of ours wrote down.
#[must_use]
pub fn canonical(address: Address) -> Address {
    let number = match address.kind.as_str() {
        "phone" | WHATSAPP => e164(&address.value),
        _ => None,
    };
    let value = number.map(|number| spelling(&address.kind, number));
    Address { value: value.unwrap_or(address.value), ..address }
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
        let number = e164(&format!("+{}", address.value)).filter(|_| address.kind == WHATSAPP);
        format!("{}:{}", address.kind, number.as_ref().unwrap_or(&address.value))
    } else {
        address.value.clone()
    }
}

/// How a provider writes international numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `+15551230001`. Digits without a plus are kept as they are: their region could only be guessed.
    Plus,
    /// `15551230001`: the provider says that its numbers are international, and leaves the plus out.
    Digits,
}

impl Form {
    /// The address that somebody wrote to us from, or that they wrote to.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Address> {
        let plain = text.trim();
        // Fewer digits are a short code as likely as the number of a small country: they are kept, and answered, as they are.
        let is_long = (9..=15).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_digit());
        match self {
            Form::Digits if is_long => e164(&format!("+{plain}")).map(|number| Address::new("phone", number)),
            _ => None,
        }
        .or_else(|| origin(plain))
    }

    /// An address as the provider wants it.
    ///
    /// # Errors
    /// With a sentence when nobody can be written to there.
    pub fn write(self, address: &Address) -> Result<String, String> {
        match address.kind.as_str() {
            "phone" => {
                let number = e164(&address.value)
                    .ok_or_else(|| "the number is not international: write it as +15551230001".to_owned())?;
                Ok(self.spell(&number))
            }
            // What the provider wrote so, it also takes so.
            "sender"
                if (3..=20).contains(&address.value.len()) && address.value.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(address.value.clone())
            }
            "sender" => Err("the sender is a name or a hidden number and cannot be answered".into()),
            kind => Err(format!("a {kind} address cannot be written to by text message")),
        }
    }

    /// A sender or number of ours as the provider wants it.
    #[must_use]
    pub fn spell(self, number: &str) -> String {
        match self {
            Form::Plus => number.to_owned(),
            Form::Digits => number.strip_prefix('+').unwrap_or(number).to_owned(),
        }
    }
}

/// What our texts come from, as the configuration writes it: a number in E.164, a short code, or a name.
///
/// # Errors
/// With a sentence that says what to write.
pub fn sender(s: &str) -> Result<String, String> {
    let digits = |d: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit())
    };
    let number = s.strip_prefix("whatsapp:").unwrap_or(s);
    let full = number.strip_prefix('+').is_some_and(|d| digits(d, 7..=15) && !d.starts_with('0'));
    let short = digits(s, 3..=6);
    let name = (1..=11).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ')
        && s.bytes().any(|b| b.is_ascii_alphabetic());
    if full || short || name {
        return Ok(s.to_owned());
    }
    let compact: String = number.chars().filter(char::is_ascii_digit).collect();
    let significant = compact.strip_prefix("00").unwrap_or(&compact);
    // Ten digits and fewer may lack the country's code, and with a plus before them they would be somebody else's number.
    let international = number.starts_with('+') || compact.starts_with("00") || compact.len() > 10;
    let whole = international
        && digits(significant, 7..=15)
        && !significant.starts_with('0')
        && !number.chars().any(char::is_alphabetic);
    let write = if whole {
        format!("write `+{significant}`")
    } else {
        "write it with its country's code, such as `+15005550006`".into()
    };
    Err(format!("`{s}` is not a phone number in E.164 form: {write}, or a short code such as `12345`"))
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
            ("whatsapp:+1 500 555 0009", "whatsapp:15005550009"),
            ("whatsapp:15005550009", "whatsapp:15005550009"),
            ("rcs:+15005550009", "rcs:+15005550009"),
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
    fn senders_are_e164_short_codes_or_names() {
        for good in ["+15005550006", "12345", "+4915112345678", "MyShop", "whatsapp:+15005550006"] {
            assert!(sender(good).is_ok(), "{good}");
        }
        for (bad, says) in [
            ("15005550006", "+15005550006"),
            ("004915112345678", "+4915112345678"),
            ("+1 (500) 555-0006", "+15005550006"),
            ("5005550006", "such as `+15005550006`"),
            ("(500) 555-0006", "such as `+15005550006`"),
            ("MyVeryLongShop", "+15005550006"),
            ("whatsapp:15005550006", "+15005550006"),
            ("+0123456789", "E.164"),
            ("", "E.164"),
        ] {
            assert!(sender(bad).is_err_and(|e| e.contains(says)), "{bad}");
        }
    }

    #[test]
    fn a_providers_form_is_read_and_written() {
        for (form, text, identity, written) in [
            (Form::Digits, "447700900001", "phone:+447700900001", Some("447700900001")),
            (Form::Digits, "+447700900001", "phone:+447700900001", Some("447700900001")),
            (Form::Digits, "24453", "sender:24453", Some("24453")),
            (Form::Digits, "1234567", "sender:1234567", Some("1234567")),
            (Form::Digits, "12345678", "sender:12345678", Some("12345678")),
            (Form::Digits, "298211234", "phone:+298211234", Some("298211234")),
            (Form::Digits, "0123456789", "sender:0123456789", Some("0123456789")),
            (Form::Digits, "AcmeInc", "sender:AcmeInc", None),
            (Form::Plus, "+447700900001", "phone:+447700900001", Some("+447700900001")),
            (Form::Plus, "447700900001", "sender:447700900001", Some("447700900001")),
            (Form::Plus, "My Shop", "sender:My Shop", None),
        ] {
            let address = form.read(text).unwrap();
            assert_eq!(address.identity(), identity, "{text}");
            assert_eq!(form.write(&address).ok().as_deref(), written, "{text}");
        }
        assert!(Form::Plus.write(&Address::new("phone", "15005550009")).is_err());
        assert!(Form::Plus.write(&Address::new("whatsapp", "+15005550009")).is_err());
    }

    #[test]
    fn writing_an_address_is_the_inverse_of_reading_it() {
        for text in ["+15005550009", "whatsapp:+15005550009", "whatsapp:US.1234", "rcs:+15005550009", "72727"] {
            assert_eq!(written(&address(text).unwrap()), text);
        }
        // As it was kept before WhatsApp's numbers had one spelling.
        assert_eq!(written(&Address::new("whatsapp", "+15005550009")), "whatsapp:+15005550009");
    }

    #[test]
    fn what_a_person_writes_down_has_the_spelling_of_what_comes_in() {
        for (kind, value, wanted) in [
            ("phone", "+1 500 555-0009", "+15005550009"),
            ("phone", "5005550009", "5005550009"),
            ("whatsapp", "+1 (500) 555-0009", "15005550009"),
            ("whatsapp", "15005550009", "15005550009"),
            ("whatsapp", "US.1234", "US.1234"),
            ("sender", "+15005550009", "+15005550009"),
        ] {
            assert_eq!(canonical(Address::new(kind, value)).value, wanted, "{kind}:{value}");
        }
    }
}
