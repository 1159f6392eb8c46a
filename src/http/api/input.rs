//! Reading requests strictly: unknown keys are refused, and everything that is wrong is told at once.

use crate::http::problem::{Fault, Problem};
use axum::extract::FromRequestParts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use switchboard_envelope::Timestamp;

/// Rows of a list when the caller does not say, and at most.
const LIMIT: usize = 50;
const MOST: usize = 200;
/// Entries of a list or map in a body.
const MAX_ENTRIES: usize = 100;
/// Characters of a name or an id in a body.
pub const SHORT: usize = 256;
/// Characters of an attribute's value.
const MAX_VALUE: usize = 4096;
/// Bytes of a reply or note; longer than any channel's text.
pub const LONG: usize = 65_536;

/// The named parts of a path. What cannot be read, such as bytes that are no UTF-8, names nothing.
pub(super) struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(named)| Path(named)).map_err(|_| Problem::not_found("nothing has this id"))
    }
}

/// A JSON object whose keys are taken one by one.
#[derive(Debug)]
pub struct Fields {
    map: Map<String, Value>,
    faults: Vec<Fault>,
}

/// A key as a part of a JSON pointer.
fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

impl Fields {
    /// Reads a body; an empty one is an empty object.
    ///
    /// # Errors
    /// 415 when it is declared to be something else, 400 when it is no JSON object.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Fields, Problem> {
        if body.is_empty() {
            return Ok(Fields { map: Map::new(), faults: vec![] });
        }
        let declared = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let essence = declared.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = "the body must be `application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Fields { map, faults: vec![] }),
            Ok(_) => Err(Problem::bad("bad_json", "the body must be a JSON object")),
            Err(e) => {
                Err(Problem::bad("bad_json", format!("the body is no JSON: line {}, column {}", e.line(), e.column())))
            }
        }
    }

    pub fn fault(&mut self, key: &str, detail: impl Into<String>) {
        self.faults.push(Fault { pointer: pointer(key), detail: detail.into() });
    }

    /// Takes a value; `null` is as good as absent.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|v| !v.is_null())
    }

    /// Takes a key whose value does not matter.
    pub fn ignore(&mut self, key: &str) -> bool {
        self.map.remove(key).is_some()
    }

    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub fn optional(&mut self, key: &str, most: usize) -> Option<String> {
        match self.take(key)? {
            Value::String(s) if s.len() > most => {
                self.fault(key, format!("longer than {most} bytes"));
                None
            }
            Value::String(s) if s.trim().is_empty() => {
                self.fault(key, "must not be empty");
                None
            }
            Value::String(s) => Some(s),
            _ => {
                self.fault(key, "must be text");
                None
            }
        }
    }

    /// A required text; empty when it is missing, which [`Fields::finish`] then tells.
    pub fn text(&mut self, key: &str, most: usize) -> String {
        let faults = self.faults.len();
        let value = self.optional(key, most);
        if value.is_none() && self.faults.len() == faults {
            self.fault(key, "is missing");
        }
        value.unwrap_or_default()
    }

    pub fn flag(&mut self, key: &str) -> bool {
        match self.take(key) {
            None => false,
            Some(Value::Bool(b)) => b,
            Some(_) => {
                self.fault(key, "must be true or false");
                false
            }
        }
    }

    pub fn time(&mut self, key: &str) -> Option<Timestamp> {
        let text = self.optional(key, SHORT)?;
        match text.parse() {
            Ok(t) => Some(t),
            Err(_) => {
                self.fault(key, "must be a time such as 2026-11-21T20:22:05Z");
                None
            }
        }
    }

    pub fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        let Value::Array(list) = self.take(key)? else {
            self.fault(key, "must be a list of texts");
            return None;
        };
        if list.len() > MAX_ENTRIES {
            self.fault(key, format!("more than {MAX_ENTRIES} entries"));
            return None;
        }
        let mut out = Vec::with_capacity(list.len());
        for (i, v) in list.into_iter().enumerate() {
            match v {
                Value::String(s) if !s.is_empty() && s.len() <= SHORT => out.push(s),
                _ => self.fault(&format!("{key}\u{1}{i}"), "must be a short text"),
            }
        }
        Some(out)
    }

    /// A map of texts, in which `null` removes a key.
    pub fn map(&mut self, key: &str) -> BTreeMap<String, Option<String>> {
        let mut out = BTreeMap::new();
        let map = match self.take(key) {
            None => return out,
            Some(Value::Object(map)) if map.len() <= MAX_ENTRIES => map,
            Some(_) => {
                self.fault(key, format!("must be an object of at most {MAX_ENTRIES} texts"));
                return out;
            }
        };
        for (k, v) in map {
            let good_key = !k.is_empty() && k.len() <= SHORT;
            match v {
                Value::Null if good_key => drop(out.insert(k, None)),
                Value::String(s) if good_key && s.len() <= MAX_VALUE => drop(out.insert(k, Some(s))),
                _ => self.fault(&format!("{key}\u{1}{k}"), "must be a short text, or null to remove it"),
            }
        }
        out
    }

    /// A share in percent, also as text: `10` or `"10%"`.
    pub fn percent(&mut self, key: &str) -> u8 {
        let percent = match self.take(key) {
            Some(Value::Number(n)) => n.as_u64(),
            Some(Value::String(s)) => s.trim().trim_end_matches('%').trim_end().parse().ok(),
            _ => None,
        };
        let percent = percent.and_then(|n| u8::try_from(n).ok()).filter(|n| (1..=100).contains(n));
        if percent.is_none() {
            self.fault(key, "must be a share of 1 to 100 percent, such as 10");
        }
        percent.unwrap_or_default()
    }

    /// Texts of any length by their paths.
    pub fn documents(&mut self, key: &str) -> Option<Vec<(String, Vec<u8>)>> {
        let Value::Object(map) = self.take(key)? else {
            self.fault(key, "must be an object of texts by their paths");
            return None;
        };
        let mut out = Vec::with_capacity(map.len());
        for (path, v) in map {
            match v {
                Value::String(text) if !path.is_empty() && path.len() <= SHORT => out.push((path, text.into_bytes())),
                _ => self.fault(&format!("{key}\u{1}{path}"), "must be a text under a short path"),
            }
        }
        Some(out)
    }

    /// An inner object.
    pub fn object(&mut self, key: &str) -> Option<Fields> {
        match self.take(key)? {
            Value::Object(map) => Some(Fields { map, faults: vec![] }),
            _ => {
                self.fault(key, "must be an object");
                None
            }
        }
    }

    /// A list of objects.
    pub fn objects(&mut self, key: &str) -> Vec<Fields> {
        let Some(value) = self.take(key) else { return vec![] };
        let Value::Array(list) = value else {
            self.fault(key, "must be a list of objects");
            return vec![];
        };
        if list.len() > MAX_ENTRIES {
            self.fault(key, format!("more than {MAX_ENTRIES} entries"));
            return vec![];
        }
        let mut out = vec![];
        for (i, v) in list.into_iter().enumerate() {
            match v {
                Value::Object(map) => out.push(Fields { map, faults: vec![] }),
                _ => self.fault(&format!("{key}\u{1}{i}"), "must be an object"),
            }
        }
        out
    }

    /// Takes over what is wrong with an inner object.
    pub fn adopt(&mut self, key: &str, inner: Fields) {
        let prefix = pointer(key);
        for f in inner.into_faults() {
            self.faults.push(Fault { pointer: format!("{prefix}{}", f.pointer), detail: f.detail });
        }
    }

    fn into_faults(self) -> Vec<Fault> {
        let unknown = self.map.keys().map(|k| Fault { pointer: pointer(k), detail: "is not known here".into() });
        let mut faults = self.faults;
        faults.extend(unknown);
        // Inner places were joined by a sign that no key needs escaping for.
        for f in &mut faults {
            f.pointer = f.pointer.replace('\u{1}', "/");
        }
        faults
    }

    /// # Errors
    /// 422 with everything that is wrong, unknown keys among it.
    pub fn finish(self) -> Result<(), Problem> {
        let faults = self.into_faults();
        if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
    }
}

