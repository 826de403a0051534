//! The layers of the source tree, held to by reading it: no circle between files, and nothing that a layer must not know.
//!
//! A compiler allows all of this, so nothing else would notice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A tree of modules: `lib.rs` is the empty path, `a.rs` is `a`, `a/b.rs` is `a::b`.
struct Tree {
    /// Code of every module, without comments, texts and tests.
    code: BTreeMap<Vec<String>, String>,
    /// What a module hands on: item to the path behind `pub use`.
    reexports: BTreeMap<Vec<String>, Vec<(String, Vec<String>)>>,
}

type Edges = BTreeMap<String, BTreeSet<String>>;

impl Tree {
    fn read(root: &Path) -> Self {
        let mut files = Vec::new();
        collect(root, &mut files);
        let mut code = BTreeMap::new();
        for file in files {
            let relative = file.strip_prefix(root).unwrap().with_extension("");
            let mut path: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            // A test module in a file of its own.
            if path.last().is_some_and(|name| name == "tests") {
                continue;
            }
            if path == ["lib"] || path == ["main"] {
                path.clear();
            }
            code.insert(path, bare(&fs::read_to_string(&file).unwrap()));
        }
        let mut tree = Self { code, reexports: BTreeMap::new() };
        let reexports = tree.code.iter().map(|(module, code)| {
            let handed_on = uses(code).into_iter().filter(|(public, _)| *public);
            let named = handed_on.filter_map(|(_, path)| Some((path.last()?.clone(), path)));
            (module.clone(), named.collect())
        });
        tree.reexports = reexports.collect();
        tree
    }

    /// The module in which what `path` names, seen from `module`, is defined.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<Vec<String>> {
        let (mut at, rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (module.to_vec(), &path[1..]),
            "super" => (module.split_last()?.1.to_vec(), &path[1..]),
            child if self.code.contains_key(&[module, &[child.to_owned()]].concat()) => (module.to_vec(), path),
            _ => return None,
        };
        let mut rest = rest;
        while let Some((first, others)) = rest.split_first() {
            if first == "super" {
                at.pop()?;
            } else if self.code.contains_key(&[&at[..], std::slice::from_ref(first)].concat()) {
                at.push(first.clone());
            } else {
                // An item: defined here, or handed on from elsewhere.
                let handed_on = self.reexports[&at].iter().find(|(name, _)| name == first);
                return match handed_on {
                    Some((_, from)) if depth < 8 => self.resolve(&at, from, depth + 1).or(Some(at)),
                    _ => Some(at),
                };
            }
            rest = others;
        }
        Some(at)
    }

    /// Who names what of whom. What a module hands on from its children is no import.
    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (module, code) in &self.code {
            let mut to = BTreeSet::new();
            let imports = uses(code).into_iter().filter(|(public, _)| !public).map(|(_, path)| path);
            for path in imports.chain(inline_paths(code)).chain(self.calls_of_children(module, code)) {
                to.extend(self.resolve(module, &path, 0).filter(|target| target != module));
            }
            edges.insert(module.join("::"), to.into_iter().map(|target| target.join("::")).collect());
        }
        // The root only declares.
        edges.values_mut().for_each(|to| {
            to.remove("");
        });
        edges
    }

    /// `child::item` for the children that a module declares, outside of its `use` lines.
    fn calls_of_children(&self, module: &[String], code: &str) -> Vec<Vec<String>> {
        let children = self.code.keys().filter(|path| path.len() == module.len() + 1 && path.starts_with(module));
        let body: String = code.split(';').filter(|statement| !is_use(statement)).collect::<Vec<_>>().join(";");
        let called = children.filter(|child| {
            let call = format!("{}::", child.last().unwrap());
            body.match_indices(&call)
                .any(|(at, _)| !body[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c)))
        });
        called.map(|child| vec![child.last().unwrap().clone()]).collect()
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Without comments, texts and the test module at the end.
fn bare(source: &str) -> String {
    let end = source.find("tests {\n").unwrap_or(source.len());
    let (mut code, mut rest) = (String::new(), &source[..end]);
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |at| at + 2)
        } else if c == '"' {
            let mut escaped = false;
            let closes = |&(at, c): &(usize, char)| {
                at > 0 && c == '"' && !std::mem::take(&mut escaped) || {
                    escaped = c == '\\' && !escaped;
                    false
                }
            };
            rest.char_indices().find(closes).map_or(rest.len(), |(at, _)| at + 1)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn is_use(statement: &str) -> bool {
    let last = statement.trim_start().trim_start_matches(|c| c != 'u' && c != 'p');
    last.starts_with("use ") || last.starts_with("pub use ") || (last.starts_with("pub(") && last.contains(") use "))
}

/// Paths of all `use` lines, groups spelt out, and whether a line hands them on.
fn uses(code: &str) -> Vec<(bool, Vec<String>)> {
    let mut all = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let start = code[..at].rfind(['\n', ';', '}']).map_or(0, |at| at + 1);
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let before = code[start..at].trim();
        if !(before.is_empty() || before.starts_with("pub") || before.starts_with("#[")) {
            continue;
        }
        let Some(end) = code[at..].find(';') else { continue };
        let public = before.contains("pub");
        spell_out(&[], code[at + 4..at + end].trim(), &mut |path| all.push((public, path)));
    }
    all
}

