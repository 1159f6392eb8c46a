//! The one form that uploads use: `multipart/form-data` (RFC 7578) whose first part with a file name is the file. The body is
//! in memory already, capped, so nothing has to stream.

use thiserror::Error;

/// The file of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MultipartError {
    #[error("the content type names no boundary")]
    Boundary,
    #[error("the form holds no complete part with a file name")]
    NoFile,
}

/// The boundary that a content type names, if it is a form.
fn boundary(content_type: &str) -> Option<&str> {
    let mut fields = content_type.split(';').map(str::trim);
    fields.next().filter(|t| t.eq_ignore_ascii_case("multipart/form-data"))?;
    let value = fields.find_map(|f| {
        let (key, value) = f.split_once('=')?;
        key.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (1..=70).contains(&value.len()).then_some(value)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The first part with a file name.
///
/// # Errors
/// When this is no form, or holds no such part with both its boundaries.
pub fn first_file<'a>(content_type: &str, body: &'a [u8]) -> Result<Part<'a>, MultipartError> {
    let boundary = boundary(content_type).ok_or(MultipartError::Boundary)?;
    let (open, close) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let mut rest = body.get(find(body, open.as_bytes()).ok_or(MultipartError::NoFile)?..).unwrap_or_default();
    // A form of a browser has a handful of fields; a hostile one must not make this loop long.
    for _ in 0..16 {
        let part =
            rest.strip_prefix(open.as_bytes()).and_then(|r| r.strip_prefix(b"\r\n")).ok_or(MultipartError::NoFile)?;
        let head_end =
            find(part.get(..4096.min(part.len())).unwrap_or_default(), b"\r\n\r\n").ok_or(MultipartError::NoFile)?;
        let (head, content) = part.split_at_checked(head_end).ok_or(MultipartError::NoFile)?;
        let content = content.get(4..).unwrap_or_default();
        // An empty part ends at the line break that ends its head.
        let end = if content.starts_with(open.as_bytes()) { Some(0) } else { find(content, close.as_bytes()) };
        let (bytes, after) =
            content.split_at_checked(end.ok_or(MultipartError::NoFile)?).ok_or(MultipartError::NoFile)?;
        if let Some(name) = file_name(head) {
            return Ok(Part { name, bytes });
        }
        rest = after.strip_prefix(b"\r\n").unwrap_or(after);
    }
    Err(MultipartError::NoFile)
}

fn file_name(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let line =
        head.split("\r\n").find(|l| l.get(..20).is_some_and(|k| k.eq_ignore_ascii_case("content-disposition:")))?;
    let value = line.split_once("filename=\"")?.1;
    value.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "multipart/form-data; boundary=----x1";

    fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = vec![];
        for (disposition, bytes) in parts {
            out.extend_from_slice(
                format!("------x1\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").as_bytes(),
            );
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"------x1--\r\n");
        out
    }

    #[test]
    fn the_file_is_found_behind_other_fields() {
        let body = form(&[("name=\"note\"", b"hi"), ("name=\"file\"; filename=\"a.png\"", b"\x89PNG\r\n\x1a\n--x")]);
        assert_eq!(first_file(TYPE, &body), Ok(Part { name: "a.png", bytes: b"\x89PNG\r\n\x1a\n--x" }));
        let quoted = "multipart/form-data; charset=utf-8; boundary=\"----x1\"";
        assert_eq!(first_file(quoted, &body).unwrap().name, "a.png");
    }

    #[test]
    fn a_form_without_a_whole_file_is_an_error() {
        let body = form(&[("name=\"file\"; filename=\"a.png\"", b"12345")]);
        assert_eq!(first_file("image/png", &body), Err(MultipartError::Boundary));
        assert_eq!(first_file("multipart/form-data", &body), Err(MultipartError::Boundary));
        for cut in 0..body.len() - 4 {
            let found = first_file(TYPE, &body[..cut]);
            assert!(found.is_err() || found == Ok(Part { name: "a.png", bytes: b"12345" }), "cut at {cut}: {found:?}");
        }
        assert_eq!(first_file(TYPE, &form(&[("name=\"note\"", b"hi")])), Err(MultipartError::NoFile));
        let many: Vec<(&str, &[u8])> = vec![("name=\"n\"", b"x"); 50];
        assert_eq!(first_file(TYPE, &form(&many)), Err(MultipartError::NoFile));
    }

    proptest! {
        #[test]
        fn reading_a_form_is_total(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = first_file(TYPE, &body);
            let mut framed = b"------x1\r\n".to_vec();
            framed.extend(body);
            let _ = first_file(TYPE, &framed);
        }
    }
}
