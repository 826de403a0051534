//! A program without MPI that `mpirun` has started: what is to be said of that.
//!
//! Each process would do everything, and print it, as if the others were not there.

/// By which Open MPI, and MPICH and its kin, tell a process how many there are, and which it is.
const WORLDS: [[&str; 2]; 2] = [["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"], ["PMI_SIZE", "PMI_RANK"]];

/// What the first of several processes says.
pub(super) fn note(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let number = |name| variable(name)?.parse::<usize>().ok();
    let [size, rank] = WORLDS.into_iter().map(|names| names.map(number)).find(|[size, _]| size.is_some())?;
    let size = size.filter(|&size| size > 1 && rank == Some(0))?;
    Some(format!(
        "{size} processes were started, and this program was built without MPI: each does everything by itself; \
         build it with --features mpi for one launch over all"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_processes_says_it() {
        for (variables, said) in [
            (&[][..], false),
            (&[("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")], false),
            (&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "0")], true),
            (&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "3")], false),
            (&[("PMI_SIZE", "2"), ("PMI_RANK", "0")], true),
            (&[("PMI_SIZE", "many"), ("PMI_RANK", "0")], false),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(note(variable).is_some(), said, "{variables:?}");
        }
    }
}
