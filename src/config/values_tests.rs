use super::*;
use proptest::prelude::*;

#[test]
fn durations_have_units() {
    for (text, ms) in [
        ("30s", 30_000),
        ("1h30m", 5_400_000),
        ("365d", 31_536_000_000),
        ("250ms", 250),
        ("2w", 1_209_600_000),
        ("0s", 0),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "30", "s", "1.5h", "-1s", "30 s s", "1y", "99999999999999999999d", "9999999d", "१s"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_are_binary_or_decimal() {
    for (text, n) in
        [("1MiB", 1_048_576), ("1 MiB", 1_048_576), ("5MB", 5_000_000), ("1024", 1024), ("64kib", 65_536), ("10B", 10)]
    {
        assert_eq!(size(text), Ok(n), "{text}");
    }
    for text in ["", "MiB", "1.5MiB", "-1", "1XiB", "99999999TiB"] {
        assert!(size(text).is_err(), "{text}");
    }
}

#[test]
fn rates_are_a_count_and_a_time() {
    let r = rate("10/s").expect("a rate");
    assert_eq!((r.count.get(), r.per), (10, Duration::from_secs(1)));
    for text in ["10", "0/s", "1.5/s", "-1/s", "10/x", "/s", "10/s/s"] {
        assert!(rate(text).is_err(), "{text}");
    }
}

#[test]
fn a_listen_address_is_an_ip_and_a_port_and_the_error_says_which() {
    assert_eq!(listen("localhost:80"), Ok("127.0.0.1:80".parse().expect("an address")));
    assert_eq!(listen("[::]:0"), Ok("[::]:0".parse().expect("an address")));
    for (text, says) in [
        (":8080", "0.0.0.0:8080"),
        ("8080", "127.0.0.1:8080"),
        ("127.0.0.1", "127.0.0.1:8080"),
        ("::1", "[::1]:8080"),
        ("shop.example:99999", "127.0.0.1:8080"),
    ] {
        assert!(listen(text).is_err_and(|e| e.contains(says)), "{text}");
    }
}

#[test]
fn ranges_hold_their_addresses_only() {
    let ten = cidr("10.0.0.0/8").expect("a range");
    for (ip, held) in [("10.255.0.1", true), ("11.0.0.1", false), ("::ffff:10.0.0.1", true), ("::1", false)] {
        assert_eq!(ten.contains(ip.parse().expect("an address")), held, "{ip}");
    }
    assert!(cidr("0.0.0.0/0").expect("a range").contains("203.0.113.9".parse().expect("an address")));
    assert!(cidr("::/0").expect("a range").contains("fd00::1".parse().expect("an address")));
    assert!(cidr("10.0.0.1/8").is_err_and(|e| e.contains("10.0.0.0/8")));
    for text in ["10.0.0.0/33", "10.0.0.0/x", "10.0.0/8", "", "/8", "fd00::/129"] {
        assert!(cidr(text).is_err(), "{text}");
    }
}

#[test]
fn an_origin_has_no_path_and_no_wildcard() {
    assert_eq!(origin("https://Shop.Example/"), Ok("https://shop.example".into()));
    assert_eq!(origin("https://shop.example:443"), Ok("https://shop.example".into()));
    assert_eq!(origin("http://localhost:3000"), Ok("http://localhost:3000".into()));
    for text in [
        "*",
        "https://*.shop.example",
        "https://shop.example/chat",
        "shop.example",
        "null",
        "file:///x",
        "https://a:b@shop.example",
    ] {
        assert!(origin(text).is_err(), "{text}");
    }
}

#[test]
fn an_address_with_a_password_is_never_repeated() {
    for text in ["ftp://user:hunter2@host", "http://user:hunter2@host", "user:hunter2@host"] {
        for error in [base_url(text).err(), origin(text).err()] {
            assert!(error.is_some_and(|e| !e.contains("hunter2")), "{text}");
        }
    }
    assert!(proxy("socks5://user:hunter2@host:1080").is_err_and(|e| !e.contains("hunter2")));
    assert_eq!(proxy("http://user:hunter2@host:3128"), Ok(()));
}

#[test]
fn levels_are_known_words() {
    for good in ["info", "info,switchboard::router=debug", "off"] {
        assert!(log_level(good).is_ok(), "{good}");
    }
    for bad in ["inf0", "", "=debug", "info,", "a=b", "verbose"] {
        assert!(log_level(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(s in "\\PC{0,40}") {
        let _ = (duration(&s), size(&s), rate(&s), listen(&s), cidr(&s));
        let _ = (origin(&s), base_url(&s), proxy(&s), colour(&s), log_level(&s), is_loopback(&s));
        let _ = line(10)(&s);
    }

    #[test]
    fn whole_seconds_read_back(n in 0u64..100_000_000) {
        prop_assert_eq!(duration(&format!("{n}s")), Ok(Duration::from_secs(n)));
    }
}
