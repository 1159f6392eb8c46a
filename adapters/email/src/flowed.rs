//! `format=flowed` (RFC 3676): lines that a client broke are whole again.

/// The text with its soft breaks undone. With `delsp` the blank before a soft break belongs to the break.
#[must_use]
pub fn unflow(text: &str, delsp: bool) -> String {
    let mut out = String::with_capacity(text.len());
    // The quote depth of a line that waits for its rest.
    let mut open: Option<usize> = None;
    for line in text.lines() {
        let depth = line.bytes().take_while(|b| *b == b'>').count();
        let inside = line.get(depth..).unwrap_or_default();
        let inside = inside.strip_prefix(' ').unwrap_or(inside);
        let is_signature = inside == "-- ";
        let soft = inside.ends_with(' ') && !is_signature;
        if open != Some(depth) || is_signature {
            if open.is_some() {
                out.push('\n');
            }
            if depth > 0 {
                out.extend(std::iter::repeat_n('>', depth));
                out.push(' ');
            }
        }
        let kept = if soft && delsp { inside.get(..inside.len() - 1).unwrap_or(inside) } else { inside };
        out.push_str(kept);
        open = soft.then_some(depth);
        if !soft {
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_breaks_are_undone_within_one_depth() {
        assert_eq!(unflow("one \ntwo\n  three\n", false), "one two\n three\n");
        assert_eq!(unflow("日本 \n語\n", true), "日本語\n");
        assert_eq!(unflow("> a \n> b\n>> c \nd\n", false), "> a b\n>> c \nd\n");
        assert_eq!(unflow("a \n-- \nName \n", false), "a \n-- \nName ");
        assert_eq!(unflow("", false), "");
    }
}
