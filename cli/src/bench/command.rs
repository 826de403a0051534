//! The command line as a record keeps it: what was asked for, and not where on whose disk.
//!
//! Records are published, and paths name people.

use std::ffi::OsString;

/// `wgccl` and its arguments, with paths shortened to their last part.
pub fn cleaned(args: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let arguments = args.into_iter().skip(1).map(|arg| short(&arg.to_string_lossy()));
    std::iter::once("wgccl".to_owned()).chain(arguments).collect()
}

/// A path may stand alone, behind `--flag=` or behind `-X`.
fn short(arg: &str) -> String {
    let value = match arg.find('=') {
        Some(at) if arg.starts_with("--") => at + 1,
        _ if arg.starts_with('-') && !arg.starts_with("--") => {
            arg.char_indices().nth(2).map_or(arg.len(), |(at, _)| at)
        }
        _ => 0,
    };
    let (flag, value) = arg.split_at(value);
    let is_separator = |c| c == '/' || c == '\\';
    let last = value.trim_end_matches(is_separator).rsplit(is_separator).next().unwrap_or_default();
    format!("{flag}{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shortened_and_nothing_else() {
        for (arg, kept) in [
            ("bench", "bench"),
            ("-J", "-J"),
            ("/data/records/r.json", "r.json"),
            ("../r.json", "r.json"),
            (r"C:\data\r.json", "r.json"),
            ("--plot=/data/p.svg", "--plot=p.svg"),
            ("-J/data/r.json", "-Jr.json"),
            ("-J=/data/r.json", "-Jr.json"),
            ("/data/here/", "here"),
            ("llvmpipe vulkan", "llvmpipe vulkan"),
            ("2,4,8", "2,4,8"),
            ("-", "-"),
            ("", ""),
            ("--", "--"),
            ("-é/x", "-éx"),
        ] {
            let all = cleaned(["/opt/me/wgccl", arg].map(OsString::from));
            assert_eq!(all, ["wgccl", kept], "{arg}");
        }
        assert_eq!(cleaned([]), ["wgccl"]);
    }
}