fn spell_out(prefix: &[String], text: &str, found: &mut impl FnMut(Vec<String>)) {
    let text = text.trim();
    // Another crate's.
    if prefix.is_empty() && text.starts_with("::") {
        return;
    }
    let split = |prefix: &[String], path: &str| -> Vec<String> {
        let parts = path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
        prefix.iter().cloned().chain(parts).collect()
    };
    let Some(open) = text.find('{') else {
        let path = split(prefix, text.split(" as ").next().unwrap_or(text));
        if !path.is_empty() {
            found(if path.last().is_some_and(|last| last == "self") { path[..path.len() - 1].to_vec() } else { path });
        }
        return;
    };
    let prefix = split(prefix, &text[..open]);
    let (mut depth, mut start) = (0, 0);
    let inner = &text[open + 1..text.rfind('}').unwrap_or(text.len())];
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spell_out(&prefix, &inner[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// `crate::a::b` where it stands in an expression.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let path: String = code[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
        paths.push(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
    }
    paths
}

/// Every group of modules that import each other in a loop.
fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let reach = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(at) = open.pop() {
            for to in edges.get(&at).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = edges.keys().map(|module| (module, reach(module))).collect();
    let mut found = Vec::<BTreeSet<String>>::new();
    for (module, to) in &reached {
        if to.contains(*module) && !found.iter().any(|circle| circle.contains(*module)) {
            let back = |other: &&String| reached.get(*other).is_some_and(|reached| reached.contains(*module));
            found.push(to.iter().filter(back).cloned().collect());
        }
    }
    found
}

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

#[test]
fn no_files_import_each_other() {
    for folder in ["src", "cli/src", "mpi/src", "python/src", "xtask/src"] {
        // The published package has no other folder than the first.
        if !root(folder).exists() {
            continue;
        }
        let edges = Tree::read(&root(folder)).edges();
        let circles = circles(&edges);
        let arrows = |circle: &BTreeSet<String>| -> Vec<String> {
            let of = |module: &String| {
                let inside = edges[module].iter().filter(|to| circle.contains(*to));
                inside.map(|to| format!("    {module} -> {to}")).collect::<Vec<_>>()
            };
            circle.iter().flat_map(of).collect()
        };
        let text: Vec<String> = circles.iter().map(|circle| arrows(circle).join("\n")).collect();
        assert!(circles.is_empty(), "{folder}: files import each other:\n{}", text.join("\n\n"));
    }
}

/// Layers from the ground up. A module may import what stands in its own row or below it.
const LAYERS: [&[&str]; 11] = [
    &["collective", "cores"],
    &["element"],
    &["schedule"],
    &["payload", "buffers", "inputs", "window"],
    &["proof", "fault", "hang"],
    &["golden", "format", "trace", "show"],
    &["lower"],
    &["error"],
    &["backend"],
    &["communicator"],
    &["cpu", "gpu", "placed"],
];

/// Rows that a row above them may not import although they are lower: executors know nothing of each other.
const APART: [(&str, &str); 8] = [
    ("cpu", "gpu"),
    ("cpu", "placed"),
    ("gpu", "cpu"),
    ("gpu", "placed"),
    ("placed", "cpu"),
    ("placed", "gpu"),
    ("communicator", "lower"),
    ("proof", "golden"),
];

#[test]
fn every_layer_imports_only_what_is_below_it() {
    let edges = Tree::read(&root("src")).edges();
    let row = |module: &str| {
        let top = module.split("::").next().unwrap();
        LAYERS.iter().position(|row| row.contains(&top)).map(|row| (row, top.to_owned()))
    };
    let mut wrong = Vec::new();
    for (module, to) in &edges {
        if module.is_empty() || module == "low_level" {
            continue;
        }
        let Some((own, top)) = row(module) else { panic!("{module} stands in no layer: add it to LAYERS") };
        for target in to {
            let Some((other, other_top)) = row(target) else { panic!("{target} stands in no layer: add it to LAYERS") };
            if other > own || APART.contains(&(&top, &other_top)) {
                wrong.push(format!("{module} imports {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_gpu_knows_wgpu() {
    for (module, code) in Tree::read(&root("src")).code {
        if module.first().is_some_and(|top| top == "gpu") || module.is_empty() {
            continue;
        }
        let found = code.lines().find(|line| line.contains("wgpu"));
        assert_eq!(found, None, "{}", module.join("::"));
    }
}

/// What differs between protocols stands in `lower/` and in shaders. Elsewhere a protocol is a value that is handed on.
#[test]
fn a_protocol_is_named_in_lower_only() {
    for (module, code) in Tree::read(&root("src")).code {
        if module.first().is_some_and(|top| top == "lower") {
            continue;
        }
        let is_name = |word: &str| word == "Ll" || word.starts_with("ll_") || word.ends_with("_ll");
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let named: Vec<&str> = words.filter(|word| is_name(word)).collect();
        assert!(named.is_empty(), "{} names a protocol: {named:?}", module.join("::"));
    }
}

#[test]
fn circles_are_seen() {
    let tree = |files: &[(&str, &str)]| {
        let code = files.iter().map(|(path, code)| {
            let path = if path.is_empty() { Vec::new() } else { path.split("::").map(str::to_owned).collect() };
            (path, bare(code))
        });
        let mut tree = Tree { code: code.collect(), reexports: BTreeMap::new() };
        let reexports = tree.code.iter().map(|(module, code)| {
            let named = uses(code).into_iter().filter(|(public, _)| *public);
            (module.clone(), named.filter_map(|(_, path)| Some((path.last()?.clone(), path))).collect())
        });
        tree.reexports = reexports.collect();
        circles(&tree.edges())
    };
    for (files, expected) in [
        (&[("", "mod a; mod b;"), ("a", "use crate::b::B;"), ("b", "use super::a::A;")][..], 1),
        (&[("", "mod a; mod b;"), ("a", "use crate::b::B;"), ("b", "// use super::a::A;")], 0),
        // A face hands on what its children define, and they use each other through it.
        (
            &[
                ("", "mod a;"),
                ("a", "mod b; mod c; pub use b::{B, D};"),
                ("a::b", "pub struct B;"),
                ("a::c", "use super::B;"),
            ],
            0,
        ),
        (&[("", "mod a;"), ("a", "mod b; use b::B; pub struct A;"), ("a::b", "use super::A;")], 1),
        (&[("", "mod a;"), ("a", "mod b; pub struct A; fn f() { b::g() }"), ("a::b", "use super::A;")], 1),
        (&[("", "mod a; mod b;"), ("a", "fn f() { crate::b::g() }"), ("b", "use crate::{a::{self, A}};")], 1),
        (
            &[
                ("", "mod a; mod b;"),
                ("a", "use crate::b::B;"),
                ("b", "fn f() {}\n#[cfg(test)]\nmod tests {\n use crate::a::A; }"),
            ],
            0,
        ),
    ] {
        assert_eq!(tree(files).len(), expected, "{files:?}");
    }
}
