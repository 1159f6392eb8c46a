//! Addresses under which the files of messages open without a token, for a while: so a desk can show a picture, and a browser
//! fetch it by itself.

use crate::http::problem::Problem;
use http::{StatusCode, Uri};
use switchboard_adapter_sdk::signature::{Mac, equal, from_hex, to_hex};
use switchboard_envelope::Timestamp;

const HOUR_MS: i64 = 3_600_000;
/// How long a link opens at least, in milliseconds: for whoever looks at it later in the day.
const LIFE_MS: i64 = 24 * HOUR_MS;
/// What is signed is said to be for this, should the key ever sign something else.
const PURPOSE: &[u8] = b"files of the api 1";
/// The longest address that is looked at.
const ADDRESS_MAX: usize = 1024;

/// Makes links, and opens them. A link names one file of one message, and every process of the workspace opens it.
#[derive(Clone, Debug)]
pub struct FileLinks(Mac);

impl FileLinks {
    /// With a key of the workspace, from which a key of its own is made.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> FileLinks {
        FileLinks(Mac::sha256(&Mac::sha256(key).sign(PURPOSE)))
    }

    /// Where a file of a message can be read. All links of an hour are the same, so that a page that is drawn again does not fetch
    /// its pictures again.
    pub(super) fn link(&self, message: &str, index: usize, now: Timestamp) -> String {
        self.signed(&format!("/messages/{message}/attachments/{index}"), now)
    }

    /// The same for a file that is named by its path within the API, as notices name them; `None` when it is no file's.
    pub(crate) fn of_path(&self, path: &str, now: Timestamp) -> Option<String> {
        let (message, index) = path.strip_prefix("/messages/")?.split_once("/attachments/")?;
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        (plain(message) && plain(index)).then(|| self.signed(path, now))
    }

    fn signed(&self, path: &str, now: Timestamp) -> String {
        let until = (now.0.div_euclid(HOUR_MS) + 1) * HOUR_MS + LIFE_MS;
        let signature = to_hex(&self.sign(path, &until.to_string()));
        format!("/api/v1{path}?until={until}&signature={signature}")
    }

    fn sign(&self, path: &str, until: &str) -> Vec<u8> {
        self.0.sign_parts(&[path.as_bytes(), b"\n", until.as_bytes()])
    }

    /// Whether a request comes by a link; `None` when it is for no file, or brings no signature.
    ///
    /// # Errors
    /// 403 when the link is not ours, was changed, or has ended.
    pub(super) fn open(&self, uri: &Uri, now: Timestamp) -> Option<Result<(), Problem>> {
        let path = uri.path().strip_prefix("/api/v1").unwrap_or(uri.path());
        // Elsewhere the word is one that somebody looks for.
        let (_, index) = path.strip_prefix("/messages/")?.split_once("/attachments/")?;
        let query = uri.query().filter(|q| !index.contains('/') && q.contains("signature="))?;
        Some(self.check(path, query, now))
    }

    fn check(&self, path: &str, query: &str, now: Timestamp) -> Result<(), Problem> {
        let refused = |code, detail| Problem::new(StatusCode::FORBIDDEN, code, detail);
        let foreign =
            || refused("link_refused", "this is no link of ours; open the conversation in the console to get one");
        // Only the form in which it was made: nothing is decoded, and nothing may stand beside it.
        let (until, signature) = Some(query)
            .filter(|q| path.len() + q.len() <= ADDRESS_MAX)
            .and_then(|q| q.strip_prefix("until=")?.split_once("&signature="))
            .ok_or_else(foreign)?;
        let given = from_hex(signature).ok_or_else(foreign)?;
        if !equal(&given, &self.sign(path, until)) {
            return Err(foreign());
        }
        let until: i64 = until.parse().map_err(|_| foreign())?;
        if now.0 >= until {
            return Err(refused(
                "link_expired",
                "this link has ended; open the conversation in the console to get a new one",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(links: &FileLinks, address: &str, now: i64) -> Option<Result<(), String>> {
        let uri: Uri = address.parse().unwrap();
        links.open(&uri, Timestamp(now)).map(|r| r.map_err(|p| p.code))
    }

    #[test]
    fn a_link_opens_its_file_until_it_ends_and_nothing_else() {
        let links = FileLinks::new(&[1; 32]);
        let now = 1_763_000_100_000;
        let link = links.link("m1", 0, Timestamp(now));
        assert_eq!(opened(&links, &link, now), Some(Ok(())));
        assert_eq!(opened(&links, &link, now + LIFE_MS), Some(Ok(())));
        assert_eq!(opened(&links, &link, now + LIFE_MS + HOUR_MS), Some(Err("link_expired".into())));
        assert_eq!(links.link("m1", 0, Timestamp(now + 1)), link, "the same within the hour");
        assert_ne!(links.link("m1", 0, Timestamp(now + HOUR_MS)), link);
        let refused = Some(Err("link_refused".to_owned()));
        assert_eq!(opened(&FileLinks::new(&[2; 32]), &link, now), refused, "another workspace's");
        // Another file, another message, a later end, and each character changed.
        for (from, to) in
            [("/attachments/0", "/attachments/1"), ("/m1/", "/m2/"), ("until=1", "until=2"), ("until=", "until=+")]
        {
            assert_eq!(opened(&links, &link.replace(from, to), now), refused, "{from} as {to}");
        }
        let from = link.find("signature=").unwrap() + 10;
        for i in from..link.len() {
            let mut changed = link.clone().into_bytes();
            changed[i] = if changed[i] == b'0' { b'1' } else { b'0' };
            assert_eq!(opened(&links, &String::from_utf8(changed).unwrap(), now), refused, "{i}");
        }
        for strange in
            ["signature=", "until=1&signature=", "signature=00&until=1", "until=x&signature=00", &"a".repeat(2000)]
        {
            let address = format!("/api/v1/messages/m1/attachments/0?{strange}&signature=");
            assert_eq!(opened(&links, &address, now), refused, "{strange}");
        }
        assert_eq!(opened(&links, &format!("{link}&x=1"), now), refused, "nothing beside it");
        assert_eq!(links.of_path("/messages/m1/attachments/0", Timestamp(now)), Some(link.clone()));
        for no_file in
            ["/messages/m1", "/messages/m1/attachments/", "/messages/m1/attachments/0/x", "/agents", "https://x"]
        {
            assert_eq!(links.of_path(no_file, Timestamp(now)), None, "{no_file}");
        }
        for other in
            ["/messages/m1/attachments/0", "/conversations?text=signature%3D&q=signature=", "/messages/m1?signature="]
        {
            assert_eq!(opened(&links, &format!("/api/v1{other}"), now), None, "{other} is for tokens");
        }
    }
}
