use super::*;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use proptest::prelude::*;
use std::sync::LazyLock;
use switchboard_adapter_sdk::Secret;
use switchboard_adapter_sdk::settings::Value;
use switchboard_adapter_sdk::signature::from_base64;

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", to_base64(der))
}

fn rsa_der() -> Vec<u8> {
    let key = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
    AsDer::<Pkcs8V1Der<'_>>::as_der(&key).expect("DER").as_ref().to_vec()
}

fn rsa() -> Signer {
    static KEY: LazyLock<String> = LazyLock::new(|| pem("PRIVATE KEY", &rsa_der()));
    Signer::new("shop.example", "mail", &KEY).expect("a key")
}

/// As OpenSSL writes it: the seed alone, without the public half.
fn seed(byte: u8) -> String {
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    pem("PRIVATE KEY", &[&head[..], &[byte; 32]].concat())
}

fn ed25519() -> Signer {
    Signer::new("shop.example", "mail", &seed(7)).expect("a key")
}

/// A verifier of its own, after the steps of RFC 6376 §3.7: it reads the mail anew and knows nothing of how it was signed.
fn holds(mail: &[u8], signer: &Signer) -> bool {
    let text = String::from_utf8_lossy(mail).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut found: Vec<(String, String)> = vec![];
    for line in head.split("\r\n") {
        match line.starts_with([' ', '\t']) {
            true => found.last_mut().unwrap().1.push_str(&format!(" {line}")),
            false => {
                let (name, value) = line.split_once(':').unwrap();
                found.push((name.trim().to_lowercase(), value.to_owned()));
            }
        }
    }
    let tidy = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
    let signature = found.iter().find(|(n, _)| n == "dkim-signature").unwrap().1.clone();
    let tag = |name: &str| {
        let mut tags = signature.split(';').filter_map(|t| t.split_once('='));
        let value = tags.find(|(n, _)| n.trim() == name).unwrap().1;
        value.chars().filter(|c| !c.is_whitespace()).collect::<String>()
    };
    let mut lines: Vec<String> = body
        .split("\r\n")
        .map(|line| {
            let mut words = line.split([' ', '\t']).collect::<Vec<_>>();
            let lead = if words[0].is_empty() && words.len() > 1 { " " } else { "" };
            words.retain(|w| !w.is_empty());
            if words.is_empty() { String::new() } else { format!("{lead}{}", words.join(" ")) }
        })
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let body: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let mut signed = String::new();
    let mut left = found.clone();
    for name in tag("h").split(':') {
        if let Some(at) = left.iter().rposition(|(n, _)| n == name) {
            signed.push_str(&format!("{name}:{}\r\n", tidy(&left.remove(at).1)));
        }
    }
    let bare = signature.rfind("b=").map(|at| &signature[..at + 2]).unwrap();
    signed.push_str(&format!("dkim-signature:{}", tidy(bare)));
    let hash = sha256(signed.as_bytes());
    let (algorithm, data): (&'static dyn VerificationAlgorithm, &[u8]) = match tag("a").as_str() {
        "rsa-sha256" => (&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes()),
        "ed25519-sha256" => (&ED25519, &hash),
        other => panic!("{other}"),
    };
    let key = UnparsedPublicKey::new(algorithm, signer.public());
    to_base64(&sha256(body.as_bytes())) == tag("bh") && key.verify(data, &from_base64(&tag("b")).unwrap()).is_ok()
}

const MAIL: &str = "From: Shop <support@shop.example>\r\nTo: ann@customer.example\r\nSubject: A long\r\n subject\r\n\
    Message-ID: <a@shop.example>\r\nAuto-Submitted: auto-replied\r\n\r\nHello  there \r\n\r\n  bye\t\r\n\r\n\r\n";

