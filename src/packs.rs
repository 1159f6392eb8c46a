//! Rule packs: read from disk, kept in the log as blobs, and found again by their hash.

use crate::config::Config;
use crate::lifecycle::channels::profile_of;
use crate::log::{Log, LogError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use switchboard_adapter_sdk::signature::sha256_hex;
use switchboard_envelope::BlobRef;
use switchboard_routing_rules::pack::{Environment, Loaded, PackTest, Problem, QUICKSTART, Unusable, files};
use switchboard_routing_rules::{RulePack, State, trial};

/// The scope of pack blobs.
const SCOPE: &str = "packs";
/// Compiled packs kept in memory.
const KEPT: usize = 8;

/// A pack that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("{path}: cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: no file ends in .yaml or .yml; a rule pack is a directory of YAML files")]
    Empty { path: String },
    #[error("{}", .0.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Unusable),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Where a pack is read from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A directory, or one file.
    Path(PathBuf),
    /// The quickstart's, compiled in.
    BuiltIn,
    /// These files.
    Files(Vec<(String, Vec<u8>)>),
}

impl Source {
    /// The configured path, else the pack that is compiled in.
    #[must_use]
    pub fn of(path: Option<PathBuf>) -> Source {
        path.map_or(Source::BuiltIn, Source::Path)
    }

    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, PackError> {
        match self {
            Source::Path(path) => {
                let shown = || path.display().to_string();
                let files = files::read_dir(path).map_err(|source| PackError::Read { path: shown(), source })?;
                if files.is_empty() { Err(PackError::Empty { path: shown() }) } else { Ok(files) }
            }
            Source::BuiltIn => {
                Ok(QUICKSTART.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
            }
            Source::Files(files) => Ok(files.clone()),
        }
    }

    /// A file of it by the path from here, so that a terminal or an editor finds it.
    pub(crate) fn name(&self, file: String) -> String {
        match self {
            Source::Path(path) if path.is_dir() => path.join(file).display().to_string(),
            Source::Path(path) => path.display().to_string(),
            Source::BuiltIn => format!("(compiled in) {file}"),
            Source::Files(_) => file,
        }
    }

    fn placed(&self, problems: Vec<Problem>) -> Vec<Problem> {
        problems.into_iter().map(|p| Problem { file: self.name(p.file), ..p }).collect()
    }

    fn shown(&self) -> String {
        match self {
            Source::Path(path) => path.display().to_string(),
            Source::BuiltIn => "compiled in".into(),
            Source::Files(_) => "in memory".into(),
        }
    }
}

/// A pack that can be put in force.
#[derive(Debug)]
pub struct Checked {
    pub pack: Arc<RulePack>,
    /// Its tests, read against the same channels; whether they pass is for `rules test` to say.
    pub tests: Vec<PackTest>,
    /// What its author should look at.
    pub warnings: Vec<Problem>,
}

/// A pack that the log has, with what its author should look at; or what its tests say is wrong with it, a line each.
pub type Staged = Result<(Arc<RulePack>, Vec<Problem>), Vec<String>>;

/// The packs of a workspace.
pub struct Packs {
    source: Source,
    environment: Environment,
    /// By hash, those asked for last at the end.
    compiled: Mutex<Vec<Arc<RulePack>>>,
    /// What was read last, by the hash of its files: they are asked for far more often than they change.
    read: Arc<Mutex<Option<Read>>>,
}

/// A pack that was read, with the hash of its files.
type Read = (String, Arc<Checked>);

/// What a pack may name, as the configuration says.
#[must_use]
pub fn environment(config: &Config) -> Environment {
    let (mut channels, mut address_kinds, mut costs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (id, channel) in &config.channels {
        // The adapter says what the router will know. One that cannot be made is an error of its own.
        let profile = profile_of(config, id, channel);
        channels
            .insert(id.clone(), profile.as_ref().map_or_else(|| channel.kind.name().to_owned(), |p| p.kind.clone()));
        costs.extend(profile.as_ref().map(|p| (id.clone(), p.cost)));
        address_kinds.extend(profile.map(|p| (id.clone(), p.address_kind)));
    }
    Environment { channels: Some(channels), address_kinds, costs, desks: Some(config.desks.keys().cloned().collect()) }
}

/// Agents for whom a configured token speaks and whom the pack does not have, each with its token.
#[must_use]
pub fn unknown_agents<'c>(config: &'c Config, pack: &RulePack) -> Vec<(&'c str, &'c str)> {
    let named = config.admin.tokens.iter().filter_map(|(id, token)| Some((id.as_str(), token.agent.as_deref()?)));
    named.filter(|(_, agent)| pack.agent(agent).is_none()).collect()
}

/// Reads and compiles a pack with its tests. `check`, `run`, `rules test` and a reload all judge a pack by this.
///
/// # Errors
/// With everything that is wrong with it.
pub fn load(source: &Source, environment: &Environment) -> Result<Checked, PackError> {
    compile(source, &source.files()?, environment)
}

fn compile(source: &Source, files: &[(String, Vec<u8>)], environment: &Environment) -> Result<Checked, PackError> {
    let wrong = |Unusable { problems, warnings }| {
        PackError::Problems(Unusable { problems: source.placed(problems), warnings: source.placed(warnings) })
    };
    let (Loaded { pack, warnings }, tests) = RulePack::load_with_tests(files, environment).map_err(wrong)?;
    Ok(Checked { pack: Arc::new(pack), tests, warnings: source.placed(warnings) })
}

/// What the tests of a pack say is wrong with it: each that fails, with its place and why.
#[must_use]
pub fn failing(source: &Source, checked: &Checked) -> Vec<String> {
    let tests = checked.tests.iter().map(|test| (test, trial::run(&checked.pack, test).faults));
    let failed = tests.filter(|(_, faults)| !faults.is_empty());
    let said = |(test, faults): (&PackTest, Vec<String>)| {
        let file = source.name(test.at.file.to_string());
        format!("{file}:{}:{}: the test “{}” fails: {}", test.at.line, test.at.column, test.name, faults.join("; "))
    };
    failed.map(said).collect()
}

impl Packs {
    #[must_use]
    pub fn new(source: Source, environment: Environment) -> Packs {
        Packs { source, environment, compiled: Mutex::default(), read: Arc::default() }
    }

