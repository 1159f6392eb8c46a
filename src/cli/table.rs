use super::screen::plain;

/// Rows under headings, aligned by blanks, cut to the terminal's width.
pub(crate) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// A column is not cut below this.
const LEAST: usize = 8;
/// Columns that are not cut at all, wherever they stand.
const WHOLE: &[&str] = &["CONVERSATION"];

impl Table {
    pub fn new(heads: &[&'static str]) -> Table {
        Table { heads: heads.to_vec(), rows: vec![] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|c| plain(c)).map(|c| if c.is_empty() { "-".into() } else { c }).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Leaves out those of these columns in which no row says anything.
    pub fn shed(&mut self, columns: &[&str]) {
        for column in columns {
            let Some(at) = self.heads.iter().position(|h| h == column) else { continue };
            if self.rows.iter().all(|r| r.get(at).is_none_or(|cell| cell == "-")) {
                self.heads.remove(at);
                self.rows.iter_mut().filter(|r| at < r.len()).for_each(|r| drop(r.remove(at)));
            }
        }
    }

    /// The text of the table, without a line end at its end.
    pub fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let heads: Vec<String> = self.heads.iter().map(|h| (*h).to_owned()).collect();
        let lines: Vec<String> = std::iter::once(&heads).chain(&self.rows).map(|row| line(row, &widths)).collect();
        lines.join("\n")
    }

    /// As wide as their widest cell; when that is too wide, the widest columns give. The first one and those of [`WHOLE`] never
    /// do: they hold what the next command is told, and half an id names nothing.
    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let widest = |i: usize, head: &str| {
            let cells = self.rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count());
            cells.chain([head.chars().count()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = self.heads.iter().enumerate().map(|(i, h)| widest(i, h)).collect();
        let Some(limit) = limit else { return widths };
        let gaps = widths.len().saturating_sub(1) * 2;
        while widths.iter().sum::<usize>() + gaps > limit {
            let giving = widths.iter_mut().zip(&self.heads).skip(1).filter(|(_, head)| !WHOLE.contains(head));
            match giving.map(|(w, _)| w).max() {
                Some(w) if *w > LEAST => *w -= 1,
                _ => break,
            }
        }
        widths
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut out = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        if !out.is_empty() {
            out.push_str("  ");
        }
        let cut = cut(cell, *width);
        let blanks = width.saturating_sub(cut.chars().count());
        out.push_str(&cut);
        out.extend(std::iter::repeat_n(' ', blanks));
    }
    out.truncate(out.trim_end().len());
    out
}

/// At most `width` characters, with `…` where something is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut t = Table::new(&["ID", "STATE", "LAST"]);
        t.row(vec!["c1".into(), "queued".into(), "Where is my order? I have been waiting for two weeks".into()]);
        t.row(vec!["c22".into(), String::new(), "hi\nthere".into()]);
        t
    }

    #[test]
    fn columns_are_aligned_and_nothing_is_cut_without_a_terminal() {
        assert_eq!(
            table().render(None),
            "ID   STATE   LAST\nc1   queued  Where is my order? I have been waiting for two weeks\nc22  -       hi there"
        );
    }

    #[test]
    fn an_id_stays_whole_however_narrow_the_terminal() {
        let mut t = Table::new(&["ID", "LAST"]);
        t.row(vec!["c0123456789abcdef".into(), "Where is my order?".into()]);
        assert_eq!(t.render(Some(28)), "ID                 LAST\nc0123456789abcdef  Where is…");
    }

    #[test]
    fn the_id_of_a_conversation_stays_whole_in_any_column() {
        let mut t = Table::new(&["ID", "CONVERSATION", "DETAIL"]);
        t.row(vec!["m0123456789abcdef".into(), "c0123456789abcdef".into(), "the provider refused it: 21610".into()]);
        let text = t.render(Some(50));
        assert!(text.contains("m0123456789abcdef  c0123456789abcdef  the provide…"), "{text}");
    }

    #[test]
    fn a_column_that_says_nothing_is_left_out_where_that_is_wanted() {
        let mut t = Table::new(&["ID", "SUBJECT", "LAST"]);
        t.row(vec!["c1".into(), String::new(), String::new()]);
        t.shed(&["SUBJECT"]);
        assert_eq!(t.render(None), "ID  LAST\nc1  -");
        let mut t = Table::new(&["ID", "SUBJECT", "LAST"]);
        t.row(vec!["c1".into(), String::new(), "a".into()]);
        t.row(vec!["c2".into(), "Refund".into(), "b".into()]);
        t.shed(&["SUBJECT"]);
        assert_eq!(t.render(None), "ID  SUBJECT  LAST\nc1  -        a\nc2  Refund   b");
    }

    #[test]
    fn the_widest_column_gives() {
        let text = table().render(Some(40));
        assert!(text.lines().all(|l| l.chars().count() <= 40), "{text}");
        assert!(text.contains("c1   queued  Where is my order? I have …"), "{text}");
    }
}
