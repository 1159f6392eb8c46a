//! `X-Twilio-Signature` (<https://www.twilio.com/docs/usage/security>): HMAC-SHA1 over the URL that was called and the sorted
//! form.

use form_urlencoded::parse;
use std::borrow::Cow;
use switchboard_adapter_sdk::{
    RawRequest, Verdict,
    signature::{Mac, equal, from_base64, from_hex, sha256},
};

pub(super) const HEADER: &str = "x-twilio-signature";

/// The signature that the head carries; an error is a head that no genuine request has.
pub(super) fn tag(head: &RawRequest) -> Result<Vec<u8>, Verdict> {
    let Some(header) = head.headers.get(HEADER).filter(|value| !value.is_empty()) else { return Err(Verdict::Missing) };
    header.to_str().ok().and_then(from_base64).ok_or_else(|| Verdict::Forged("the signature is not base64".into()))
}

pub(super) fn verify(keys: &[Mac], request: &RawRequest) -> Verdict {
    let tag = match tag(request) {
        Ok(tag) => tag,
        Err(wrong) => return wrong,
    };
    let form = match signed_form(request) {
        Ok(form) => form,
        Err(why) => return Verdict::Forged(why.into()),
    };
    let is_signed = |url: &str| {
        let data = format!("{url}{form}");
        keys.iter().any(|key| key.verify(data.as_bytes(), &tag))
    };
    let url = request.url.split('#').next().unwrap_or_default();
    if is_signed(url) || respellings(url).iter().any(|url| is_signed(url)) {
        Verdict::Genuine
    } else {
        Verdict::Forged("the signature does not match; is http.public_url the address that Twilio calls?".into())
    }
}

/// Whether the request carries its fields as a form. Without a content type it does, as Twilio's older callbacks do.
pub(super) fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.is_empty() || essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// What the signature covers beside the URL. An error is a body that it would not cover.
fn signed_form(request: &RawRequest) -> Result<String, &'static str> {
    if request.method == http::Method::GET && !request.body.is_empty() {
        return Err("a GET with a body, which no signature covers");
    }
    if is_form(content_type(request)) {
        let mut fields: Vec<_> = parse(&request.body).collect();
        // The order is by bytes, and equal values of one name count once.
        fields.sort_unstable();
        fields.dedup();
        return Ok(fields.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect());
    }
    match parse(request.query.as_bytes()).find(|(name, _)| name == "bodySHA256") {
        Some((_, hex)) if from_hex(&hex).is_some_and(|hash| equal(&hash, &sha256(&request.body))) => Ok(String::new()),
        Some(_) => Err("bodySHA256 is not the body's hash"),
        None if request.body.is_empty() => Ok(String::new()),
        None => Err("the signature does not cover the body"),
    }
}

pub(super) fn content_type(request: &RawRequest) -> &str {
    request.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Other spellings of the URL that Twilio may have signed: with or without the port, and with the apostrophes of the query
/// plain or encoded.
fn respellings(url: &str) -> Vec<String> {
    let mut spellings = vec![Cow::Borrowed(url)];
    spellings.extend(other_port(url).map(Cow::Owned));
    let quotes = spellings.iter().filter_map(|url| other_quotes(url)).map(Cow::Owned).collect::<Vec<_>>();
    spellings.into_iter().chain(quotes).skip(1).map(Cow::into_owned).collect()
}

fn other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let port_at = authority.rfind(':').filter(|at| !authority.get(*at..).is_some_and(|port| port.contains([']', '@'])));
    if let Some(host) = port_at.and_then(|at| authority.get(..at)) {
        return Some(format!("{scheme}://{host}{path}"));
    }
    let port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    Some(format!("{scheme}://{authority}:{port}{path}"))
}