    async fn read(&self, source: &Source) -> Result<Arc<Checked>, PackError> {
        let (source, environment, last) = (source.clone(), self.environment.clone(), self.read.clone());
        let read = move || {
            let files = source.files()?;
            let hash = digest(&files);
            let known = || last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, checked)) = known().as_ref().filter(|(of, _)| *of == hash) {
                return Ok(checked.clone());
            }
            let checked = Arc::new(compile(&source, &files, &environment)?);
            *known() = Some((hash, checked.clone()));
            Ok(checked)
        };
        self.aside(read).await?
    }

    fn keep(&self, pack: Arc<RulePack>) -> Arc<RulePack> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.retain(|p| p.hash() != pack.hash());
        if compiled.len() >= KEPT {
            compiled.remove(0);
        }
        compiled.push(pack.clone());
        pack
    }

    /// The pack on disk, durable in the log, so that a command may name it; or what its tests say is wrong with it, unless it is
    /// forced. What was tested is what is stored, whatever is on disk meanwhile.
    ///
    /// # Errors
    /// With everything that is wrong with it, or when the log cannot store it.
    pub async fn stage(&self, log: &Arc<dyn Log>, force: bool) -> Result<Staged, PackError> {
        self.stage_of(log, self.source.clone(), force).await
    }

    /// Another pack than the one on disk, given as (path, text).
    ///
    /// # Errors
    /// As [`Packs::stage`].
    pub async fn stage_files(
        &self,
        log: &Arc<dyn Log>,
        files: Vec<(String, Vec<u8>)>,
        force: bool,
    ) -> Result<Staged, PackError> {
        self.stage_of(log, Source::Files(files), force).await
    }

    async fn stage_of(&self, log: &Arc<dyn Log>, source: Source, force: bool) -> Result<Staged, PackError> {
        let checked = self.read(&source).await?;
        if !force {
            let tested = checked.clone();
            // The tests of ten thousand rules take seconds, in which a thread of the runtime would serve nobody.
            let failing = self.aside(move || failing(&source, &tested)).await?;
            if !failing.is_empty() {
                return Ok(Err(failing));
            }
        }
        Ok(Ok((self.store(log, checked.pack.clone()).await?, checked.warnings.clone())))
    }

    /// Does what blocks on a thread for that. Files in memory need none, and simulated lives have none.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PackError> {
        #[cfg(test)]
        if let Source::Files(_) = self.source {
            return Ok(work());
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| PackError::Log(LogError::Unavailable(e.to_string())))
    }

    async fn store(&self, log: &Arc<dyn Log>, pack: Arc<RulePack>) -> Result<Arc<RulePack>, LogError> {
        let blob = log.put_blob(SCOPE, pack.to_blob().into()).await?;
        log.put_cursor(&cursor_name(pack.hash()), &blob.0).await?;
        Ok(self.keep(pack))
    }

    /// The hash of the pack on disk; `None` when it cannot be used.
    pub async fn on_disk(&self) -> Option<String> {
        self.read(&self.source).await.ok().map(|checked| checked.pack.hash().to_owned())
    }

    /// A pack that the log knows.
    ///
    /// # Errors
    /// When the log does not say whether it does.
    pub async fn by_hash(&self, log: &Arc<dyn Log>, hash: &str) -> Result<Option<Arc<RulePack>>, LogError> {
        if let Some(pack) = self.cached(hash) {
            return Ok(Some(pack));
        }
        let Some(blob) = log.get_cursor(&cursor_name(hash)).await? else { return Ok(None) };
        let bytes = match log.get_blob(SCOPE, &BlobRef(blob)).await {
            Err(error @ (LogError::Damaged(_) | LogError::Refused(_))) => {
                tracing::error!(hash, %error, "a stored rule pack cannot be read");
                None
            }
            answer => answer?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        Ok(match RulePack::from_blob(&bytes) {
            Ok(pack) if pack.hash() == hash => Some(self.keep(Arc::new(pack))),
            Ok(_) => None,
            Err(problems) => {
                tracing::error!(hash, problem = %problems.first().map(ToString::to_string).unwrap_or_default(),
                    "a stored rule pack cannot be read");
                None
            }
        })
    }

    /// A pack that is in memory.
    #[must_use]
    pub fn cached(&self, hash: &str) -> Option<Arc<RulePack>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let at = compiled.iter().position(|p| p.hash() == hash)?;
        let pack = compiled.remove(at);
        compiled.push(pack.clone());
        Some(pack)
    }

    /// The pack that is tried, for a router that begins to lead; `None` also when it cannot be read any more.
    ///
    /// # Errors
    /// When the log does not say what it knows.
    pub async fn tried(&self, log: &Arc<dyn Log>, state: &State) -> Result<Option<Arc<RulePack>>, LogError> {
        match state.trying() {
            Some(canary) => self.by_hash(log, &canary.pack).await,
            None => Ok(None),
        }
    }

    /// The pack with which a router begins to lead: the one on disk if the log never knew it, else the one that was in
    /// force, so that a roll-back or a reload survives a restart.
    ///
    /// # Errors
    /// When neither can be loaded, or the log does not say what it knows.
    pub async fn at_lead(&self, log: &Arc<dyn Log>, state: &State) -> Result<Arc<RulePack>, PackError> {
        let in_force = if state.pack.is_empty() { None } else { self.by_hash(log, &state.pack).await? };
        match (self.read(&self.source).await, in_force) {
            (Ok(loaded), in_force) => {
                let known = log.get_cursor(&cursor_name(loaded.pack.hash())).await?.is_some();
                match in_force {
                    Some(pack) if known => {
                        if pack.hash() != loaded.pack.hash() {
                            tracing::warn!(
                                on_disk = loaded.pack.hash(),
                                in_force = pack.hash(),
                                "the pack on disk ({}) is not the one in force: `switchboard rules reload` puts it in force",
                                self.source.shown()
                            );
                        }
                        Ok(pack)
                    }
                    _ => Ok(self.store(log, loaded.pack.clone()).await?),
                }
            }
            (Err(error), Some(pack)) => {
                tracing::error!(%error, "the rule pack on disk cannot be used; the one in force stays");
                Ok(pack)
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn digest(files: &[(String, Vec<u8>)]) -> String {
    let mut all = vec![];
    for part in files.iter().flat_map(|(path, bytes)| [path.as_bytes(), bytes]) {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    sha256_hex(&all)
}

fn cursor_name(hash: &str) -> String {
    format!("pack.{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{Faults, MemoryLog, MemoryOptions};
    use switchboard_routing_rules::ids::Salt;

    fn packs(queue: &str) -> Packs {
        let text = format!("queues: {{ {queue}: {{}} }}\nagents: {{ ann: {{}} }}\ndefault: {{ queue: {queue} }}\n");
        Packs::new(Source::Files(vec![("pack.yaml".to_owned(), text.into_bytes())]), Environment::default())
    }

    #[tokio::test]
    async fn a_read_that_fails_once_does_not_replace_the_pack_in_force() {
        for seed in 0..50 {
            let memory = MemoryLog::new(&MemoryOptions { seed, ..MemoryOptions::default() });
            let log: Arc<dyn Log> = Arc::new(memory.clone());
            let in_force = packs("one").stage(&log, false).await.expect("stage").expect("it has no tests").0;
            let before = packs("two").stage(&log, false).await;
            assert!(before.is_ok_and(|staged| staged.is_ok()), "the one on disk was in force before");
            let mut state = State::new(Salt([1; 16]));
            in_force.hash().clone_into(&mut state.pack);
            memory.set_faults(Faults { lost_read: 500, ..Faults::default() });
            match packs("two").at_lead(&log, &state).await {
                Ok(pack) => assert_eq!(pack.hash(), in_force.hash(), "seed {seed}"),
                Err(PackError::Log(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    /// An editor writes while the tests run: what is put in force is what was tested, and the next one is tested too.
    #[tokio::test]
    async fn a_pack_is_put_in_force_as_it_was_tested() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |word: &str| {
            let pack = format!(
                "queues: {{ q: {{}}, good: {{}}, other: {{}} }}\ndefault: {{ queue: q }}\nrules:\n  - {{ name: One, when: {{ text: {{ word: \
                 {word} }} }}, then: {{ queue: {word} }} }}\n"
            );
            std::fs::write(dir.path().join("pack.yaml"), pack).expect("written");
        };
        let test = "tests:\n  - name: Good\n    message: { kind: sms, text: good }\n    expect: { queue: good }\n";
        std::fs::write(dir.path().join("a_test.yaml"), test).expect("written");
        write("good");
        let packs = Packs::new(Source::Path(dir.path().to_owned()), Environment::default());
        let memory = MemoryLog::new(&MemoryOptions::default());
        let log: Arc<dyn Log> = Arc::new(memory.clone());
        let (good, _) = packs.stage(&log, false).await.expect("read").expect("its test passes");
        write("other");
        let failing = packs.stage(&log, false).await.expect("read").expect_err("its test fails");
        assert!(failing.first().is_some_and(|said| said.contains("the test “Good” fails")), "{failing:?}");
        let (forced, _) = packs.stage(&log, true).await.expect("read").expect("it is forced");
        assert_ne!(good.hash(), forced.hash());
        // One reading serves the tests and the log.
        let source = packs.source.clone();
        let checked = packs.read(&source).await.expect("read");
        write("good");
        let stored = packs.store(&log, checked.pack.clone()).await.expect("stored");
        assert_eq!(stored.hash(), forced.hash());
    }
}
