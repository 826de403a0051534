//! Who is measured, and how each is started.
//!
//! Every peer is a process that takes `RANKS BYTES SECONDS REPETITIONS BUDGET` and prints one line.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::machine::threads;
use crate::record::{Method, Peer, Role, Round};

/// A process that takes longer hangs.
const LIMIT_SECONDS: &str = "180";

/// The peers' own programs, as far as they could be built; `run.sh` fills them in.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Programs {
    #[arg(long, hide = true)]
    openmpi_program: Option<PathBuf>,
    #[arg(long, hide = true)]
    mpich_program: Option<PathBuf>,
    #[arg(long, hide = true)]
    gloo_program: Option<PathBuf>,
    /// Of the package that it was built with.
    #[arg(long, hide = true)]
    gloo_version: Option<String>,
    #[arg(long, hide = true)]
    oneccl_program: Option<PathBuf>,
    #[arg(long, hide = true)]
    oneccl_version: Option<String>,
    #[arg(long, hide = true)]
    burn_program: Option<PathBuf>,
}

pub const OPENMPI: &str = "mpirun.openmpi";
pub const MPICH: &str = "mpirun.mpich";

const UNKNOWN: &str = "of an unknown version";

const FLOOR: &str = "copy (floor)";

impl Programs {
    pub fn has_openmpi(&self) -> bool {
        self.openmpi_program.is_some()
    }

    pub fn has_mpich(&self) -> bool {
        self.mpich_program.is_some()
    }

    /// The version, where it could be built.
    pub fn gloo_version(&self) -> Option<&str> {
        self.gloo_program.as_ref().map(|_| self.gloo_version.as_deref().unwrap_or(UNKNOWN))
    }

    /// The version, where it could be built.
    pub fn oneccl_version(&self) -> Option<&str> {
        self.oneccl_program.as_ref().map(|_| self.oneccl_version.as_deref().unwrap_or(UNKNOWN))
    }

    pub fn has_burn(&self) -> bool {
        self.burn_program.is_some()
    }
}

/// A peer and its command line up to the arguments that all take.
pub struct Starter {
    pub peer: Peer,
    program: PathBuf,
    words: Vec<String>,
    launcher: Option<&'static str>,
    environment: Vec<(&'static str, &'static str)>,
    /// Measured only where every rank has a core of its own.
    only_with_cores: bool,
}

