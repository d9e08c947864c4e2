//! No circles between files: the rule of the rooms, one level further down and so on. Among the files of one directory (a file counts
//! together with the directory of its name) none uses another that uses it in return, directly or through others.
//!
//! - A directory and its parent, the `mod.rs` or the file of the same name, are one subject: the parent declares the type that its
//!   children have methods of, and calls them. Uses between the two, either way, do not count.
//! - A re-export does not count. A path that leads through one leads to the file that defines the item.
//! - Tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Source, sources};

/// A directory, the files in it that may use each other in a circle, and why.
type Allowance = (&'static str, &'static [&'static str], &'static str);

const ALLOWED: &[Allowance] = &[
    (
        "src/audit",
        &[
            "checkpoint",
            "clock_checks",
            "distrust",
            "fault",
            "epochs",
            "forks",
            "journal",
            "key_life",
            "listing",
            "open_run",
            "precedent",
            "provenance",
            "prune",
            "retention",
            "sink",
            "tree",
        ],
        "`Journal` is one type: each file has its methods for one kind of record, and `append` checks, counts and signs by them",
    ),
    (
        "src/elevation",
        &["command", "hidden"],
        "the error of a command contains the hidden command, which contains a command",
    ),
    (
        "sys/src",
        &["cgroup", "clone", "descendants", "process", "procfs", "signals", "started", "wake_timer"],
        "`Pid` is declared beside the functions that start and end processes, which need those that read of a process",
    ),
];

#[test]
fn files_of_a_directory_do_not_use_each_other_in_a_circle() {
    let mut allowed: Vec<Allowance> = ALLOWED.to_vec();
    let mut found = Vec::new();
    for top in ["core/src", "src", "sys/src", "ctl/src", "import/src", "compile/src", "shrink/src", "pam-module/src"] {
        for (directory, uses) in uses_in_directories(top) {
            let circle = circle(&uses);
            let known = allowed.iter().position(|(place, files, _)| {
                *place == directory && !circle.is_empty() && circle.iter().all(|file| files.contains(&file.as_str()))
            });
            match known {
                Some(known) => drop(allowed.remove(known)),
                None if circle.is_empty() => {}
                None => found.push(described(&directory, &circle, &uses)),
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(allowed.is_empty(), "these circles are gone: delete their allowances: {allowed:?}");
}

/// The uses among the files of a directory: the user, the used one, and the path by which it does so.
type Uses = BTreeMap<String, BTreeMap<String, String>>;

/// Returns the files in circles: repeatedly removes one that uses no other, or that no other uses.
fn circle(uses: &Uses) -> BTreeSet<String> {
    let mut left: BTreeSet<String> = uses.keys().cloned().collect();
    let is_used = |file: &String, left: &BTreeSet<String>| {
        left.iter().any(|other| uses.get(other).is_some_and(|used| used.contains_key(file)))
    };
    let uses_any = |file: &String, left: &BTreeSet<String>| uses[file].keys().any(|used| left.contains(used));
    while let Some(free) = left.iter().find(|file| !uses_any(file, &left) || !is_used(file, &left)).cloned() {
        left.remove(&free);
    }
    left
}

fn described(directory: &str, circle: &BTreeSet<String>, uses: &Uses) -> String {
    let mut text = format!("{directory}: these files use each other in a circle: {circle:?}\n");
    for user in circle {
        for (used, path) in uses[user].iter().filter(|(used, _)| circle.contains(*used)) {
            text.push_str(&format!("    {user} uses {used}: {path}\n"));
        }
    }
    text
}

/// What precedes tests.
const TEST: &str = "\n#[cfg(test)]\n";

/// A path in modules of the crate.
type Path = Vec<String>;

/// A file: what it imports, and the rest of its code.
struct File {
    imports: Vec<Import>,
    body: String,
}

/// One name of a `use`.
struct Import {
    /// `pub`, `pub(crate)` or `pub(super)`: a re-export.
    is_public: bool,
    path: Path,
    /// The name in this file; `*` for all of them.
    name: String,
}

type Files = BTreeMap<Path, File>;

fn uses_in_directories(top: &str) -> BTreeMap<String, Uses> {
    let files: Files =
        sources(top).iter().filter_map(|source| Some((module(top, source)?, File::read(source)))).collect();
    let mut found: BTreeMap<String, Uses> = BTreeMap::new();
    for (user, path) in files.iter().flat_map(|(user, file)| file.paths(user, &files).map(move |path| (user, path))) {
        let Some(used) = defining(&path, &files, 0) else { continue };
        let common = user.iter().zip(&used).take_while(|(one, other)| one == other).count();
        // A file and its own parent.
        let (Some(from), Some(to)) = (user.get(common), used.get(common)) else { continue };
        let directory = [&[top.to_owned()], &user[..common]].concat().join("/");
        let uses = found.entry(directory).or_default();
        uses.entry(to.clone()).or_default();
        uses.entry(from.clone()).or_default().entry(to.clone()).or_insert_with(|| path.join("::"));
    }
    found
}

/// Returns the module of a file; `None` for a program of its own in `bin/`.
fn module(top: &str, source: &Source) -> Option<Path> {
    let inside = source.path.strip_prefix(crate::project().join(top)).unwrap().with_extension("");
    let mut parts: Path = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    (parts.first().is_none_or(|first| first != "bin")).then_some(parts)
}

impl File {
    fn read(source: &Source) -> Self {
        let code: String = source.code().map(|line| line + "\n").collect();
        let is_module =
            |after: &str| after.lines().next().is_some_and(|line| line.contains("mod ") && line.ends_with('{'));
        let mut tests = code.match_indices(TEST).filter(|(at, mark)| is_module(&code[at + mark.len()..]));
        let code = &code[..tests.next().map_or(code.len(), |(at, _)| at)];
        let (mut imports, mut body) = (Vec::new(), String::new());
        let (mut rest, mut is_test) = (code, false);
        while let Some(line) = rest.split_inclusive('\n').next() {
            let words = line.trim_start();
            let visible = words.strip_prefix("pub").map(|more| more.split_once(' ').map_or(more, |(_, more)| more));
            match visible.unwrap_or(words).strip_prefix("use ") {
                Some(_) => {
                    let statement = &rest[..rest.find(';').map_or(rest.len(), |end| end + 1)];
                    let tree = statement.split_once("use ").unwrap().1.trim_end_matches(';');
                    let names = expanded(tree).into_iter();
                    let is_public = visible.is_some();
                    imports.extend(names.filter(|_| !is_test).map(|(path, name)| Import { is_public, path, name }));
                    rest = &rest[statement.len()..];
                }
                None => {
                    body.push_str(line);
                    rest = &rest[line.len()..];
                }
            }
            is_test = line.trim() == "#[cfg(test)]";
        }
        Self { imports, body }
    }

    /// Returns the paths in this crate that the file uses, from the root of the crate.
    fn paths<'f>(&'f self, module: &'f Path, files: &'f Files) -> impl Iterator<Item = Path> + 'f {
        let is_used = |import: &&Import| {
            !import.is_public || (import.name != "*" && crate::words(&self.body).any(|word| word == import.name))
        };
        let imported = self.imports.iter().filter(is_used).map(|import| import.path.clone());
        let named = paths(&self.body).into_iter().filter(|path| path.len() > 1);
        imported.chain(named).filter_map(|path| from_root(module, &path, files))
    }

    fn defines(&self, item: &str) -> bool {
        let words: Vec<&str> = crate::words(&self.body).collect();
        let kinds = ["fn", "struct", "enum", "type", "const", "static", "trait", "macro_rules", "mod"];
        words.windows(2).any(|pair| kinds.contains(&pair[0]) && pair[1] == item)
    }
}

/// Returns the module of the file that defines the item at this path.
fn defining(path: &Path, files: &Files, depth: usize) -> Option<Path> {
    let length = (0..=path.len()).rev().find(|length| files.contains_key(&path[..*length]))?;
    let (module, rest) = path.split_at(length);
    let (Some(item), file) = (rest.first(), &files[module]) else { return Some(module.to_vec()) };
    if depth == 10 || item == "*" || file.defines(item) {
        return Some(module.to_vec());
    }
    let module = module.to_vec();
    for import in file.imports.iter().filter(|import| import.name == *item || import.name == "*") {
        let Some(mut target) = from_root(&module, &import.path, files) else { continue };
        if import.name == "*" {
            target.pop();
            if !files.get(&target).is_some_and(|file| file.defines(item)) {
                continue;
            }
            return Some(target);
        }
        return defining(&target, files, depth + 1);
    }
    Some(module)
}

/// Returns a path of this module from the root of the crate; `None` for one of another crate.
fn from_root(module: &Path, path: &[String], files: &Files) -> Option<Path> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let parent = module.split_last()?.1.to_vec();
            if rest.first().is_some_and(|next| next == "super") {
                from_root(&parent, rest, files)
            } else {
                Some([&parent, rest].concat())
            }
        }
        _ => Some([module.as_slice(), path].concat())
            .filter(|_| files.contains_key(&[module.as_slice(), std::slice::from_ref(first)].concat())),
    }
}

