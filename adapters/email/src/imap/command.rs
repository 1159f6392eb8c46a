//! How commands are written.

use switchboard_adapter_sdk::{Secret, signature::to_base64};

/// A text as a quoted string, if it can be one.
#[must_use]
pub fn quoted(text: &str) -> Option<String> {
    let plain = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    plain.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A folder's name as servers know it (RFC 3501 §5.1.3), quoted. Everything but plain ASCII is in modified UTF-7.
#[must_use]
pub fn folder(name: &str) -> String {
    let mut out = String::from("\"");
    let mut run = String::new();
    for c in name.chars().chain(std::iter::once('\0')) {
        if !(' '..='~').contains(&c) && c != '\0' {
            run.push(c);
            continue;
        }
        if !run.is_empty() {
            let units: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
            let coded = to_base64(&units);
            out.push('&');
            out.push_str(&coded.trim_end_matches('=').replace('/', ","));
            out.push('-');
            run.clear();
        }
        match c {
            '\0' => {}
            '&' => out.push_str("&-"),
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A set of UIDs, as short as it can be: `3:5,9`. They must ascend.
#[must_use]
pub fn set(uids: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = vec![];
    for uid in uids {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
            _ => ranges.push((*uid, *uid)),
        }
    }
    let shown = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}:{b}") });
    shown.collect::<Vec<_>>().join(",")
}

/// What is sent once the server says go, for each way to log in (RFC 4616, Google's XOAUTH2, RFC 7628).
#[must_use]
pub fn plain(user: &str, password: &Secret) -> String {
    to_base64(format!("\0{user}\0{}", password.expose()).as_bytes())
}

#[must_use]
pub fn xoauth2(user: &str, token: &Secret) -> String {
    to_base64(format!("user={user}\u{1}auth=Bearer {}\u{1}\u{1}", token.expose()).as_bytes())
}

#[must_use]
pub fn oauthbearer(user: &str, token: &Secret) -> String {
    let user = user.replace('=', "=3D").replace(',', "=2C");
    to_base64(format!("n,a={user},\u{1}auth=Bearer {}\u{1}\u{1}", token.expose()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn folders_are_named_as_servers_know_them() {
        for (name, wanted) in [
            ("INBOX", "\"INBOX\""),
            ("Entwürfe", "\"Entw&APw-rfe\""),
            ("R&D", "\"R&-D\""),
            ("台北", "\"&U,BTFw-\""),
            ("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\""),
            ("😀x", "\"&2D3eAA-x\""),
        ] {
            assert_eq!(folder(name), wanted, "{name}");
        }
    }

    #[test]
    fn sets_are_short() {
        assert_eq!(set(&[]), "");
        assert_eq!(set(&[7]), "7");
        assert_eq!(set(&[1, 2, 3, 5, 7, 8, u32::MAX]), "1:3,5,7:8,4294967295");
    }

    #[test]
    fn logins_have_the_bytes_of_their_specifications() {
        let secret = Secret::new("tanstaaftanstaaf");
        assert_eq!(plain("tim", &secret), "AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
        let token = Secret::new("vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==");
        assert_eq!(
            xoauth2("someuser@example.com", &token),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB2RjlkZnQ0cW1UYzJOdmIzUmxja0JoZEhSaGRtbHpkR0V1WTI5dENnPT0BAQ=="
        );
        assert!(!oauthbearer("a,b=c", &token).contains("a,b"));
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_quotes(text in "\\PC{0,40}") {
            let folder = folder(&text);
            prop_assert!(folder.bytes().all(|b| (b' '..=b'~').contains(&b)));
            if let Some(quoted) = quoted(&text) {
                let inner = &quoted[1..quoted.len() - 1];
                prop_assert!(!inner.replace("\\\\", "").replace("\\\"", "").contains('"'));
            }
        }
    }
}
