//! What the pages say of themselves and of the library: links lead somewhere, tables list what there is, the picture of the ring
//! shows the schedule.
//!
//! Pages are moved and headings renamed; nobody clicks through all links afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use wgccl::collective::Collective;
use wgccl::schedule::{Algorithm, Instruction, Label, Recipe, Schedule};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages of the repository by their path from its root, without what builds leave.
fn pages() -> BTreeMap<PathBuf, String> {
    fn collect(directory: &Path, pages: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                collect(&path, pages);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.insert(path.strip_prefix(root()).unwrap().to_owned(), text);
            }
        }
    }
    let mut pages = BTreeMap::new();
    collect(root(), &mut pages);
    pages
}

/// The text without what stands in code.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let lines = page.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Where links and pictures of a page lead.
fn links(page: &str) -> Vec<String> {
    let text = prose(page);
    // Of two backticks one begins code and the other ends it.
    let text: String = text.split('`').step_by(2).collect();
    let mut links = Vec::new();
    for (begin, end) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
        links.extend(text.split(begin).skip(1).filter_map(|rest| rest.split(end).next()).map(str::to_owned));
    }
    links
}

/// The anchors that a page's headings have, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let text = prose(page);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let kept = heading.to_lowercase().replace(' ', "-");
        let kept: String = kept.chars().filter(|&c| c.is_alphanumeric() || c == '-' || c == '_').collect();
        let again = (1..).map(|n| format!("{kept}-{n}"));
        let free = [kept.clone()].into_iter().chain(again).find(|anchor| !anchors.contains(anchor)).unwrap();
        anchors.insert(free);
    }
    anchors
}

/// Where a relative link leads, from the root of the repository.
fn target(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap().to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{} leads out of the repository: {link}", page.display()),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

/// Links of `page` that lead nowhere.
fn broken(page: &Path, text: &str, pages: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let leads = |link: &String| {
        if link.contains("://") || link.starts_with("mailto:") {
            return true;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = if file.is_empty() { page.to_owned() } else { target(page, file) };
        let own = path == page;
        let there = own || root().join(&path).exists();
        let text = if own { Some(text) } else { pages.get(&path).map(String::as_str) };
        there && (anchor.is_empty() || text.is_some_and(|text| anchors(text).contains(anchor)))
    };
    links(text).into_iter().filter(|link| !leads(link)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() > 15, "{:?}", pages.keys());
    for (page, text) in &pages {
        let broken = broken(page, text, &pages);
        assert!(broken.is_empty(), "{} has links that lead nowhere: {broken:?}", page.display());
    }
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let pages = pages();
    let page = Path::new("docs/README.md");
    let text = "# A page, with `code`\n\n## Twice\n\n## Twice\n\n```sh\n# comment\n[x](none.md)\n```\n`[y](none.md)`\n";
    for (link, leads) in [
        ("[a](../README.md)", true),
        ("[a](../README.md#limits)", true),
        ("[a](../README.md#limitless)", false),
        ("[a](README.md) and [b](none.md)", false),
        ("[a](../examples)", true),
        ("[a](#a-page-with-code)", true),
        ("[a](#twice-1)", true),
        ("[a](#twice-2)", false),
        ("[a](#comment)", false),
        ("![a](pictures/ring-light.svg)", true),
        ("<img src=\"pictures/none.svg\">", false),
        ("<source srcset=\"pictures/ring-dark.svg\">", true),
        ("[a](https://example.org/none.md)", true),
    ] {
        let found = broken(page, &format!("{text}{link}\n"), &pages);
        assert_eq!(found.is_empty(), leads, "{link}: {found:?}");
    }
}

/// First cells of the table rows between two headings, as the names between backticks.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let first = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    first.map(|cell| cell.split('`').skip(1).step_by(2).collect()).filter(|names: &Vec<_>| !names.is_empty()).collect()
}

#[test]
fn every_algorithm_has_its_row() {
    let page = &pages()[Path::new("docs/algorithms.md")];
    let names = |algorithms: Vec<Algorithm>| algorithms.into_iter().map(Algorithm::name).collect::<Vec<_>>();
    assert_eq!(rows(page, "Collectives").concat(), Collective::ALL.iter().map(|c| c.name()).collect::<Vec<_>>());
    assert_eq!(rows(page, "All-reduce").concat(), names(Algorithm::of(Collective::AllReduce)));
    let mut others = Vec::new();
    for &collective in Collective::ALL.iter().filter(|&&collective| collective != Collective::AllReduce) {
        let algorithms = names(Algorithm::of(collective));
        let row = page.lines().find(|line| line.starts_with(&format!("| `{collective}` |"))).unwrap();
        let listed: Vec<&str> = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, algorithms, "{collective}");
        let more = algorithms.into_iter().filter(|&name| name != Algorithm::Mesh.name());
        others.extend(more.map(|name| vec![collective.name(), name]));
    }
    assert_eq!(rows(page, "Other collectives"), others);
}

