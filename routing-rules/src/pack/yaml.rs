//! YAML as a tree of text, lists and maps in which everything knows its place. It takes less than YAML allows: what an
//! operator may write by accident and YAML gives a meaning of its own (anchors, aliases, tags, empty values, escapes) is
//! a problem that shows the quoting.

use super::problem::{Place, Sink};
use granit_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest single value, in bytes.
const MAX_TEXT: usize = 16 * 1024;
/// Lists and maps within each other.
const MAX_DEPTH: usize = 24;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub at: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// Already reported; readers pass over it.
    Bad,
}

struct Reader<'s, 'k> {
    file: Arc<str>,
    source: &'s str,
    sink: &'k mut Sink,
    parser: Parser<'s, granit_parser::StrInput<'s>>,
    /// Inside something that has been reported as a whole.
    muted: bool,
}

/// Why reading ended early; the problem is in the sink.
struct Stop;

/// Reads one file. `None` when it is empty or cannot be read, which is then in the sink.
pub(crate) fn parse(file: &Arc<str>, source: &str, sink: &mut Sink) -> Option<Node> {
    let mut options = granit_parser::options! {
        emit_unresolved_aliases: true,
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH
    };
    options.set_emit_comments(false);
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut reader = Reader {
        file: file.clone(),
        source,
        parser: Parser::new_from_str_with_options(source, options),
        sink,
        muted: false,
    };
    match reader.document() {
        Ok(node) => node,
        Err(Stop) => {
            reader.sink.unreadable = true;
            None
        }
    }
}

impl<'s> Reader<'s, '_> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    let at = self.place(&span);
                    self.sink.error(&at, "a second document in one file", "remove the `---` or use another file");
                    return Err(Stop);
                }
                event => root = Some(self.node(event, &span, 0)?),
            }
        }
        // A file of comments only is an empty scalar.
        Ok(root.filter(|r| !matches!(&r.value, Value::Text(t) if t.is_empty())))
    }

    fn next(&mut self) -> Result<Option<(Event<'s>, Span)>, Stop> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, span))),
            Some(Err(e)) => {
                let mark = *e.marker();
                let at = self.place(&Span::new(mark, mark));
                let (message, hint) = self.why(mark.line(), mark.col(), &e.kind().to_string());
                self.sink.error(&at, message, hint);
                Err(Stop)
            }
        }
    }

    /// A scan error in words: most come from a value that begins with a character which YAML keeps for itself.
    fn why(&self, line: usize, column: usize, said: &str) -> (String, String) {
        let line = self.source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let rest: String = line.chars().skip(column).collect();
        let rest = rest.trim();
        match rest.chars().next() {
            Some(c @ ('@' | '`' | '*' | '%' | '&' | '!' | '|' | '>')) => {
                let value = rest.split([',', ']', '}', '#']).next().unwrap_or(rest).trim();
                (format!("a value may not begin with `{c}` unquoted"), format!("write {}", quoted(value)))
            }
            _ if line.contains('\t') && line.trim_start_matches(' ').starts_with('\t') => {
                ("a tab is used to indent".into(), "indent with spaces".into())
            }
            _ => (
                format!("this is not YAML: {said}"),
                "check the indentation, the quotes and the brackets here and on the line before".into(),
            ),
        }
    }

    fn place(&self, span: &Span) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            file: self.file.clone(),
            line: number(span.start.line().max(1)),
            column: number(span.start.col().saturating_add(1)),
        }
    }

    fn node(&mut self, event: Event<'s>, span: &Span, depth: usize) -> Result<Node, Stop> {
        let at = self.place(span);
        if depth > MAX_DEPTH {
            self.error(&at, "lists and maps are nested too deeply", format!("at most {MAX_DEPTH} levels"));
            return Err(Stop);
        }
        self.refuse_properties(&event, &at);
        let value = match event {
            Event::Scalar(text, style, _, _) => self.scalar(&text, style, &at, depth),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => match self.template(span) {
                Some(hint) => self.reported(&at, depth, hint)?,
                None => self.map(depth)?,
            },
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let written = span.slice(self.source).unwrap_or("*");
                let hint = format!("write {}", quoted(written));
                self.error(&at, format!("`{written}` without quotes is a YAML alias"), hint);
                Value::Bad
            }
            _ => Value::Bad,
        };
        Ok(Node { at, value })
    }

    fn error(&mut self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        if !self.muted {
            self.sink.error(at, message, hint);
        }
    }

    /// What to write for a template that lost its quotes, which YAML takes for a map within a map.
    fn template(&self, span: &Span) -> Option<String> {
        let rest = self.source.get(span.start.byte_offset()?..)?;
        let inside = rest.strip_prefix("{{")?.split("}}").next()?.lines().next()?;
        Some(format!("write '{{{{{inside}}}}}'"))
    }

    /// Reads past a map whose inside would only repeat what is wrong with it.
    fn reported(&mut self, at: &Place, depth: usize, hint: String) -> Result<Value, Stop> {
        self.error(at, "a `{{ … }}` without quotes", hint);
        let before = std::mem::replace(&mut self.muted, true);
        let read = self.map(depth);
        self.muted = before;
        read.map(|_| Value::Bad)
    }

    /// Anchors and tags are parts of YAML that a pack has no use for.
    fn refuse_properties(&mut self, event: &Event<'_>, at: &Place) {
        if let Some(tag) = event.tag() {
            let written = tag.original();
            self.error(at, format!("the YAML tag `{written}` is not taken"), "remove it, or put the value in quotes");
        }
        if event.anchor_id().is_some_and(|id| id > 0) && !event.is_alias() {
            self.error(at, "a value that begins with `&` unquoted is a YAML anchor", "put the value in quotes");
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: &Place, depth: usize) -> Value {
        if style == ScalarStyle::Plain && (text.is_empty() || text == "~") && depth > 0 {
            self.error(at, "an empty value", "write '' for an empty text, or remove the key");
            return Value::Bad;
        }
        if text.len() > MAX_TEXT {
            self.error(at, format!("a value of {} bytes", text.len()), format!("at most {MAX_TEXT} bytes"));
            return Value::Bad;
        }
        if let Some(c) = text.chars().find(|c| c.is_control() && *c != '\n') {
            let hint = if style == ScalarStyle::DoubleQuoted {
                "in double quotes a `\\` begins an escape; write the value in single quotes, as in '\\b'"
            } else {
                "remove it, and put the value in single quotes"
            };
            self.error(at, format!("the control character U+{:04X} inside a value", u32::from(c)), hint);
            return Value::Bad;
        }
        Value::Text(text.to_owned())
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, &span, depth + 1)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, &span, depth + 1)?;
            let Some((event, span)) = self.next()? else { break };
            let value = self.node(event, &span, depth + 1)?;
            match &key.value {
                Value::Text(k) => {
                    if let Some(first) = seen.get(k) {
                        let hint = format!("it is already at {first}; remove one");
                        self.error(&key.at, format!("`{k}` is written twice"), hint);
                        continue;
                    }
                    seen.insert(k.clone(), key.at.clone());
                }
                Value::Bad => continue,
                _ => {
                    self.error(&key.at, "a list or a map is used as a key", "write a text as the key");
                    continue;
                }
            }
            entries.push((key, value));
        }
        Ok(Value::Map(entries))
    }
}