#[test]
fn the_forms_are_those_of_the_example_in_the_rfc() {
    // RFC 6376 §3.4.5.
    let found = fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n");
    let relaxed: Vec<Vec<u8>> = found.iter().map(|(n, v)| relaxed_field(n, v)).collect();
    assert_eq!(relaxed, [b"a:X".to_vec(), b"b:Y Z".to_vec()]);
    assert_eq!(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
    // The hash of nothing, as the RFC gives it for an empty body.
    assert_eq!(to_base64(&sha256(&relaxed_body(b""))), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

#[test]
fn a_signed_mail_is_the_same_mail_with_a_signature_that_holds() {
    for signer in [rsa(), ed25519()] {
        let signed = signer.sign(MAIL.as_bytes().to_vec(), 1_795_298_400).unwrap();
        assert_eq!(signer.sign(MAIL.as_bytes().to_vec(), 1_795_298_400).unwrap(), signed, "every attempt is the same");
        assert!(signed.ends_with(MAIL.as_bytes()));
        assert!(holds(&signed, &signer), "{}", String::from_utf8_lossy(&signed));
        let text = String::from_utf8(signed).unwrap();
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        // What servers do on the way: lines are folded anew, and blanks come and go at their ends.
        let folded = text.replace("Shop <", "Shop\r\n\t<").replace("Hello  there \r\n", "Hello there\r\n");
        assert!(holds(folded.as_bytes(), &signer));
        for (from, to) in [
            ("Hello", "Hallo"),
            ("Subject: A", "Subject: B"),
            ("To: ann@", "To: eve@"),
            ("\r\nTo:", "\r\nCc: eve@x.example\r\nTo:"),
            ("\r\nTo:", "\r\nFrom: eve@x.example\r\nTo:"),
            ("Auto-Submitted: auto-replied", "Auto-Submitted: no"),
        ] {
            assert!(!holds(text.replacen(from, to, 1).as_bytes(), &signer), "{from} became {to}");
        }
        let other = if signer.algorithm() == "rsa-sha256" { pem("PRIVATE KEY", &rsa_der()) } else { seed(8) };
        assert!(!holds(text.as_bytes(), &Signer::new("shop.example", "mail", &other).unwrap()), "another key");
    }
}

#[test]
fn a_key_that_cannot_sign_is_refused_when_it_is_read_and_never_shown() {
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    for text in [
        "",
        "not a key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        &pem("PRIVATE KEY", ec.as_ref()),
    ] {
        let why = Signer::new("shop.example", "mail", text).unwrap_err();
        assert!(why.starts_with("holds ") && (why.contains("RSA") || why.contains("openssl")), "{why}");
    }
    let (whole, kind) = (rsa_der(), "RSA PRIVATE KEY");
    assert!(Signer::new("shop.example", "mail", &pem(kind, &whole[26..])).is_ok(), "PKCS #1, as older tools write it");
    assert_eq!(format!("{:?}", rsa()), "Signer { domain: \"shop.example\", selector: \"mail\", .. }");
}

#[test]
fn only_a_domain_that_speaks_for_the_address_signs() {
    let key = seed(7);
    let settings = |domain: &str| {
        Settings::new("mail", None)
            .with("dkim.selector", Value::Text("s1".into()))
            .with("dkim.domain", Value::Text(domain.into()))
            .with("dkim.key", Value::Secrets(vec![Secret::new(key.clone())]))
    };
    for (domain, good) in [
        ("shop.example", true),
        ("example", false),
        ("desk.shop.example", true),
        ("hop.example", false),
        ("x.example", false),
    ] {
        let mut problems = vec![];
        let found = read(&settings(domain), "Desk.Shop.example", &mut problems);
        assert_eq!((found.is_some(), problems.is_empty()), (good, good), "{domain}: {problems:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn whatever_is_in_a_mail_its_signature_holds(
        subject in "[ -~]{0,80}", lines in prop::collection::vec("[ -~\tä☕]{0,60}", 0..12), repeated in 0usize..3,
    ) {
        let cc = "Cc: x@y.example\r\n".repeat(repeated);
        let mail = format!("From: a@shop.example\r\n{cc}Subject: {subject}\r\n\r\n{}", lines.join("\r\n"));
        let signer = ed25519();
        let signed = signer.sign(mail.into_bytes(), 1).unwrap();
        prop_assert!(holds(&signed, &signer), "{}", String::from_utf8_lossy(&signed));
    }
}
