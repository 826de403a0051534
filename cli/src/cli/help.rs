//! How help looks: headings, examples, width, and every option by each spelling of its name.
//!
//! Apart from the options, so that what a command takes is read without how it is shown.

use clap::Command;

/// Columns of help at most, whatever the terminal has.
const WIDTH: usize = 100;

/// Options by what they are about. Those of one name mean the same in every command.
const HEADINGS: [(&str, &[&str]); 7] = [
    (
        "Schedule",
        &[
            "algorithm",
            "sync",
            "groups",
            "ranks",
            "root",
            "sources",
            "in_place",
            "stride",
            "collective",
            "fifo_slots",
            "elide",
            "copies",
            "force_size",
            "proto",
            "only",
            "broken",
            "why",
            "order",
        ],
    ),
    ("Data", &["count", "data_type", "op", "fill", "seed", "unalign", "rtol", "atol"]),
    ("Files", &["input", "tensor", "output", "to", "svg", "html"]),
    ("Device", &["device", "place", "dispatch", "protocol", "channels", "timeout", "drop_notify"]),
    ("Sizes", &["first", "last", "step", "factor"]),
    ("Iterations", &["iterations", "warmup", "checks", "cycles", "skip"]),
    (
        "Report",
        &[
            "columns",
            "per_iteration",
            "timestamps",
            "memory",
            "record",
            "plot",
            "trace",
            "from",
            "card",
            "compare",
            "fail_above",
            "animate",
            "json",
            "color",
            "quiet",
        ],
    ),
];

/// At the end of the help of each command.
const EXAMPLES: [(&str, &str); 11] = [
    (
        "run",
        "  wgccl run                                        the ring all-reduce of 4 ranks\n  \
           wgccl run --algorithm auto -P 8 --count 1M       the fastest one, of a mebi of elements\n  \
           wgccl run reduce-scatter -d bf16 -o max          another collective, type and operation\n  \
           wgccl run --input grads/*.npy --output out       a file per rank in, a file per rank out\n  \
           wgccl run --drop-notify 1:2                      what the report of a hang looks like\n  \
           wgccl run --device cpu --trace run.json          who waited for whom, as ui.perfetto.dev shows it",
    ),
    (
        "bench",
        "  wgccl bench -b 8 -e 128M -f 2                    as nccl-tests: from 8 bytes to 128 MiB\n  \
           wgccl bench all-gather -P 2,4,8 -d half          several numbers of ranks\n  \
           wgccl bench --algorithm all --device all --plot all.svg\n  \
           wgccl bench -J old.json                          keep a record\n  \
           wgccl bench --compare old.json new.json --fail-above 1.1",
    ),
    (
        "check",
        "  wgccl check                                      the six proofs of the ring all-reduce\n  \
           wgccl check --algorithm tree -P 100              of another algorithm, over 100 ranks\n  \
           wgccl check broadcast --root 3 --json            for a script\n  \
           wgccl check --break drop-wait:r2-ag-1 --svg race.svg   what breaks without a wait\n  \
           wgccl check --why 0:2 --order r0-rs-1 r2-ag-1    who made a chunk, and what orders two instructions\n  \
           wgccl check allreduce.xml --fifo-slots 2         a file of MSCCL XML",
    ),
    (
        "verify",
        "  wgccl verify --input grads/*.npy --output sum.npy\n  \
           wgccl verify --input grads/*.npy --output sum.npy --algorithm ring\n  \
           wgccl verify --input grads/*.npy --output sum.npy --rtol 1e-6",
    ),
    (
        "show",
        "  wgccl show                                       the ring all-reduce of 4 ranks, round by round\n  \
           wgccl show halving-doubling -P 8 --svg hd.svg    a picture for a paper\n  \
           wgccl show ring -P 8 --html ring.html            a page that plays it, in one file\n  \
           wgccl show allreduce.xml --only 0-3              some ranks of a file of MSCCL XML",
    ),
    (
        "lint",
        "  wgccl lint allreduce.xml                         who would refuse it, and why\n  \
           wgccl lint allreduce.xml --json                  for a script\n  \
           wgccl lint ring -P 8 --sync barrier              what barriers cost",
    ),
    (
        "convert",
        "  wgccl convert ring -P 8 --to msccl --output ring.xml\n  \
           wgccl convert all-gather --algorithm ring -P 8 --to goal --count 1M\n  \
           wgccl convert allreduce.xml --to chakra --output traces/allreduce",
    ),
    (
        "layout",
        "  wgccl layout                                     slots and signals of a rank\n  \
           wgccl layout --algorithm ring-exchange -P 8      what an exchange slot costs\n  \
           wgccl layout --stride classic                    signals in 16 columns",
    ),
    (
        "devices",
        "  wgccl devices                                    what --device takes\n  \
           wgccl devices --json                             with all limits and types",
    ),
    (
        "completions",
        "  wgccl completions bash > ~/.local/share/bash-completion/completions/wgccl\n  \
           wgccl completions zsh > \"${fpath[1]}/_wgccl\"\n  \
           wgccl completions fish > ~/.config/fish/completions/wgccl.fish",
    ),
    (
        "man",
        "  wgccl man > wgccl.1 && man ./wgccl.1             the program\n  \
           wgccl man bench > wgccl-bench.1                  a command",
    ),
];

/// The program as a user meets it.
pub(super) fn dress(program: Command) -> Command {
    let program = both_spellings(under_headings(program)).max_term_width(WIDTH);
    program.mut_subcommands(|command| {
        let command = both_spellings(under_headings(command)).args_override_self(true).max_term_width(WIDTH);
        // A number below 0 is no flag: its option says what it takes.
        let command = command.mut_args(|arg| match arg.is_positional() || !arg.get_action().takes_values() {
            true => arg,
            false => arg.allow_negative_numbers(true),
        });
        let Some((_, examples)) = EXAMPLES.iter().find(|(name, _)| *name == command.get_name()) else { return command };
        let before = command.get_after_long_help().map_or_else(String::new, |text| format!("{text}\n\n"));
        command.after_long_help(format!("{before}Examples:\n{examples}"))
    })
}

fn under_headings(command: Command) -> Command {
    command.mut_args(|arg| {
        match HEADINGS.iter().find(|(_, ids)| !arg.is_positional() && ids.contains(&arg.get_id().as_str())) {
            Some(&(heading, _)) => arg.help_heading(heading),
            None => arg,
        }
    })
}

/// nccl-tests has `--warmup_iters`, most others would have `--warmup-iters`.
fn both_spellings(command: Command) -> Command {
    command.mut_args(|arg| {
        let names = arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten());
        let others: Vec<String> = names.filter_map(other_spelling).collect();
        arg.aliases(others)
    })
}

fn other_spelling(name: &str) -> Option<String> {
    let other = if name.contains('_') { name.replace('_', "-") } else { name.replace('-', "_") };
    (other != name).then_some(other)
}