/// What `rank` does in a round of the phase.
fn round(schedule: &Schedule, rank: usize, phase: &'static str, round: u32) -> Instruction {
    let label = Label::from((phase, round));
    schedule.lanes[rank].instructions.iter().find(|instruction| instruction.label == label).unwrap().clone()
}

/// Ranks whose contributions each chunk of each rank holds after `last` of all rounds.
fn held(schedule: &Schedule, last: (&'static str, u32)) -> Vec<Vec<u32>> {
    let ranks = schedule.ranks as usize;
    let mut held = vec![vec![1; ranks]; ranks];
    let rounds = ["RS", "AG"].into_iter().flat_map(|phase| (1..schedule.ranks).map(move |round| (phase, round)));
    for (phase, number) in rounds {
        let before = held.clone();
        for (rank, chunks) in held.iter_mut().enumerate() {
            let instruction = round(schedule, rank, phase, number);
            // All operands are the same chunk, of several ranks.
            let chunk = instruction.from[0].chunk as usize;
            chunks[chunk] = instruction.from.iter().map(|from| before[from.rank as usize][chunk]).sum();
        }
        if (phase, number) == last {
            break;
        }
    }
    held
}

#[test]
fn the_picture_of_the_ring_is_its_schedule() {
    let schedule = Recipe::new(Collective::AllReduce, 4).algorithm(Algorithm::Ring).build().unwrap();
    let (light, dark) = ["light", "dark"]
        .map(|kind| {
            let text = fs::read_to_string(root().join(format!("docs/pictures/ring-{kind}.svg"))).unwrap();
            let (before, style) = text.split_once("<style>").unwrap();
            before.to_owned() + style.split_once("</style>").unwrap().1
        })
        .into();
    assert!(light == dark, "ring-light.svg and ring-dark.svg differ in more than their colours");
    let attribute = |text: &str, name: &str| text.split(name).nth(1).unwrap().split('"').next().unwrap().to_owned();
    for (id, phase) in [("rs", "RS"), ("ag", "AG")] {
        let panel = light.split(&format!("<g id=\"{id}\"")).nth(1).unwrap().split("\n</g>").next().unwrap();
        let number: u32 = panel.split(">round ").nth(1).unwrap().split('<').next().unwrap().parse().unwrap();
        // Edges, from that between ranks 0 and 1 on: what each rank reads from its left neighbour, which notified it.
        let drawn: Vec<u32> = panel.split(">chunk ").skip(1).map(|rest| rest[..1].parse().unwrap()).collect();
        let read = (0..4).map(|rank: u32| {
            let right = (rank + 1) % 4;
            let instruction = round(&schedule, right as usize, phase, number);
            assert_eq!(instruction.waits[0].sender, rank);
            instruction.from.iter().find(|from| from.rank == rank).unwrap().chunk
        });
        assert_eq!(drawn, read.collect::<Vec<_>>(), "{id}: chunks on the edges");
        for rank in 0..4 {
            let cells = panel.split(&format!(">rank {rank}</text>")).nth(1).unwrap();
            let cells = cells.split("</g>").next().unwrap();
            let levels: Vec<u32> = cells.split("#of").skip(1).map(|rest| rest[..1].parse().unwrap()).collect();
            assert_eq!(levels, held(&schedule, (phase, number))[rank], "{id}: what rank {rank} holds");
            let place: u32 = attribute(cells, "class=\"now\" x=\"").parse().unwrap();
            let written = round(&schedule, rank, phase, number).from[0].chunk;
            assert_eq!((place - 5) / 24, written, "{id}: what rank {rank} writes");
        }
    }
}
