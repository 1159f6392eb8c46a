//! Reply texts with `{{ … }}`: names and a few filters, no logic. Everything that can go wrong is found at load, so that
//! filling in is total: a name that may be missing must say what stands in its place.

use super::Name;
use super::problem::{Place, Sink, nearest, suggestion};
use super::read::{filled, short};
use super::refs::{Kind, Refs};
use super::standing::{Asked, unmarked};
use super::yaml::Node;

/// The longest text that a template may grow to, in bytes.
const MAX_RENDERED: usize = 64 * 1024;
/// The most agents, or skills, that one text may name.
const MAX_NAMES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Fill { var: Var, filters: Vec<Filter>, written: String },
}

/// A name that templates know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Var {
    ContactName,
    ContactFirstName,
    ContactTags,
    AgentName,
    ContactAttribute(String),
    ConversationQueue,
    ConversationTags,
    ConversationAttribute(String),
    MessageText,
    MessageSubject,
    MessageFrom,
    MessageChannel,
    MessageMeta(String),
    Match(String),
    /// As conditions read it again, to ask how long ago it was.
    Now,
    NextOpen(Name),
    NextOpenDate(Name),
    NextOpenTime(Name),
    /// Known only once the conversation is placed: a mark stands for it till then.
    Queue(Asked),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    Default(String),
    Upper,
    Lower,
    Trim,
}

/// Names without a free part, for suggestions and the schema.
pub(crate) const VARIABLES: [&str; 15] = [
    "agent.name",
    "contact.name",
    "contact.first_name",
    "contact.tags",
    "conversation.queue",
    "conversation.tags",
    "message.text",
    "message.subject",
    "message.from",
    "message.channel",
    "now",
    "queue.position",
    "queue.place",
    "queue.wait",
    "hours.<id>.next_open",
];

/// Where a template's values come from.
pub(crate) trait Values {
    /// `None` when the value is missing.
    fn value(&self, var: &Var) -> Option<String>;
}

impl Template {
    /// Reads a template; the error is (what is wrong, what to write).
    pub(crate) fn parse(source: &str) -> Result<Template, (String, String)> {
        for block in ["{%", "{#"] {
            if source.contains(block) {
                let hint = "templates have no logic: move the decision into rules, each with its own reply";
                return Err((format!("`{block}` is not taken in a template"), hint.into()));
            }
        }
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once("{{") {
            push_text(&mut parts, before);
            let Some((inside, after)) = split_close(after) else {
                return Err(("a `{{` is never closed".into(), "write `}}` after the name".into()));
            };
            parts.push(fill(inside)?);
            rest = after;
        }
        push_text(&mut parts, rest);
        Ok(Template { parts })
    }

    /// Every name in it, with whether something stands in its place when it is missing.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (&Var, bool, &str)> {
        self.parts.iter().filter_map(|p| match p {
            Part::Text(_) => None,
            Part::Fill { var, filters, written } => {
                let defaulted = filters.iter().any(|f| matches!(f, Filter::Default(_)));
                Some((var, defaulted, written.as_str()))
            }
        })
    }

    /// The text for a person to finish: the customer's name is left as `{name}`, what has a default takes it, and anything else
    /// stays as its name in brackets.
    pub(crate) fn draft(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Fill { var: Var::ContactName | Var::ContactFirstName, .. } => "{name}".to_owned(),
            Part::Fill { filters, written, .. } => {
                let default =
                    filters.iter().find_map(|f| if let Filter::Default(text) = f { Some(text) } else { None });
                default.cloned().unwrap_or_else(|| format!("[{written}]"))
            }
        };
        self.parts.iter().map(part).collect()
    }

    /// The filled-in text.
    ///
    /// # Errors
    /// Names the value that is missing, or says that the text became too long.
    pub(crate) fn render(&self, values: &dyn Values) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(t) => out.push_str(t),
                Part::Fill { var: Var::Queue(asked), .. } => out.push(asked.mark()),
                Part::Fill { var, filters, written } => {
                    let value = filters.iter().fold(values.value(var).map(unmarked), |v, f| f.apply(v));
                    let value = value.ok_or_else(|| format!("`{written}` has no value here"))?;
                    out.push_str(&value);
                }
            }
            if out.len() > MAX_RENDERED {
                return Err(format!("the text grew beyond {MAX_RENDERED} bytes"));
            }
        }
        Ok(out)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(unmarked(text.to_owned())));
    }
}

/// Up to the `}}` that is not inside quotes.
fn split_close(s: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (i, c) in s.char_indices() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '}') => {
                if let Some(after) = s.get(i..).and_then(|r| r.strip_prefix("}}")) {
                    return s.get(..i).map(|inside| (inside, after));
                }
            }
            _ => {}
        }
    }
    None
}

/// Parts between `|` that are not inside quotes.
fn pipes(s: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (i, c) in s.char_indices() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '|') => {
                parts.extend(s.get(start..i));
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.extend(s.get(start..));
    parts
}

