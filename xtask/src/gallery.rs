//! The gallery of the documentation, drawn from the schedules themselves: `cargo run -p xtask -- gallery [--check]`.
//!
//! A picture that nobody drew by hand shows what the program does today.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use wgccl::collective::Collective;
use wgccl::proof::Options;
use wgccl::schedule::{Algorithm, Edit, Recipe, Schedule};
use wgccl::show::{Drawing, Picture, svg};

/// Numbers of ranks of the built-in schedules.
const RANKS: [u32; 2] = [4, 8];
/// Under the root.
const PAGE: &str = "docs/gallery.md";
const FOLDER: &str = "docs/gallery";
const EXAMPLES: &str = "docs/examples";

const HEAD: &str = "# Gallery\n\n\
Every built-in schedule, drawn by `wgccl show --svg`; `cargo run -p xtask -- gallery` makes this page anew. How to read the\n\
pictures: [pictures](pictures.md). A row is a rank, a column a level: the longest chain of instructions that follow or wait for\n\
each other.\n";

/// Writes the page and its pictures, and removes pictures that it no longer has.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
    let wanted = files(root)?;
    for (name, text) in &wanted {
        let path = root.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    for name in there(root)?.into_iter().filter(|name| !wanted.contains_key(name)) {
        let path = root.join(name);
        fs::remove_file(&path).map_err(|error| failed(&path, error))?;
    }
    println!("{} pictures written", wanted.len() - 1);
    Ok(())
}

/// Fails where something is stale.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let wanted = files(root)?;
    let same = |name: &str, text: &str| fs::read_to_string(root.join(name)).is_ok_and(|there| there == text);
    let mut stale: Vec<String> =
        wanted.iter().filter(|(name, text)| !same(name, text)).map(|(name, _)| name.clone()).collect();
    stale.extend(there(root)?.into_iter().filter(|name| !wanted.contains_key(name)));
    match stale.is_empty() {
        true => Ok(()),
        false => Err(format!("not what is drawn: {}; run: cargo run -p xtask -- gallery", stale.join(", "))),
    }
}

/// Pictures that are there.
fn there(root: &Path) -> Result<Vec<String>, String> {
    let folder = fs::read_dir(root.join(FOLDER)).map_err(|error| format!("{FOLDER}: {error}"))?;
    let name = |entry: std::io::Result<fs::DirEntry>| Ok(format!("{FOLDER}/{}", entry?.file_name().to_string_lossy()));
    folder.map(name).collect::<std::io::Result<_>>().map_err(|error| format!("{FOLDER}: {error}"))
}

/// By name under the root: what is in them.
fn files(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut files = BTreeMap::new();
    let mut page = HEAD.to_owned();
    special(root, &mut files, &mut page)?;
    for &collective in Collective::ALL {
        built_in(collective, &mut files, &mut page)?;
    }
    files.insert(PAGE.to_owned(), page);
    Ok(files)
}

/// The animated ring, what breaks without a wait, and files.
fn special(root: &Path, files: &mut BTreeMap<String, String>, page: &mut String) -> Result<(), String> {
    let ring = build(Collective::AllReduce, Algorithm::Ring, 4)?;
    let animated = Drawing::default().animated(true);
    let mut section = |head: &str, text: &str, name: &str, command: &str, schedule: &Schedule, drawing: &Drawing| {
        add(files, name, schedule, drawing)?;
        let _ = write!(page, "\n## {head}\n\n{text}\n\n    {command}\n\n![{head}](gallery/{name}.svg)\n");
        Ok::<(), String>(())
    };
    section(
        "The ring, level by level",
        "Three rounds of reduce-scatter, in which every rank adds its own chunk to that of its left neighbour, then three rounds of\n\
         all-gather, in which it takes the neighbour's over. The bar below a box shows whose contributions the chunk holds by then.",
        "ring-animated",
        "wgccl show ring --svg ring.svg --animate",
        &ring,
        &animated,
    )?;
    for (head, typed, text) in [
        (
            "What breaks when a wait is missing",
            "drop-wait:r2-ag-1",
            "Rank 2 takes the chunk of rank 1 without waiting for it. Nothing orders the two red boxes, so it may get what was there\n\
             before, and whoever takes it from there gets it, too.",
        ),
        (
            "What breaks when a notify is missing",
            "drop-notify:r1-rs-2",
            "Rank 1 does not say that its chunk is there. Rank 2 waits for ever, and with it, round after round, all others.",
        ),
    ] {
        let edit = Edit::parse(typed, &ring).map_err(|error| error.to_string())?;
        let broken = edit.apply(&ring).map_err(|error| error.to_string())?;
        let name = edit.name();
        let command = format!("wgccl check --break {typed} --svg {name}.svg");
        section(head, text, &format!("broken-{name}"), &command, &broken, &Drawing::default())?;
    }
    for name in ["pair", "star"] {
        let path = format!("{EXAMPLES}/{name}.json");
        let text = fs::read_to_string(root.join(&path)).map_err(|error| format!("{path}: {error}"))?;
        let schedule: Schedule = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
        let head = format!("A schedule from a file: {name}");
        let text = format!("[{name}.json](examples/{name}.json) is written by hand.");
        let command = format!("wgccl show {path} --svg {name}.svg");
        section(&head, &text, &format!("file-{name}"), &command, &schedule, &Drawing::default())?;
    }
    Ok(())
}

fn built_in(collective: Collective, files: &mut BTreeMap<String, String>, page: &mut String) -> Result<(), String> {
    let _ = writeln!(page, "\n## {collective}");
    for algorithm in Algorithm::of(collective) {
        let _ = write!(page, "\n### {collective} by {algorithm}\n");
        let mut more = Vec::new();
        for ranks in RANKS {
            let Ok(schedule) = build(collective, algorithm, ranks) else { continue };
            let name = format!("{collective}-{algorithm}-{ranks}");
            let picture = add(files, &name, &schedule, &Drawing::default())?;
            let size = format!("{ranks} ranks, {} levels, {} instructions", picture.levels, picture.steps.len());
            if ranks == RANKS[0] {
                let _ =
                    write!(page, "\n{size}:\n\n![{collective} by {algorithm}, {ranks} ranks](gallery/{name}.svg)\n");
            } else {
                more.push(format!("[{size}](gallery/{name}.svg)"));
            }
        }
        if !more.is_empty() {
            let _ = write!(page, "\n{}\n", more.join(", "));
        }
    }
    Ok(())
}

fn build(collective: Collective, algorithm: Algorithm, ranks: u32) -> Result<Schedule, String> {
    Recipe::new(collective, ranks).algorithm(algorithm).build().map_err(|error| error.to_string())
}

fn add(
    files: &mut BTreeMap<String, String>,
    name: &str,
    schedule: &Schedule,
    drawing: &Drawing,
) -> Result<Picture, String> {
    let picture = Picture::new(schedule, Options::default()).map_err(|error| error.to_string())?;
    let text = svg(&picture, drawing).map_err(|error| format!("{name}: {error}"))?;
    files.insert(format!("{FOLDER}/{name}.svg"), text);
    Ok(picture)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_gallery_is_up_to_date() {
        assert_eq!(super::check(crate::root()), Ok(()));
    }
}