/// Open MPI keeps freed memory instead of giving it back after every call: twice as fast at 64 MiB.
const KEEP_MEMORY: [(&str, &str); 3] =
    [("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "8000000000"), ("MALLOC_TOP_PAD_", "268435456")];
/// Copies through shared memory instead of `process_vm_readv`: by its names in Open MPI 4 and 5.
const NO_CMA: [(&str, &str); 2] = [("OMPI_MCA_btl_vader_single_copy_mechanism", "none"), ("OMPI_MCA_smsc", "^cma")];
const AS_ROOT: [(&str, &str); 2] = [("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")];
/// Open MPI's numbers in `coll_tuned_allreduce_algorithm`.
const OPENMPI_ALGORITHMS: [(&str, &str); 3] = [("recursive doubling", "3"), ("ring", "4"), ("Rabenseifner", "6")];
const MPICH_ALGORITHMS: [(&str, &str); 2] =
    [("recursive doubling", "recursive_doubling"), ("Rabenseifner", "reduce_scatter_allgather")];

impl Starter {
    fn new(role: Role, row: &str, variant: &str, program: &Path, words: &[&str]) -> Self {
        let id = format!("{row}, {variant}").trim_end_matches(", ").to_owned();
        let (row, variant) = (row.to_owned(), variant.to_owned());
        Self {
            peer: Peer { id, row, variant, role },
            program: program.to_owned(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
            launcher: None,
            environment: Vec::new(),
            only_with_cores: false,
        }
    }

    pub fn suits(&self, ranks: usize) -> bool {
        !self.only_with_cores || ranks <= threads()
    }

    /// Runs the process and reads its line.
    pub fn measure(&self, ranks: usize, bytes: usize, method: Method) -> Result<Round, Error> {
        let mut command = Command::new("timeout");
        // In the foreground, so that an interrupt reaches the peer too.
        command.args(["--foreground", LIMIT_SECONDS]).envs(self.environment.iter().copied());
        if let Some(launcher) = self.launcher {
            command.args([launcher, "-np", &ranks.to_string()]);
            if launcher == OPENMPI {
                // Without it, more ranks than cores are refused; with fewer it changes nothing.
                command.arg("--oversubscribe").envs(AS_ROOT);
            }
        }
        command.arg(&self.program).args(&self.words);
        let Method { seconds, repetitions, budget } = method;
        command.args([ranks.to_string(), bytes.to_string()]);
        command.args([seconds.to_string(), repetitions.to_string(), budget.to_string()]);
        let output = command.output().map_err(Error::peer)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.code() == Some(124) {
            return Err(Error::Peer(format!("it did not end within {LIMIT_SECONDS} s")));
        }
        let stdout = text(&output.stdout);
        let line = stdout.lines().find(|line| line.starts_with("{\"calls\"")).filter(|_| output.status.success());
        let why = || {
            // What it said may name directories, which are nobody's business in a record.
            eprint!("{}", text(&output.stderr));
            Error::Peer(format!("it failed with {}", output.status))
        };
        serde_json::from_str(line.ok_or_else(why)?).map_err(Error::peer)
    }
}

/// All peers that can be had; `myself` is this program.
pub fn all(programs: &Programs, myself: &Path) -> Vec<Starter> {
    let mut all = Vec::new();
    let cell = |role, row: &str, variant: &str, words: &[&str]| {
        Starter::new(role, row, variant, myself, &[&["cell"], words].concat())
    };
    for count in thread_counts(threads()) {
        let variant = if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") };
        all.push(cell(Role::Floor, FLOOR, &variant, &["copy", &count.to_string()]));
    }
    all.push(cell(Role::Floor, FLOOR, "past the caches", &["copy", "streamed"]));
    all.push(cell(Role::Subject, "wgccl CPU direct", "", &["cpu", "direct"]));
    all.push(cell(Role::Other, "wgccl CPU ring", "", &["cpu", "ring"]));
    for adapter in wgccl::gpu::adapters() {
        let info = adapter.info();
        let name = info.name.split(" (").next().unwrap_or(&info.name);
        for algorithm in ["direct", "ring"] {
            let row = format!("wgccl {algorithm} on {name}, {}", info.backend);
            all.push(cell(Role::Other, &row, "", &["gpu", algorithm, &info.index.to_string()]));
        }
    }
    if let Some(program) = &programs.openmpi_program {
        let start = |variant: &str| Starter {
            launcher: Some(OPENMPI),
            ..Starter::new(Role::Peer, "Open MPI", variant, program, &[])
        };
        all.push(start("as installed"));
        all.push(Starter { environment: [&NO_CMA[..], &KEEP_MEMORY].concat(), ..start("tuned") });
        for (name, number) in OPENMPI_ALGORITHMS {
            let choice =
                [("OMPI_MCA_coll_tuned_use_dynamic_rules", "1"), ("OMPI_MCA_coll_tuned_allreduce_algorithm", number)];
            all.push(Starter { environment: [&NO_CMA[..], &KEEP_MEMORY, &choice].concat(), ..start(name) });
        }
    }
    if let Some(program) = &programs.mpich_program {
        let start = |variant: &str| Starter {
            launcher: Some(MPICH),
            ..Starter::new(Role::Peer, "MPICH", variant, program, &[])
        };
        all.push(start("as installed"));
        for (name, value) in MPICH_ALGORITHMS {
            let choice =
                [("MPIR_CVAR_ALLREDUCE_DEVICE_COLLECTIVE", "0"), ("MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM", value)];
            let environment = [&KEEP_MEMORY[..], &choice].concat();
            // With fewer cores than ranks its time is the scheduler's, whatever the algorithm.
            all.push(Starter { environment, only_with_cores: true, ..start(name) });
        }
    }
    if let Some(program) = &programs.gloo_program {
        for algorithm in ["ring", "bcube"] {
            all.push(Starter::new(Role::Peer, "Gloo", algorithm, program, &[algorithm]));
        }
    }
    if let Some(program) = &programs.oneccl_program {
        all.push(Starter::new(Role::Peer, "oneCCL", "", program, &[]));
    }
    if let Some(program) = &programs.burn_program {
        for (role, row, placement) in [
            (Role::Peer, "burn-collective, private results", "private"),
            (Role::Other, "burn-collective, one shared result", "shared"),
        ] {
            for (variant, word) in [("Centralized", "centralized"), ("Ring", "ring")] {
                all.push(Starter::new(role, row, variant, program, &[word, placement]));
            }
        }
    }
    all.push(cell(Role::Peer, "rayon", "fused blocks", &["rayon", "fused"]));
    all.push(cell(Role::Peer, "rayon", "naive", &["rayon", "naive"]));
    all
}

/// 1, 2, 4, ... and all of them.
fn thread_counts(most: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|&count| count < most);
    powers.chain([most]).collect()
}