/// The value in the quotes that keep it as written.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(source: &str) -> Vec<String> {
        let mut sink = Sink::default();
        let _ = parse(&Arc::from("a.yaml"), source, &mut sink);
        sink.into_problems().iter().map(ToString::to_string).collect()
    }

    fn root(source: &str) -> Node {
        let mut sink = Sink::default();
        let node = parse(&Arc::from("a.yaml"), source, &mut sink).unwrap();
        assert!(sink.is_empty());
        node
    }

    #[test]
    fn everything_knows_its_place_and_scalars_are_text_as_written() {
        let Value::Map(entries) = root("a: no\nb:\n  - +15550001111\n  - {c: 007, d: 'x: y'}\n").value else {
            panic!("not a map")
        };
        assert!(matches!(&entries[0].1.value, Value::Text(t) if t == "no"));
        assert_eq!((entries[0].1.at.line, entries[0].1.at.column), (1, 4));
        let Value::List(items) = &entries[1].1.value else { panic!("not a list") };
        assert!(matches!(&items[0].value, Value::Text(t) if t == "+15550001111"));
        assert_eq!((items[0].at.line, items[0].at.column), (3, 5));
        let Value::Map(inner) = &items[1].value else { panic!("not a map") };
        assert!(matches!(&inner[0].1.value, Value::Text(t) if t == "007"));
        assert!(matches!(&inner[1].1.value, Value::Text(t) if t == "x: y"));
        assert_eq!((inner[1].1.at.line, inner[1].1.at.column), (4, 17));
    }

    #[test]
    fn what_yaml_gives_a_meaning_of_its_own_shows_the_quoting() {
        assert_eq!(
            problems("a: *urgent\nb:\nc: \"\\bword\"\n"),
            [
                "a.yaml:1:4: `*urgent` without quotes is a YAML alias; write '*urgent'",
                "a.yaml:2:2: an empty value; write '' for an empty text, or remove the key",
                "a.yaml:3:4: the control character U+0008 inside a value; in double quotes a `\\` begins an escape; write the \
                 value in single quotes, as in '\\b'",
            ]
        );
        assert_eq!(problems("a: @ann\n"), ["a.yaml:1:4: a value may not begin with `@` unquoted; write '@ann'"]);
        assert_eq!(
            problems("a: 1\na: 2\n"),
            ["a.yaml:2:1: `a` is written twice; it is already at a.yaml:1:1; remove one"]
        );
        assert_eq!(problems("a: !!str x\n").len(), 1);
        assert_eq!(problems("a: &x y\n").len(), 1);
        assert_eq!(problems("a: 1\n---\nb: 2\n").len(), 1);
        assert_eq!(problems("a:\n\tb: 1\n").len(), 1);
    }

    #[test]
    fn hostile_nesting_ends_in_a_problem() {
        assert!(!problems(&"[".repeat(100_000)).is_empty());
        assert!(!problems(&"{a: ".repeat(5_000)).is_empty());
    }

    #[test]
    fn a_file_of_comments_is_empty() {
        assert!(problems("# nothing here\n").is_empty());
        assert!(parse(&Arc::from("a.yaml"), "# nothing\n", &mut Sink::default()).is_none());
    }
}
