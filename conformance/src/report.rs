use serde::Serialize;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// As `--only` names it.
    pub name: &'static str,
    /// What is promised.
    pub title: &'static str,
    /// What is wrong, a sentence each, with what to do.
    pub problems: Vec<String>,
    /// Why it could not be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_tried: Option<String>,
}

impl Verdict {
    /// It was tried, and nothing is wrong.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.problems.is_empty() && self.not_tried.is_none()
    }
}

/// What all checks found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub checks: Vec<Verdict>,
}

impl Report {
    /// Nothing that was tried is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|v| v.problems.is_empty())
    }

    /// How many hold, are wrong, and were not tried.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is: &dyn Fn(&Verdict) -> bool| self.checks.iter().filter(|v| is(v)).count();
        (count(&Verdict::holds), count(&|v| !v.problems.is_empty()), count(&|v| v.not_tried.is_some()))
    }
}
