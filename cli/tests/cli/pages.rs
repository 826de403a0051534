//! What pages show of the program is what it prints, and they name all of its commands.
//!
//! Only a run can tell: output that was pasted goes stale in silence.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;

use crate::root;

/// A command of a page, and the output that the page shows.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The commands in the text blocks of a page. Tables of `bench` are made from records, and `xtask` compares them.
fn shown(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    for block in page.split("```text\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for line in block.lines() {
            match (line.strip_prefix("$ wgccl "), found.last_mut()) {
                (Some(command), _) => found.push(Shown { command: command.to_owned(), output: Vec::new() }),
                (None, Some(last)) => last.output.push(line.to_owned()),
                (None, None) => {}
            }
        }
    }
    found.retain(|shown| !shown.command.starts_with("bench"));
    found
}

/// Command lines of the program in the shell blocks of a page, up to what a shell does with them.
fn command_lines(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().replace("\\\n", " "));
    let words = |line: &str| -> Vec<String> {
        let shell = |word: &&str| ["|", ">", "&&", ";", "#"].contains(word);
        line.split_whitespace()
            .take_while(|word| !shell(word))
            .map(|word| word.trim_matches(['"', '\'']).to_owned())
            .collect()
    };
    let lines = blocks.flat_map(|block| block.lines().map(words).collect::<Vec<_>>());
    // What stands in braces is for the reader to put in.
    let command =
        |words: &Vec<String>| words.first().is_some_and(|word| word == "wgccl") && !words.concat().contains('{');
    lines.filter(command).collect()
}

/// Words of a command line, with patterns put in as a shell does.
fn words(command: &str, folder: &Path) -> Vec<String> {
    let expand = |word: &str| {
        let Some((before, after)) = word.split_once('*') else { return vec![word.to_owned()] };
        let (parent, start) = before.rsplit_once('/').unwrap();
        let names = fs::read_dir(folder.join(parent)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let mut files: Vec<String> = names
            .filter(|name| name.starts_with(start) && name.ends_with(after))
            .map(|name| format!("{parent}/{name}"))
            .collect();
        files.sort();
        files
    };
    command.split_whitespace().flat_map(expand).collect()
}

/// What the program prints, on the CPU executor unless a device is named.
fn printed(command: &str, folder: &Path) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    program.args(words(command, folder)).current_dir(folder).env("NO_COLOR", "1");
    if command.starts_with("run") && !command.contains("--device") {
        program.args(["--device", "cpu"]);
    }
    let output = program.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    format!("{stdout}{stderr}")
}

/// Lines without what differs from machine to machine: times, and what is said of the device.
fn alike<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let times = Regex::new(r"\d+(\.\d+)? (us|ms|s)\b").unwrap();
    let of_device = |line: &&str| ["device ", "launch ", "faster "].iter().any(|word| line.starts_with(word));
    lines.filter(|line| !of_device(line)).map(|line| times.replace_all(line.trim_end(), "TIME").into_owned()).collect()
}

/// Whether the lines are those that are shown, where `...` stands for any number of them.
fn agree(shown: &[String], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, _) => printed.is_empty(),
        (Some((line, rest)), _) if line.trim() == "..." => {
            (0..=printed.len()).any(|from| agree(rest, &printed[from..]))
        }
        (Some((line, rest)), Some((first, more))) => line == first && agree(rest, more),
        (Some(_), None) => false,
    }
}

#[test]
fn what_pages_show_is_what_is_printed() {
    let mut commands = 0;
    for page in ["README.md", "docs/commands.md", "docs/types.md", "docs/dispatch.md", "docs/algorithms.md"] {
        let folder = tempfile::tempdir().unwrap();
        let (gradients, copy) = (root().join("assets/gradients"), folder.path().join("assets/gradients"));
        fs::create_dir_all(&copy).unwrap();
        for rank in 0..4 {
            let name = format!("rank{rank}.npy");
            fs::copy(gradients.join(&name), copy.join(&name)).unwrap();
        }
        for Shown { command, mut output } in shown(&fs::read_to_string(root().join(page)).unwrap()) {
            while output.last().is_some_and(String::is_empty) {
                output.pop();
            }
            let printed = printed(&command, folder.path());
            let (wanted, got) = (alike(output.iter().map(String::as_str)), alike(printed.trim_end().lines()));
            assert!(agree(&wanted, &got), "{page}: wgccl {command} prints\n{}", got.join("\n"));
            commands += 1;
        }
    }
    assert!(commands >= 5, "the pages show {commands} commands");
}

/// What is only run by hand, a benchmark say, is at least a command line.
#[test]
fn commands_of_pages_are_taken() {
    let pages = ["README.md", "BENCHMARKS.md", "CONTRIBUTING.md", "benches/README.md", "benches/results/README.md"];
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut commands = 0;
    for page in pages.iter().map(|page| root().join(page)).chain(docs) {
        for words in command_lines(&fs::read_to_string(&page).unwrap()) {
            assert!(wgccl_cli::cli::accepts(words.iter().map(OsString::from)), "{}: {words:?}", page.display());
            commands += 1;
        }
    }
    assert!(commands >= 10, "the pages have {commands} commands");
}

#[test]
fn every_command_is_documented() {
    let page = fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let help = Command::new(env!("CARGO_BIN_EXE_wgccl")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut documented = 0;
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        assert!(page.contains(&format!("| `wgccl {command}` |")), "docs/commands.md does not have {command}");
        documented += 1;
    }
    assert!(documented > 5, "{help}");
}