fn fill(inside: &str) -> Result<Part, (String, String)> {
    let mut pieces = pipes(inside).into_iter().map(str::trim);
    let name = pieces.next().unwrap_or_default();
    if let Some(text) = literal(name) {
        return Ok(Part::Text(text));
    }
    let var = variable(name)?;
    let filters = pieces.map(filter).collect::<Result<Vec<_>, _>>()?;
    if matches!(var, Var::Queue(_)) && !filters.is_empty() {
        let hint = format!("write {{{{ {name} }}}}; it always has a value");
        return Err((format!("`{}` takes no filter", short(name)), hint));
    }
    Ok(Part::Fill { var, filters, written: name.to_owned() })
}

fn literal(s: &str) -> Option<String> {
    let q = s.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = s.strip_prefix(q)?.strip_suffix(q)?;
    (!inner.contains(q)).then(|| inner.to_owned())
}

fn variable(name: &str) -> Result<Var, (String, String)> {
    let simple = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let parts: Vec<&str> = name.split('.').collect();
    if !parts.iter().all(|p| simple(p)) {
        let hint = "write one dotted name, such as {{ contact.first_name | default('') }}";
        return Err((format!("`{}` is not a name that a template can fill in", short(name)), hint.into()));
    }
    Ok(match parts.as_slice() {
        ["contact", "name"] => Var::ContactName,
        ["contact", "first_name"] => Var::ContactFirstName,
        ["contact", "tags"] => Var::ContactTags,
        ["contact", "attributes", x] => Var::ContactAttribute((*x).to_owned()),
        ["agent", "name"] => Var::AgentName,
        ["conversation", "queue"] => Var::ConversationQueue,
        ["conversation", "tags"] => Var::ConversationTags,
        ["conversation", "attributes", x] => Var::ConversationAttribute((*x).to_owned()),
        ["message", "text"] => Var::MessageText,
        ["message", "subject"] => Var::MessageSubject,
        ["message", "from"] => Var::MessageFrom,
        ["message", "channel"] => Var::MessageChannel,
        ["message", "meta", x] => Var::MessageMeta((*x).to_owned()),
        ["queue", "position"] => Var::Queue(Asked::Position),
        ["queue", "place"] => Var::Queue(Asked::Place),
        ["queue", "wait"] => Var::Queue(Asked::Wait),
        ["now"] => Var::Now,
        ["match", x] => Var::Match((*x).to_owned()),
        ["hours", id, "next_open"] => Var::NextOpen((*id).to_owned()),
        ["hours", id, "next_open_date"] => Var::NextOpenDate((*id).to_owned()),
        ["hours", id, "next_open_time"] => Var::NextOpenTime((*id).to_owned()),
        ["hours", ..] => {
            let hint = "write `hours.<id>.next_open`, `.next_open_date` or `.next_open_time`";
            return Err((format!("unknown name `{}` in a template", short(name)), hint.into()));
        }
        _ => {
            let hint = match nearest(name, VARIABLES) {
                Some(v) => format!("did you mean `{v}`"),
                None => format!(
                    "{}, `contact.attributes.<name>`, `conversation.attributes.<name>`, `message.meta.<name>` or `match.<name>`",
                    suggestion("", &VARIABLES)
                ),
            };
            return Err((format!("unknown name `{}` in a template", short(name)), hint));
        }
    })
}

fn filter(written: &str) -> Result<Filter, (String, String)> {
    let argument = |name: &str| {
        let inner = written.strip_prefix(name)?.trim().strip_prefix('(')?.strip_suffix(')')?;
        literal(inner.trim())
    };
    match written {
        "upper" => return Ok(Filter::Upper),
        "lower" => return Ok(Filter::Lower),
        "trim" => return Ok(Filter::Trim),
        _ => {}
    }
    if let Some(text) = argument("default") {
        return Ok(Filter::Default(text));
    }
    let hint = "write default('…'), upper, lower or trim";
    Err((format!("`{}` is not a filter that a template can use", short(written)), hint.into()))
}

impl Filter {
    fn apply(&self, value: Option<String>) -> Option<String> {
        match self {
            Filter::Default(d) => Some(value.filter(|v| !v.is_empty()).unwrap_or_else(|| d.clone())),
            Filter::Upper => value.map(|v| v.to_uppercase()),
            Filter::Lower => value.map(|v| v.to_lowercase()),
            Filter::Trim => value.map(|v| v.trim().to_owned()),
        }
    }
}

impl Var {
    /// Whether it can be missing, so that `default` is needed.
    pub(crate) fn optional(&self) -> bool {
        matches!(
            self,
            Var::AgentName
                | Var::ContactName
                | Var::ContactFirstName
                | Var::ContactAttribute(_)
                | Var::ConversationAttribute(_)
                | Var::ConversationQueue
                | Var::MessageSubject
                | Var::MessageFrom
                | Var::MessageMeta(_)
        )
    }

    /// The opening hours that it names.
    pub(crate) fn hours(&self) -> Option<&Name> {
        match self {
            Var::NextOpen(id) | Var::NextOpenDate(id) | Var::NextOpenTime(id) => Some(id),
            _ => None,
        }
    }
}