/// The query of a request, read strictly.
pub struct Params {
    given: BTreeMap<String, Vec<String>>,
    faults: Vec<Fault>,
}

impl Params {
    #[must_use]
    pub fn of(uri: &Uri) -> Params {
        let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (k, v) in form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()) {
            given.entry(k.into_owned()).or_default().push(v.into_owned());
        }
        Params { given, faults: vec![] }
    }

    pub fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault { pointer: name.to_owned(), detail: detail.into() });
    }

    /// One value; an empty one is as good as absent.
    pub fn one(&mut self, name: &str) -> Option<String> {
        let mut values = self.given.remove(name)?;
        if values.len() > 1 {
            self.fault(name, "is given more than once");
        }
        values.pop().filter(|v| !v.is_empty())
    }

    pub fn limit(&mut self) -> usize {
        let Some(text) = self.one("limit") else { return LIMIT };
        match text.parse::<usize>() {
            Ok(n) if (1..=MOST).contains(&n) => n,
            _ => {
                self.fault("limit", format!("must be 1 to {MOST}"));
                LIMIT
            }
        }
    }

    /// Where a list goes on. `list` keeps the cursor of one list from being used on another.
    pub fn cursor(&mut self, list: &str) -> Option<u64> {
        let text = self.one("cursor")?;
        let place = URL_SAFE_NO_PAD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|s| {
            let (l, n) = s.split_once('.')?;
            (l == list).then(|| n.parse().ok())?
        });
        if place.is_none() {
            self.fault("cursor", "is not one that this list gave");
        }
        place
    }

    /// # Errors
    /// 400 with everything that is wrong, unknown parameters among it.
    pub fn finish(mut self) -> Result<(), Problem> {
        let unknown = self.given.keys().map(|k| Fault { pointer: k.clone(), detail: "is not known here".into() });
        self.faults.extend(unknown);
        if self.faults.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = self.faults.iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect();
        Err(Problem { errors: self.faults, ..Problem::bad("bad_query", told.join("; ")) })
    }
}

/// The opaque cursor of a list.
#[must_use]
pub fn cursor(list: &str, next: Option<u64>) -> Value {
    next.map_or(Value::Null, |n| Value::String(URL_SAFE_NO_PAD.encode(format!("{list}.{n}"))))
}