/// Expands `a::{b, c::{self, d as e}}` to paths with their names.
fn expanded(tree: &str) -> Vec<(Path, String)> {
    let tree = tree.trim();
    let Some((before, inside)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, tree.rsplit("::").next().unwrap()));
        return vec![(path.split("::").map(|part| part.trim().to_owned()).collect(), name.trim().to_owned())];
    };
    let prefix: Path = before.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, character) in inside.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[begin..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(expanded)
        .map(|(path, name)| match path.as_slice() {
            [only] if only == "self" => (prefix.clone(), prefix.last().cloned().unwrap_or_default()),
            _ => ([prefix.as_slice(), &path].concat(), name),
        })
        .collect()
}

/// Returns the paths in code, such as `super::name::Item`.
fn paths(code: &str) -> Vec<Path> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c: char| !is_part(c))
        .filter(|path| path.contains("::") && !path.starts_with(':'))
        .map(|path| path.split("::").take_while(|part| !part.is_empty()).map(str::to_owned).collect())
        .collect()
}

#[test]
fn circles_are_found_through_re_exports_and_other_files() {
    let file = |text: &str| File::read(&Source { path: "x.rs".into(), room: String::new(), text: text.to_owned() });
    let path = |text: &str| -> Path { text.split("::").map(str::to_owned).collect() };
    let files: Files = [
        ("room", "pub use one::One;\nmod one;\n"),
        ("room::one", "use super::two::Two;\npub struct One(Two);\n"),
        ("room::two", "use crate::room::{One, three};\npub struct Two;\nfn f() { three::g(); }\n"),
        ("room::three", "pub fn g() -> super::One { todo!() }\n"),
    ]
    .into_iter()
    .map(|(module, text)| (path(module), file(text)))
    .collect();
    let found = |module: &str| -> BTreeSet<Path> {
        let module = path(module);
        files[&module].paths(&module, &files).filter_map(|used| defining(&used, &files, 0)).collect()
    };
    assert_eq!(found("room::one"), BTreeSet::from([path("room::two")]));
    assert_eq!(found("room::two"), BTreeSet::from([path("room::one"), path("room::three")]));
    assert_eq!(found("room::three"), BTreeSet::from([path("room::one")]));
    assert_eq!(found("room"), BTreeSet::new(), "a re-export");
}