/// What the patterns of a rule capture, for the `match.<name>` of its templates.
#[derive(Clone, Copy, Default)]
pub(crate) struct Captured<'a> {
    /// Captured whenever the rule matches.
    pub certain: &'a [&'a str],
    /// Captured by one of its patterns.
    pub possible: &'a [&'a str],
}

/// What [`read`] calls the text of a reply.
pub(crate) const REPLY: &str = "a reply";
/// What [`read`] calls names that are filled in: where there is none, there is none.
pub(crate) const NAMES: &str = "a name";

/// Reads a template and checks all of it but `match.<name>`, which depends on who uses it.
pub(crate) fn read(node: &Node, what: &str, sink: &mut Sink, refs: &mut Refs) -> Option<Template> {
    let source = filled(node, what, sink)?;
    let template = match Template::parse(source) {
        Ok(t) => t,
        Err((message, hint)) => {
            sink.error(&node.at, message, hint);
            return None;
        }
    };
    for (var, defaulted, written) in template.vars() {
        if matches!(var, Var::Queue(_)) && what != REPLY {
            let hint = "only a reply can say it";
            sink.error(&node.at, format!("`{written}` is not known before the conversation is placed"), hint);
        }
        if let Some(id) = var.hours() {
            refs.add(&node.at, Kind::Hours, id);
        }
        if var.optional() && !defaulted && what != NAMES {
            let hint = format!("write {{{{ {written} | default('') }}}}, with what stands in its place");
            sink.error(&node.at, format!("`{written}` may be missing"), hint);
        }
    }
    Some(template)
}

impl Template {
    /// The names in a filled-in text, one after the other with commas between; what is missing is none.
    pub(crate) fn names(&self, values: &dyn Values) -> Vec<String> {
        let said = self.render(values).unwrap_or_default();
        let names = said.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty());
        names.take(MAX_NAMES).collect()
    }

    /// Checks the `match.<name>` of a template that is used at `at`.
    pub(crate) fn check_captures(&self, at: &Place, captured: Captured<'_>, sink: &mut Sink) {
        for (var, defaulted, written) in self.vars() {
            let Var::Match(name) = var else { continue };
            let name = name.as_str();
            if captured.certain.contains(&name) || (defaulted && captured.possible.contains(&name)) {
                continue;
            }
            if captured.possible.contains(&name) {
                // A pack that was in force when this was no mistake goes on as it did: what captures nothing is an empty text.
                if sink.stored {
                    continue;
                }
                let hint = format!("write {{{{ {written} | default('') }}}}, or capture it in every alternative");
                sink.error(at, format!("`{written}` is not captured by every way this rule can match"), hint);
                continue;
            }
            let hint = match nearest(name, captured.possible.iter().copied()) {
                Some(n) => format!("did you mean `match.{n}`"),
                None => format!("add a condition such as text: {{ matches: '(?<{name}>…)' }} to the rule"),
            };
            sink.error(at, format!("no pattern of this rule captures `{name}`"), hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Only(&'static str);

    impl Values for Only {
        fn value(&self, var: &Var) -> Option<String> {
            (*var == Var::ContactFirstName && !self.0.is_empty()).then(|| self.0.to_owned())
        }
    }

    #[test]
    fn a_draft_leaves_to_the_agent_what_only_a_message_has() {
        let source = "Hello {{ contact.first_name | default('there') }}, order {{ match.order }} is {{ \
                      conversation.attributes.state | default('on its way') | upper }}.";
        assert_eq!(Template::parse(source).unwrap().draft(), "Hello {name}, order [match.order] is on its way.");
    }

    fn render(source: &str, name: &'static str) -> Result<String, String> {
        Template::parse(source).unwrap().render(&Only(name))
    }

    #[test]
    fn names_filters_and_literals() {
        assert_eq!(render("Hi {{ contact.first_name | default('there') }}!", "Ann").unwrap(), "Hi Ann!");
        assert_eq!(render("Hi {{contact.first_name|default('you | {{}}')}}!", "").unwrap(), "Hi you | {{}}!");
        assert_eq!(render("{{ contact.first_name | upper }}", "Ann").unwrap(), "ANN");
        assert_eq!(render("{{ '{{' }} }}", "").unwrap(), "{{ }}");
        assert_eq!(render("no braces }} {", "").unwrap(), "no braces }} {");
        assert!(render("{{ contact.first_name }}", "").unwrap_err().contains("contact.first_name"));
        let t = Template::parse("{{ hours.late-shift.next_open }}").unwrap();
        assert_eq!(t.vars().next().unwrap().0.hours().unwrap(), "late-shift");
    }

    #[test]
    fn what_is_no_name_is_refused_at_load() {
        for bad in [
            "{% if x %}",
            "{# x #}",
            "{{ contact.nam }}",
            "{{ a + b }}",
            "{{ range(9) }}",
            "{{ contact.name",
            "{{}}",
            "{{ contact.name | shout }}",
            "{{ hours.office.shut }}",
            "{{ contact.name | default(x) }}",
            "{{ 'a }}",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Template::parse("{{ contact.nme }}").unwrap_err().1, "did you mean `contact.name`");
    }
}