fn other_quotes(url: &str) -> Option<String> {
    let (path, query) = url.split_once('?')?;
    if query.contains('\'') {
        Some(format!("{path}?{}", query.replace('\'', "%27")))
    } else if query.contains("%27") {
        Some(format!("{path}?{}", query.replace("%27", "'")))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use switchboard_adapter_sdk::signature::to_base64;
    use switchboard_envelope::Timestamp;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn request(url: &str, content_type: &'static str, body: &str, signature: &str) -> RawRequest {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        headers.insert(HEADER, signature.parse().unwrap());
        let query = url.split('#').next().unwrap().split_once('?').map_or("", |(_, query)| query);
        RawRequest {
            method: Method::POST,
            path: String::new(),
            query: query.into(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
            url: url.into(),
            received_at: Timestamp(0),
        }
    }

    fn keys() -> Vec<Mac> {
        vec![Mac::sha1(b"12345")]
    }

    fn sign(text: &str) -> String {
        to_base64(&keys()[0].sign(text.as_bytes()))
    }

    fn form_of(params: &serde_json::Value) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in params.as_object().unwrap() {
            match value {
                serde_json::Value::Array(values) => {
                    values.iter().for_each(|v| {
                        form.append_pair(name, v.as_str().unwrap());
                    });
                }
                value => {
                    form.append_pair(name, value.as_str().unwrap());
                }
            }
        }
        form.finish()
    }

    #[test]
    fn every_vector_is_genuine_and_its_neighbours_are_not() {
        let vectors = fixtures::vectors();
        let all = vectors["vectors"].as_array().unwrap();
        let mine: Vec<_> = all.iter().filter(|v| v["scheme"] == "twilio-x-twilio-signature").collect();
        assert!(mine.len() >= 4, "{} vectors", mine.len());
        for vector in mine {
            let inputs = &vector["inputs"];
            let (url, body) = (inputs["url"].as_str().unwrap(), form_of(&inputs["params"]));
            let keys = vec![Mac::sha1(b"an older token"), Mac::sha1(inputs["token"].as_str().unwrap().as_bytes())];
            let genuine = request(url, FORM, &body, vector["expected"].as_str().unwrap());
            assert_eq!(verify(&keys, &genuine), Verdict::Genuine, "{}", vector["name"]);
            let changed = [
                RawRequest { url: url.replace("foo=1", "foo=2"), ..genuine.clone() },
                RawRequest { url: url.replace("mycompany", "mycompanx"), ..genuine.clone() },
                RawRequest { body: format!("{body}&Extra=1").into(), ..genuine.clone() },
            ];
            for request in changed {
                assert!(matches!(verify(&keys, &request), Verdict::Forged(_)), "{} {request:?}", vector["name"]);
            }
            assert!(matches!(verify(&keys[..1], &genuine), Verdict::Forged(_)), "the other token");
        }
    }

    #[test]
    fn the_documented_example_is_genuine_at_both_spellings_of_its_port() {
        let body = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
        for (url, signature) in [
            ("https://mycompany.com/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
            ("https://mycompany.com:443/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
            ("https://mycompany.com/myapp.php?foo=1&bar=2", "kvajT1Ptam85bY51eRf/AJRuM3w="),
            ("http://mycompany.com/myapp.php?foo=1&bar=2", "0ZXoZLH/DfblKGATFgpif+LLRf4="),
            ("https://mycompany.com/myapp.php?foo=1&bar=2#ct=2000", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ] {
            assert_eq!(verify(&keys(), &request(url, FORM, body, signature)), Verdict::Genuine, "{url} {signature}");
        }
    }

    #[test]
    fn no_signature_is_missing_and_nonsense_is_forged() {
        let mut bare = request("https://a.example/", FORM, "A=1", "x");
        assert!(matches!(verify(&keys(), &bare), Verdict::Forged(_)));
        bare.headers.remove(HEADER);
        assert_eq!(verify(&keys(), &bare), Verdict::Missing);
        bare.headers.insert(HEADER, "".parse().unwrap());
        assert_eq!(verify(&keys(), &bare), Verdict::Missing);
    }

    #[test]
    fn empty_values_blanks_and_duplicates_count_as_twilio_counts_them() {
        let url = "https://a.example/hooks/sms";
        let signature = sign(&format!("{url}A xB1B2To"));
        let genuine = request(url, FORM, "To=&B=2&A=+x&B=1&B=2", &signature);
        assert_eq!(verify(&keys(), &genuine), Verdict::Genuine);
        let without_empty = request(url, FORM, "B=2&A=+x&B=1", &signature);
        assert!(matches!(verify(&keys(), &without_empty), Verdict::Forged(_)));
    }

    #[test]
    fn a_get_is_signed_by_its_url_alone() {
        let url = "https://a.example/hooks/sms?Body=it's&From=%2B1";
        let mut get = request(url, "", "", &sign(&url.replace('\'', "%27")));
        get.method = Method::GET;
        assert_eq!(verify(&keys(), &get), Verdict::Genuine);
        get.body = Bytes::from_static(b"Body=other");
        assert!(matches!(verify(&keys(), &get), Verdict::Forged(_)));
    }

    #[test]
    fn json_is_bound_by_its_hash() {
        let body = "{\"property\": \"value\", \"boolean\": true}";
        let hash = switchboard_adapter_sdk::signature::sha256_hex(body.as_bytes());
        let url = format!("https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256={hash}");
        let genuine = request(&url, "application/json", body, "a9nBmqA0ju/hNViExpshrM61xv4=");
        assert_eq!(verify(&keys(), &genuine), Verdict::Genuine);
        for other in ["{}", ""] {
            let changed = RawRequest { body: Bytes::from_static(other.as_bytes()), ..genuine.clone() };
            assert!(matches!(verify(&keys(), &changed), Verdict::Forged(_)));
        }
        let unbound = "https://mycompany.com/myapp.php";
        let unbound = request(unbound, "application/json", body, &sign(unbound));
        assert!(matches!(verify(&keys(), &unbound), Verdict::Forged(_)));
    }

    #[test]
    fn a_port_is_taken_off_or_put_on_whatever_the_host_looks_like() {
        for (url, other) in [
            ("https://a.example/x?y:1", Some("https://a.example:443/x?y:1")),
            ("http://a.example", Some("http://a.example:80")),
            ("https://u:p@a.example/x", Some("https://u:p@a.example:443/x")),
            ("https://u:p@a.example:8443/x", Some("https://u:p@a.example/x")),
            ("https://[::1]/x", Some("https://[::1]:443/x")),
            ("https://[::1]:8443?x", Some("https://[::1]?x")),
            ("nonsense", None),
            ("ftp://a.example/", None),
        ] {
            assert_eq!(other_port(url).as_deref(), other, "{url}");
        }
    }
}
